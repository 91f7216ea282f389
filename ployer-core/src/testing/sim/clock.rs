//! The clock of a history: tokio's paused time, a beginning of its own, and jumps when somebody sets the clock.
//!
//! Ids and random bytes follow from the seed. Timers never jump: only the time of day does, as on a real machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use super::random::Random;
use crate::clock::Clock;
use crate::error::Result;

/// The time of day at the beginning of every history: 2026-01-01 in UTC.
const BEGINNING_MILLIS: i64 = 1_767_225_600_000;

/// The clock of a history. Clones show the same time.
#[derive(Clone, Debug)]
pub struct SimClock {
    began: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: Random,
    skew: SignedDuration,
    last_id_millis: u64,
    ids_in_millis: u16,
}

impl SimClock {
    /// A clock whose ids follow from `seed`. It begins now, within a tokio runtime whose time is paused.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed ^ 0xc10c),
            skew: SignedDuration::ZERO,
            last_id_millis: 0,
            ids_in_millis: 0,
        };
        Self { began: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// How long the history has lasted, whatever was done to the time of day.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sets the time of day forward, or back.
    pub fn jump(&self, by: SignedDuration) {
        let mut state = self.state();
        state.skew = state.skew.saturating_add(by);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let since = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
        let beginning = Timestamp::from_millisecond(BEGINNING_MILLIS).unwrap_or(Timestamp::UNIX_EPOCH);
        let skew = self.state().skew;
        beginning.saturating_add(since.saturating_add(skew)).unwrap_or(beginning)
    }

    fn new_id(&self) -> Uuid {
        let now = u64::try_from(self.now().as_millisecond()).unwrap_or_default();
        let mut state = self.state();
        if now > state.last_id_millis {
            (state.last_id_millis, state.ids_in_millis) = (now, 0);
        } else {
            state.ids_in_millis += 1;
        }
        // The first twelve bits after the time count, so that ids of one millisecond sort as they were made.
        let [high, low] = state.ids_in_millis.to_be_bytes();
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&[high, low]);
        let tail = state.random.next().to_be_bytes();
        bytes[2..].copy_from_slice(&tail);
        uuid::Builder::from_unix_timestamp_millis(state.last_id_millis, &bytes).into_uuid()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        let mut state = self.state();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&state.random.next().to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ids_of_one_seed_repeat_and_rise_also_when_the_clock_is_set_back() {
        let ids = || {
            let clock = SimClock::new(7);
            let first = [clock.new_id(), clock.new_id()];
            clock.jump(SignedDuration::from_hours(-1));
            [first[0], first[1], clock.new_id()]
        };

        let made = ids();

        assert_eq!(made, ids());
        assert!(made.is_sorted());
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_moves_the_time_of_day_and_not_the_time_that_passed() {
        let clock = SimClock::new(7);
        let before = clock.now();

        clock.jump(SignedDuration::from_hours(2));
        tokio::time::advance(Duration::from_secs(5)).await;

        assert_eq!(clock.now().duration_since(before), SignedDuration::from_hours(2) + SignedDuration::from_secs(5));
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
    }
}
