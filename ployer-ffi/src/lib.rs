//! The ffi frontend of Ployer.
