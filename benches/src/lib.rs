//! The benches of Ployer.
