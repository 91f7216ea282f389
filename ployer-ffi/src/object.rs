//! Objects: what C holds. Each begins with a mark that tells what it is, so that one function frees them all.

use std::ffi::c_void;

use crate::error::Failure;
use crate::guard::quietly;
use crate::handle::{Deployment, Handle};

/// What an object is. The values are unlike anything that memory usually holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Mark(u32);

impl Mark {
    pub(crate) const HANDLE: Self = Self(0x504c_5901);
    pub(crate) const DEPLOYMENT: Self = Self(0x504c_5902);
    pub(crate) const FAILURE: Self = Self(0x504c_5903);
}

/// Frees a ployer_t, a ployer_deployment_t or a ployer_error_t.
///
/// Freeing a ployer_t ends its engine in good order and waits for that; applications go on running, and what was
/// being deployed is taken up when the data directory is opened again. Its deployments must be freed before.
///
/// \param object  owned; it must not be used afterwards. NULL is fine, and so is no other address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ployer_free(object: *mut c_void) {
    if object.is_null() {
        return;
    }
    quietly(|| {
        // Safety: every object of this library begins with its mark, and the caller hands over one of them.
        unsafe {
            match *object.cast::<Mark>() {
                Mark::HANDLE => drop(Box::from_raw(object.cast::<Handle>())),
                Mark::DEPLOYMENT => drop(Box::from_raw(object.cast::<Deployment>())),
                Mark::FAILURE => drop(Box::from_raw(object.cast::<Failure>())),
                // Not ours: freeing it would break more than a leak does.
                _ => {}
            }
        }
    });
}
