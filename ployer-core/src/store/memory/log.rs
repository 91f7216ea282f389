//! The build output of the memory store: lines by number, and what was left out of the middle.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::model::{LogLine, LogPage};

/// The output of one deployment.
#[derive(Debug, Default)]
pub(super) struct Output {
    lines: BTreeMap<u64, LogLine>,
    left_out: Option<RangeInclusive<u64>>,
    left_out_count: u64,
}

impl Output {
    pub(super) fn append(&mut self, lines: &[LogLine]) {
        for line in lines {
            if !self.is_left_out(line.number) {
                self.lines.entry(line.number).or_insert_with(|| line.clone());
            }
        }
    }

    pub(super) fn page(&self, after: u64, limit: usize) -> LogPage {
        let lines = self.lines.range(after.saturating_add(1)..).take(limit).map(|(_, line)| line.clone()).collect();
        LogPage { lines, left_out: self.left_out_count }
    }

    pub(super) fn tail(&self, limit: usize) -> Vec<LogLine> {
        let skip = self.lines.len().saturating_sub(limit);
        self.lines.values().skip(skip).cloned().collect()
    }

    pub(super) fn leave_out(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let before = self.lines.len();
        self.lines.retain(|number, _| !(from..=to).contains(number));
        self.left_out_count += (before - self.lines.len()) as u64;
        self.left_out = Some(match &self.left_out {
            Some(range) => from.min(*range.start())..=to.max(*range.end()),
            None => from..=to,
        });
    }

    fn is_left_out(&self, number: u64) -> bool {
        self.left_out.as_ref().is_some_and(|range| range.contains(&number))
    }
}
