//! The guard: what every call has in common. A panic ends at the border and becomes an error.

use std::any::Any;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ployer_core::{Error, ErrorKind, Result};

use crate::error::{Failure, Kind};

/// Runs `call`, and turns what went wrong into a kind and, where there is room for it, an error.
pub(crate) fn guarded(error: *mut *mut Failure, call: impl FnOnce() -> Result<()>) -> Kind {
    let ended = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(&*panic)));
    let Err(cause) = ended else { return Kind::PloyerOk };
    let kind = Kind::from(cause.kind());
    if !error.is_null() {
        let failure = Box::into_raw(Box::new(Failure::new(&cause)));
        // Safety: it is not NULL, and the caller says that an error may be written there.
        unsafe { error.write(failure) };
    }
    kind
}

/// Runs what cannot tell of an error.
pub(crate) fn quietly(call: impl FnOnce()) {
    // The panic was printed by the hook; there is nobody to answer to.
    drop(catch_unwind(AssertUnwindSafe(call)));
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Internal, format!("a defect of Ployer: {}", text.unwrap_or("no more is known")))
}

/// What a pointer refers to.
pub(crate) fn borrowed<'a, T>(pointer: *const T, field: &'static str) -> Result<&'a T> {
    // Safety: NULL is refused; else the caller says that it is an object of ours.
    unsafe { pointer.as_ref() }.ok_or_else(|| Error::invalid(field, "it is NULL"))
}

/// Where an output goes.
pub(crate) fn output<'a, T>(pointer: *mut T, field: &'static str) -> Result<&'a mut T> {
    // Safety: NULL is refused; else the caller says that it may be written.
    unsafe { pointer.as_mut() }.ok_or_else(|| Error::invalid(field, "it is NULL"))
}

/// The text at an address.
pub(crate) fn text<'a>(pointer: *const c_char, field: &'static str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(Error::invalid(field, "it is NULL"));
    }
    // Safety: it is not NULL, and the caller says that it ends with NUL.
    unsafe { CStr::from_ptr(pointer) }.to_str().map_err(|_| Error::invalid(field, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ployer_error_text;
    use crate::object::ployer_free;

    #[test]
    fn a_panic_becomes_an_error_of_kind_internal() {
        let mut error = std::ptr::null_mut();

        let kind = guarded(&raw mut error, || panic!("on purpose"));

        let text = unsafe { CStr::from_ptr(ployer_error_text(error)) }.to_str().unwrap().to_owned();
        unsafe { ployer_free(error.cast()) };
        assert_eq!((kind, text.as_str()), (Kind::PloyerInternal, "a defect of Ployer: on purpose"));
    }

    #[test]
    fn pointers_are_checked_before_they_are_read() {
        assert_eq!(text(std::ptr::null(), "name").unwrap_err().to_string(), "name is not valid: it is NULL");
        assert_eq!(text(c"\xff".as_ptr(), "name").unwrap_err().to_string(), "name is not valid: it is not UTF-8");
        assert!(borrowed::<u8>(std::ptr::null(), "ployer").is_err());
        assert!(output::<u8>(std::ptr::null_mut(), "out").is_err());
        assert_eq!(guarded(std::ptr::null_mut(), || Err(Error::failed("no room for it"))), Kind::PloyerFailed);
    }
}
