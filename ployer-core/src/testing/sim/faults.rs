//! Faults: what goes wrong at which call into the world.
//!
//! Every call is numbered. A plan names numbers, so that each single fault and each pair can be tried in turn; or it
//! draws faults from the seed until it is told to cease.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::random::Random;
use crate::error::Error;

/// What a call into the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// It only looks.
    Look,
    /// It changes the world: starts, stops, routes, builds.
    Effect,
    /// It changes what is stored.
    Commit,
}

/// Something that goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and has done nothing.
    Refused,
    /// The call has done everything and its answer is an error.
    AnswerLost,
    /// The call takes so much longer.
    Slow(Duration),
    /// The engine is killed just before the call.
    CrashBefore,
    /// The engine is killed just after the call has done everything.
    CrashAfter,
    /// Something happens in the world while the call is under way.
    Meanwhile(Mishap),
}

/// Something that happens in the world and is nobody's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// A replica that serves dies.
    ReplicaDies,
    /// The proxy is started again with the table that it stored last.
    ProxyRestarts,
    /// The engine is stopped in good order and started again.
    EngineRestarts,
    /// A second engine asks for the lease, and takes it where it can.
    SecondEngine,
    /// The newest deployment that has not ended is cancelled by its user.
    UserCancels,
    /// The user goes back to the release before.
    UserRollsBack,
    /// The time of day is set forward or back.
    ClockJumps,
    /// The next news of the runtime reaches nobody.
    NewsIsLost,
    /// The next news of the runtime comes late.
    NewsIsLate,
}

impl Mishap {
    /// Every mishap, for histories that try each.
    pub const ALL: [Self; 9] = [
        Self::ReplicaDies,
        Self::ProxyRestarts,
        Self::EngineRestarts,
        Self::SecondEngine,
        Self::UserCancels,
        Self::UserRollsBack,
        Self::ClockJumps,
        Self::NewsIsLost,
        Self::NewsIsLate,
    ];
}

impl Mishap {
    /// Its word on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::ReplicaDies => "replica-dies",
            Self::ProxyRestarts => "proxy-restarts",
            Self::EngineRestarts => "engine-restarts",
            Self::SecondEngine => "second-engine",
            Self::UserCancels => "user-cancels",
            Self::UserRollsBack => "user-rolls-back",
            Self::ClockJumps => "clock-jumps",
            Self::NewsIsLost => "news-is-lost",
            Self::NewsIsLate => "news-is-late",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => write!(f, "refused"),
            Self::AnswerLost => write!(f, "answer-lost"),
            Self::Slow(by) => write!(f, "slow-{}", by.as_millis()),
            Self::CrashBefore => write!(f, "crash-before"),
            Self::CrashAfter => write!(f, "crash-after"),
            Self::Meanwhile(mishap) => write!(f, "{}", mishap.word()),
        }
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let slow = word.strip_prefix("slow-").and_then(|millis| millis.parse().ok());
        if let Some(millis) = slow {
            return Ok(Self::Slow(Duration::from_millis(millis)));
        }
        let mishaps = Mishap::ALL.map(Self::Meanwhile);
        let all = [Self::Refused, Self::AnswerLost, Self::CrashBefore, Self::CrashAfter].into_iter().chain(mishaps);
        let mut named = all.filter(|fault| fault.to_string() == word);
        named.next().ok_or_else(|| Error::invalid("fault", format!("`{word}` is none")))
    }
}

/// Which faults strike.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    planned: BTreeMap<u64, Fault>,
    drawn: Option<Drawn>,
    /// What each call so far was.
    calls: Vec<PointKind>,
}

#[derive(Clone, Debug)]
struct Drawn {
    random: Random,
    per_mille: u64,
}

impl Faults {
    /// None but these, each at the call of its number (from 1).
    pub fn planned(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self { planned: faults.into_iter().collect(), ..Self::default() }
    }

    /// What was planned, by the number of the call.
    pub fn plan(&self) -> impl Iterator<Item = (u64, Fault)> {
        self.planned.iter().map(|(number, fault)| (*number, *fault))
    }

    /// Such as follow from `seed`; how many is one of its choices.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xfa_417);
        let per_mille = random.pick(&[0, 3, 10, 25, 60]).copied().unwrap_or_default();
        Self { drawn: Some(Drawn { random, per_mille }), ..Self::default() }
    }

    /// From now on nothing goes wrong.
    pub fn cease(&mut self) {
        self.drawn = None;
        self.planned.clear();
    }

    /// The calls so far, the first of which has the number 1.
    pub fn calls(&self) -> &[PointKind] {
        &self.calls
    }

    /// Counts a call and answers what strikes it.
    pub(super) fn next(&mut self, kind: PointKind) -> (u64, Option<Fault>) {
        self.calls.push(kind);
        let number = self.calls.len() as u64;
        let fault = match &mut self.drawn {
            Some(drawn) => drawn.next(kind),
            None => self.planned.remove(&number),
        };
        (number, fault)
    }
}

impl Drawn {
    fn next(&mut self, kind: PointKind) -> Option<Fault> {
        // Looks are many and harm little: what changes something is struck more often.
        let per_mille = match kind {
            PointKind::Look => self.per_mille / 3,
            PointKind::Effect | PointKind::Commit => self.per_mille,
        };
        if !self.random.chance(per_mille) {
            return None;
        }
        Some(match self.random.below(12) {
            0 | 1 => Fault::Refused,
            2 => Fault::AnswerLost,
            3 | 4 => Fault::Slow(self.random.millis(100..20_000)),
            5 => Fault::CrashBefore,
            6 => Fault::CrashAfter,
            _ => Fault::Meanwhile(self.random.pick(&Mishap::ALL).copied()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planned_fault_strikes_the_call_of_its_number_once() {
        let mut faults = Faults::planned([(2, Fault::Refused)]);

        let struck: Vec<_> = (0..3).map(|_| faults.next(PointKind::Effect).1).collect();

        assert_eq!(struck, [None, Some(Fault::Refused), None]);
    }

    #[test]
    fn a_fault_survives_the_way_through_its_word() {
        let others = [Fault::Refused, Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter];
        let slow = Fault::Slow(Duration::from_millis(12));

        for fault in Mishap::ALL.map(Fault::Meanwhile).into_iter().chain(others).chain([slow]) {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
        assert!("slow".parse::<Fault>().is_err());
    }

    #[test]
    fn nothing_strikes_once_faults_have_ceased() {
        let mut faults = Faults { drawn: Some(Drawn { random: Random::new(1), per_mille: 1000 }), ..Faults::default() };
        assert!(faults.next(PointKind::Effect).1.is_some());

        faults.cease();

        assert!((0..100).all(|_| faults.next(PointKind::Effect).1.is_none()));
    }
}
