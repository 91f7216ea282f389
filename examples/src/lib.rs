//! The examples of Ployer.
