//! The benches of Ployer: what they share.
#![allow(clippy::expect_used, reason = "a bench that cannot be set up has no result")]

/// The middle one of some values.
///
/// # Panics
///
/// If there is none.
pub fn median<T: Copy + PartialOrd>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("values that can be compared"));
    sorted[sorted.len() / 2]
}
