//! The cli frontend of Ployer.
