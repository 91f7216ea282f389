//! Runs: one history each; the same run gives the same trace, byte for byte.
//!
//! A run is written as the arguments that repeat it. Which runs there are to try is said in `plan`.

use std::fmt;
use std::path::Path;

use super::director::Director;
use super::faults::{Fault, Faults, PointKind};
use super::history::History;
use super::judge::Breach;
use super::trace::Trace;
use super::world::SimWorld;
use crate::config::Settings;
use crate::error::{Error, Result};
#[cfg(sim_bugs)]
use crate::planted::{Bug, plant};

/// One history to be played.
#[derive(Clone, Debug)]
pub struct Run {
    /// From which all chance follows.
    seed: u64,
    /// What happens.
    history: History,
    /// What goes wrong.
    faults: Faults,
    /// Whether history and faults follow from the seed too.
    is_drawn: bool,
    /// The mistake that the engine makes.
    #[cfg(sim_bugs)]
    bug: Option<Bug>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first breach of an invariant, which ended the history.
    pub breach: Option<Breach>,
    /// What happened.
    pub trace: Trace,
    /// Calls into the world that a fault could strike, in order.
    pub calls: Vec<PointKind>,
}

impl Run {
    /// The run of a seed: history and faults follow from it.
    pub fn drawn(seed: u64) -> Self {
        Self {
            seed,
            history: History::drawn(seed),
            faults: Faults::drawn(seed),
            is_drawn: true,
            #[cfg(sim_bugs)]
            bug: None,
        }
    }

    /// A history in which nothing goes wrong but these.
    pub fn planned(history: History, faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self {
            seed: 0,
            history,
            faults: Faults::planned(faults),
            is_drawn: false,
            #[cfg(sim_bugs)]
            bug: None,
        }
    }

    /// The numbers of the calls that are planned to be struck.
    pub fn struck(&self) -> impl Iterator<Item = u64> {
        self.faults.plan().map(|(at, _)| at)
    }

    /// The same with a bug in the engine.
    #[cfg(sim_bugs)]
    #[must_use]
    pub fn with_bug(self, bug: Bug) -> Self {
        Self { bug: Some(bug), ..self }
    }

    /// Plays it on a runtime of its own, with one thread and paused time. Checkouts are written below `folder`, which
    /// is nobody else's meanwhile.
    ///
    /// # Errors
    ///
    /// Only where the simulation itself cannot go on.
    pub fn play(&self, folder: &Path) -> Result<Outcome> {
        #[cfg(sim_bugs)]
        plant(self.bug);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| Error::internal("no runtime for a simulation", error))?;
        runtime.block_on(async {
            let settings = settings(self.seed);
            let world = SimWorld::new(self.seed, settings.clone(), folder.to_owned());
            let mut director = Director::new(world.clone(), settings).await?;
            director.play(&self.history, self.faults.clone()).await?;
            Ok(world.with(|world| Outcome {
                breach: world.judge.breach.clone(),
                trace: std::mem::take(&mut world.trace),
                calls: world.faults.calls().to_vec(),
            }))
        })
    }
}

/// The library's own, but for the number of starts at once, which would follow from this machine.
fn settings(seed: u64) -> Settings {
    let mut settings = Settings::default();
    // Histories are short: of some seeds few releases are kept, so that there is something to collect.
    settings.engine.releases_kept = if seed % 2 == 1 { 1 } else { settings.engine.releases_kept };
    settings.engine.start_slots = Some(2);
    settings
}

/// The arguments that repeat it.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_drawn {
            return write!(f, "--seed {}", self.seed);
        }
        write!(f, "--history {}", self.history.name)?;
        self.faults.plan().try_for_each(|(at, fault)| write!(f, " --fault {at}:{fault}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.breach {
            Some(breach) => write!(f, "invariant {}: {}", breach.invariant, breach.what),
            None => write!(f, "no breach in {} calls", self.calls.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_seeds_keep_every_invariant() {
        let folder = tempfile::tempdir().unwrap();

        for run in (0..100).map(Run::drawn) {
            let outcome = run.play(folder.path()).unwrap();

            assert_eq!(outcome.breach, None, "repeat it by `simulate {run}`:\n{}", outcome.trace.end(60));
        }
    }

    #[cfg(sim_bugs)]
    #[test]
    fn every_planted_bug_is_found_within_two_thousand_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let breaks = |run: Run| run.play(folder.path()).unwrap().breach;

        let mut missed = Vec::new();
        for bug in Bug::ALL {
            let mut seeds = 0..2000;
            let found = seeds
                .find(|seed| breaks(Run::drawn(*seed).with_bug(bug)).is_some() && breaks(Run::drawn(*seed)).is_none());
            eprintln!("{bug}: {found:?}");
            missed.extend(found.is_none().then_some(bug));
        }

        assert_eq!(missed, []);
    }

    #[test]
    fn the_same_seed_gives_the_same_history_byte_for_byte() {
        for seed in 0..10 {
            let play = || {
                let folder = tempfile::tempdir().unwrap();
                Run::drawn(seed).play(folder.path()).unwrap().trace
            };

            let (first, second) = (play(), play());

            assert!(first.as_str().lines().count() > 20, "the history of seed {seed} tells something");
            assert_eq!(first.as_str(), second.as_str(), "seed {seed}");
        }
    }

    #[test]
    fn every_basic_history_without_faults_keeps_every_invariant() {
        for history in History::basic() {
            let folder = tempfile::tempdir().unwrap();

            let outcome = Run::planned(history.clone(), []).play(folder.path()).unwrap();

            assert_eq!(outcome.breach, None, "{}: {}\n{}", history.name, outcome, outcome.trace.as_str());
        }
    }
}
