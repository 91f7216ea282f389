//! The trace: what happened in a history, a line each. Equal seeds give equal traces, byte for byte.

use std::fmt::{self, Write};
use std::time::Duration;

/// What happened in a history, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    text: String,
}

impl Trace {
    /// Adds a line that says what happened `at` this time since the beginning.
    pub fn line(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        // Writing to a string cannot fail, and a trace has nobody to tell.
        writeln!(self.text, "{:>10.3} {what}", at.as_secs_f64()).unwrap_or_default();
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last `count` lines.
    pub fn end(&self, count: usize) -> &str {
        let start = self.text.rmatch_indices('\n').nth(count).map_or(0, |(at, _)| at + 1);
        &self.text[start..]
    }

    /// Equal for equal traces.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.text.as_bytes())
    }
}

/// FNV-1a: tells texts apart that nobody made to be confused.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[&str]) -> Trace {
        let mut trace = Trace::default();
        for line in lines {
            trace.line(Duration::from_millis(1500), format_args!("{line}"));
        }
        trace
    }

    #[test]
    fn the_end_of_a_trace_is_its_last_lines() {
        let trace = trace(&["first", "second", "third"]);

        assert_eq!(trace.end(2), "     1.500 second\n     1.500 third\n");
        assert_eq!(trace.end(9), trace.as_str());
    }

    #[test]
    fn traces_that_differ_in_one_letter_have_different_fingerprints() {
        assert_ne!(trace(&["start web"]).fingerprint(), trace(&["start wen"]).fingerprint());
    }
}
