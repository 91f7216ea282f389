//! The stories: what is promised, told end to end with real repositories, processes, requests and crashes.
//!
//! Each module is one promise. A story that measures loss has the machine to itself, the others run side by side.
//! Where a tool is missing a story is skipped loudly; `PLOYER_TEST_REQUIRE=1` makes that a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod chance;
mod crash;
mod disk_full;
mod failures;
mod instances;
mod load;
mod turns;
mod zero_lost;
