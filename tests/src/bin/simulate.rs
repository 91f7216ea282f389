//! Simulate: plays histories of the simulated world, as many as asked for, and shows those that break an invariant.
//!
//! ```text
//! cargo run -p tests --release --bin simulate -- --seeds 2000 [--from SEED]
//! cargo run -p tests --release --bin simulate -- --seed 17
//! cargo run -p tests --release --bin simulate -- --singles | --pairs [--every N]
//! cargo run -p tests --release --bin simulate -- --history redeploy --fault 17:crash-before
//! RUSTFLAGS="--cfg sim_bugs" cargo run -p tests --release --bin simulate -- --bugs
//! ```
//!
//! One run alone shows its whole history. It ends with 1 if anything is broken.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use ployer_core::testing::sim::{Fault, History, Outcome, Run};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Runs = Box<dyn Iterator<Item = Run> + Send>;

/// How many seeds are played where nothing else is said, and within which a planted bug must be found.
const SEEDS: u64 = 2000;
/// How many lines of the first broken history are shown.
const LINES: usize = 60;
/// How many broken histories are named.
const NAMED: usize = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let shown = match asked_for(&args) {
        Ok(Asked::One(run)) => show(&run),
        Ok(Asked::Many(runs)) => play(runs),
        Ok(Asked::Bugs(count)) => bugs::find_all(count),
        Err(error) => Err(error),
    };
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

enum Asked {
    One(Box<Run>),
    Many(Runs),
    /// Each planted bug, within so many seeds.
    Bugs(u64),
}

fn asked_for(args: &[String]) -> Result<Asked> {
    let mut args = args.iter().map(String::as_str);
    let (mut runs, mut one, mut faults, mut from, mut every) = (None, None, Vec::new(), 0, 1);
    let folder = tempfile::tempdir()?;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg {
            "--seeds" => runs = Some(Wish::Seeds(value()?.parse()?)),
            "--from" => from = value()?.parse()?,
            "--singles" => runs = Some(Wish::All(Box::new(Run::singles(folder.path())?))),
            "--pairs" => runs = Some(Wish::All(Box::new(Run::pairs(folder.path())?))),
            "--every" => every = value()?.parse()?,
            "--seed" => one = Some(Run::drawn(value()?.parse()?)),
            "--bugs" => runs = Some(Wish::Bugs),
            "--history" => runs = Some(Wish::Planned(named(value()?)?)),
            "--fault" => faults.push(struck(value()?)?),
            _ => return Err(format!("`{arg}` is not known: see the head of simulate.rs").into()),
        }
    }
    Ok(match (one, runs) {
        (Some(one), _) => Asked::One(Box::new(one)),
        (None, Some(Wish::Planned(history))) => Asked::One(Box::new(Run::planned(history, faults))),
        (None, Some(Wish::All(runs))) => Asked::Many(Box::new(runs.step_by(every))),
        (None, Some(Wish::Bugs)) => Asked::Bugs(SEEDS),
        (None, Some(Wish::Seeds(count))) => Asked::Many(seeds(from, count)),
        (None, None) => Asked::Many(seeds(from, SEEDS)),
    })
}

enum Wish {
    Bugs,
    Seeds(u64),
    All(Runs),
    Planned(History),
}

fn seeds(from: u64, count: u64) -> Runs {
    Box::new((from..from + count).map(Run::drawn))
}

fn named(name: &str) -> Result<History> {
    History::named(name).ok_or_else(|| {
        let names: Vec<_> = History::basic().into_iter().map(|history| history.name).collect();
        format!("there is no history `{name}`, but {}", names.join(", ")).into()
    })
}

/// A fault as it is written: the number of the call, a colon, what goes wrong.
fn struck(text: &str) -> Result<(u64, Fault)> {
    let (at, fault) = text.split_once(':').ok_or("a fault is written `NUMBER:FAULT`")?;
    Ok((at.parse()?, fault.parse()?))
}

/// Plays one run and shows all of it; answers whether every invariant was kept.
fn show(run: &Run) -> Result<bool> {
    let outcome = run.play(tempfile::tempdir()?.path())?;
    print!("{}", outcome.trace.as_str());
    println!("{outcome}");
    Ok(outcome.breach.is_none())
}

/// Plays runs on all cores; answers whether every invariant was kept in each.
fn play(runs: Runs) -> Result<bool> {
    let began = Instant::now();
    let runs = Mutex::new(runs);
    let workers = thread::available_parallelism()?.get();
    let played: Vec<Result<Played>> = thread::scope(|scope| {
        let working: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(&runs))).collect();
        working.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a history panicked".into()))).collect()
    });
    let (mut count, mut broken) = (0, Vec::new());
    for played in played {
        let played = played?;
        count += played.count;
        broken.extend(played.broken);
    }
    report(&broken);
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("{count} histories, {} broken, {rate:.0} per second", broken.len());
    Ok(broken.is_empty())
}

#[derive(Default)]
struct Played {
    count: u64,
    broken: Vec<(Run, Outcome)>,
}

fn work(runs: &Mutex<Runs>) -> Result<Played> {
    let folder = tempfile::tempdir()?;
    let mut played = Played::default();
    loop {
        let Some(run) = runs.lock().unwrap_or_else(PoisonError::into_inner).next() else { return Ok(played) };
        let outcome = run.play(folder.path())?;
        played.count += 1;
        if outcome.breach.is_some() {
            played.broken.push((run, outcome));
        }
    }
}

fn report(broken: &[(Run, Outcome)]) {
    if let Some((run, outcome)) = broken.first() {
        println!("the end of {run}:\n{}", outcome.trace.end(LINES));
    }
    for (run, outcome) in broken.iter().take(NAMED) {
        println!("{outcome}\n  cargo run -p tests --release --bin simulate -- {run}");
    }
}

#[cfg(not(sim_bugs))]
mod bugs {
    pub(super) fn find_all(_count: u64) -> super::Result<bool> {
        Err("this build has no bugs planted: set RUSTFLAGS=\"--cfg sim_bugs\"".into())
    }
}

/// The test of the test: each planted bug must be found.
#[cfg(sim_bugs)]
mod bugs {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;

    use ployer_core::testing::sim::{Bug, Run};

    use super::Result;

    /// Looks for every bug; answers whether all were found.
    pub(super) fn find_all(count: u64) -> Result<bool> {
        let (next, all_found) = (AtomicUsize::new(0), AtomicBool::new(true));
        let search = || -> Result<()> {
            while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                match find(*bug, count)? {
                    Some((seed, breach)) => println!("{bug}: seed {seed}, {breach}"),
                    None => {
                        all_found.store(false, Ordering::Relaxed);
                        println!("{bug}: not found within {count} seeds");
                    }
                }
            }
            Ok(())
        };
        let workers = thread::available_parallelism()?.get();
        thread::scope(|scope| {
            let working: Vec<_> = (0..workers).map(|_| scope.spawn(search)).collect();
            working.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err("a history panicked".into())))
        })?;
        Ok(all_found.load(Ordering::Relaxed))
    }

    /// The first seed whose history breaks with the bug, and does not without.
    fn find(bug: Bug, count: u64) -> Result<Option<(u64, String)>> {
        let folder = tempfile::tempdir()?;
        for seed in 0..count {
            let outcome = Run::drawn(seed).with_bug(bug).play(folder.path())?;
            if outcome.breach.is_some() && Run::drawn(seed).play(folder.path())?.breach.is_none() {
                return Ok(Some((seed, outcome.to_string())));
            }
        }
        Ok(None)
    }
}
