//! The http frontend of Ployer.
