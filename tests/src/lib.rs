//! The tests of Ployer.
