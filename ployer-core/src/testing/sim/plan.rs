//! The plan: every single fault, and every pair of faults, on the basic histories.
//!
//! A call that only looks changes nothing, so a crash there is the crash after the effect before it, and its lost
//! answer is a refusal. Pairs take the calls that change something, and the faults that differ in what is left behind.

use std::path::Path;
use std::time::Duration;

use super::faults::{Fault, Mishap, PointKind};
use super::history::History;
use super::run::Run;
use crate::error::Result;

/// What is tried at a call that only looks.
const AT_LOOKS: [Fault; 7] = [
    Fault::Refused,
    Fault::Slow(Duration::from_secs(12)),
    Fault::Meanwhile(Mishap::ReplicaDies),
    Fault::Meanwhile(Mishap::ProxyRestarts),
    Fault::Meanwhile(Mishap::EngineRestarts),
    Fault::Meanwhile(Mishap::UserCancels),
    Fault::Meanwhile(Mishap::ClockJumps),
];

/// What is tried at a call that changes something.
const AT_CHANGES: [Fault; 10] = [
    Fault::Refused,
    Fault::AnswerLost,
    Fault::Slow(Duration::from_secs(12)),
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Meanwhile(Mishap::ReplicaDies),
    Fault::Meanwhile(Mishap::ProxyRestarts),
    Fault::Meanwhile(Mishap::EngineRestarts),
    Fault::Meanwhile(Mishap::UserCancels),
    Fault::Meanwhile(Mishap::ClockJumps),
];

/// What is tried in pairs.
const IN_PAIRS: [Fault; 3] = [Fault::Refused, Fault::AnswerLost, Fault::CrashBefore];

impl Run {
    /// Every single fault at each call of the basic histories. Each of them is played once for that, below `folder`.
    ///
    /// # Errors
    ///
    /// Only where the simulation itself cannot go on.
    pub fn singles(folder: &Path) -> Result<impl Iterator<Item = Self> + Send + use<>> {
        let histories = with_calls(folder)?;
        Ok(histories.into_iter().flat_map(|(history, calls)| {
            let at_call = |(at, kind): (u64, PointKind)| {
                let faults = if kind == PointKind::Look { AT_LOOKS.as_slice() } else { AT_CHANGES.as_slice() };
                faults.iter().map(move |fault| (at, *fault))
            };
            numbered(&calls).flat_map(at_call).map(|fault| Self::planned(history.clone(), [fault])).collect::<Vec<_>>()
        }))
    }

    /// Every pair of faults at calls of the basic histories that change something.
    ///
    /// The second strikes the call of its number in the history that the first has changed.
    ///
    /// # Errors
    ///
    /// Only where the simulation itself cannot go on.
    pub fn pairs(folder: &Path) -> Result<impl Iterator<Item = Self> + Send + use<>> {
        let histories = with_calls(folder)?;
        Ok(histories.into_iter().flat_map(|(history, calls)| {
            let changes = numbered(&calls).filter(|(_, kind)| *kind != PointKind::Look).map(|(at, _)| at);
            let single = |at| IN_PAIRS.map(|fault| (at, fault));
            let singles: Vec<_> = changes.flat_map(single).collect();
            let count = singles.len();
            let pairs = (0..count).flat_map(move |first| (first + 1..count).map(move |second| (first, second)));
            let pairs = pairs.map(move |(first, second)| [singles[first], singles[second]]);
            let apart = |[(first, _), (second, _)]: &[(u64, Fault); 2]| first != second;
            pairs.filter(apart).map(move |faults| Self::planned(history.clone(), faults))
        }))
    }
}

/// The basic histories, each with the calls of its run without faults.
fn with_calls(folder: &Path) -> Result<Vec<(History, Vec<PointKind>)>> {
    let calls = |history: History| Ok((history.clone(), Run::planned(history, []).play(folder)?.calls));
    History::basic().into_iter().map(calls).collect()
}

fn numbered(calls: &[PointKind]) -> impl Iterator<Item = (u64, PointKind)> {
    (1..).zip(calls.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_strikes_two_different_calls_of_one_history() {
        let folder = tempfile::tempdir().unwrap();

        for run in Run::pairs(folder.path()).unwrap().take(5_000) {
            let numbers: Vec<u64> = run.struck().collect();
            assert!(numbers.len() == 2 && numbers[0] < numbers[1], "{run}");
        }
    }

    #[test]
    fn a_call_that_only_looks_is_struck_by_fewer_faults() {
        let folder = tempfile::tempdir().unwrap();

        let at = |number: &str| {
            let is_there = |run: &String| run.contains(&format!("deploy --fault {number}:"));
            Run::singles(folder.path()).unwrap().map(|run| run.to_string()).filter(is_there).count()
        };

        assert_eq!((at("1"), at("2")), (7 * 2, 10 * 2), "the histories `deploy` and `redeploy` begin alike");
    }
}
