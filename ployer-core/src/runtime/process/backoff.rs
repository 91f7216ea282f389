//! Back-off: growing pauses between the restarts of a replica that keeps dying.

use std::time::Duration;

/// The pauses of one replica: the first, then twice as long each time, up to the longest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to wait now, after it ran for `lasted`. One that ran longer than the longest pause was well.
    pub(super) fn pause_after(&mut self, lasted: Duration) -> Duration {
        if lasted > self.longest {
            self.reset();
        }
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// Somebody has started it: it has not died yet.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_good_run() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut backoff = Backoff::new(first, longest);

        let pauses: Vec<_> = (0..8).map(|_| backoff.pause_after(Duration::from_secs(1)).as_secs()).collect();

        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.pause_after(Duration::from_secs(61)), first);
    }
}
