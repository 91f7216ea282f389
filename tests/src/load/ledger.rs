//! The ledger: every request that was begun, and what became of it.
//!
//! An entry that is dropped without a word counts as lost: nothing leaves the account.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A small request on a kept connection.
    KeepAlive,
    /// One whose answer takes five seconds.
    Slow,
    /// One with a large body.
    Upload,
    /// One with an answer in pieces.
    Streaming,
    /// A WebSocket, from its opening to its end.
    WebSocket,
}

/// Every request of a load.
#[derive(Debug)]
pub struct Ledger {
    book: Mutex<Report>,
}

/// The account of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Sums by kind.
    pub tallies: BTreeMap<Kind, Tally>,
    /// Each lost request.
    pub lost: Vec<Lost>,
    /// Each WebSocket that the application ended.
    pub ended: Vec<Ended>,
    /// Which version answered first, and when: in the order of their appearance.
    pub seen: Vec<(String, Instant)>,
    opened: Option<Instant>,
}

/// Sums of one kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests begun.
    pub begun: u64,
    /// Requests with a whole and right answer.
    pub answered: u64,
    /// How long the slowest answer took.
    pub longest: Duration,
    /// When each version answered last.
    pub last: BTreeMap<String, Timestamp>,
}

/// A request without a whole and right answer.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Its kind.
    pub kind: Kind,
    /// When it was begun.
    pub begun: Instant,
    /// When it was lost.
    pub lost: Instant,
    /// What happened.
    pub detail: String,
}

/// A WebSocket that the application ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The version that had it.
    pub version: String,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// The code and reason it gave.
    pub why: String,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Entry {
    ledger: Arc<Ledger>,
    kind: Kind,
    begun: Instant,
    is_settled: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { book: Mutex::new(Report { opened: Some(Instant::now()), ..Report::default() }) }
    }
}

impl Ledger {
    pub(super) fn begin(self: &Arc<Self>, kind: Kind) -> Entry {
        self.book().tallies.entry(kind).or_default().begun += 1;
        Entry { ledger: self.clone(), kind, begun: Instant::now(), is_settled: false }
    }

    /// Writes down that a version was seen to answer, before the request is over.
    pub(super) fn see(&self, version: &str) {
        let mut book = self.book();
        if !book.seen.iter().any(|(seen, _)| seen == version) {
            book.seen.push((version.to_owned(), Instant::now()));
        }
    }

    pub(super) fn ended(&self, ended: Ended) {
        self.book().ended.push(ended);
    }

    /// Whether a version has answered.
    pub fn has_seen(&self, version: &str) -> bool {
        self.book().seen.iter().any(|(seen, _)| seen == version)
    }

    /// Requests of a kind with a whole and right answer so far.
    pub fn answered(&self, kind: Kind) -> u64 {
        self.book().tallies.get(&kind).map_or(0, |tally| tally.answered)
    }

    /// The account as it stands: what is under way is begun and neither answered nor lost.
    pub fn report(&self) -> Report {
        self.book().clone()
    }

    fn book(&self) -> MutexGuard<'_, Report> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn answered(mut self, version: &str) {
        self.is_settled = true;
        self.ledger.see(version);
        let (took, mut book) = (self.begun.elapsed(), self.ledger.book());
        let tally = book.tallies.entry(self.kind).or_default();
        tally.answered += 1;
        tally.longest = tally.longest.max(took);
        tally.last.insert(version.to_owned(), Timestamp::now());
    }

    pub(super) fn lost(mut self, detail: impl Into<String>) {
        self.lose(detail.into());
    }

    fn lose(&mut self, detail: String) {
        self.is_settled = true;
        let lost = Lost { kind: self.kind, begun: self.begun, lost: Instant::now(), detail };
        self.ledger.book().lost.push(lost);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_settled {
            self.lose("given up".to_owned());
        }
    }
}

impl Report {
    /// Fails the test unless every request was answered and each kind was asked.
    ///
    /// # Panics
    ///
    /// If a request was lost, is not accounted for, or a kind of `kinds` never had an answer.
    pub fn assert_whole(&self, kinds: &[Kind]) {
        assert!(self.lost.is_empty(), "{} requests were lost\n{self}", self.lost.len());
        for (kind, tally) in &self.tallies {
            assert_eq!(tally.begun, tally.answered, "{kind:?} does not add up\n{self}");
        }
        for kind in kinds {
            let answered = self.tallies.get(kind).map_or(0, |tally| tally.answered);
            assert!(answered > 0, "{kind:?} never had an answer\n{self}");
        }
    }

    /// The versions that answered, in the order of their appearance.
    pub fn versions(&self) -> Vec<&str> {
        self.seen.iter().map(|(version, _)| version.as_str()).collect()
    }

    fn second(&self, at: Instant) -> f64 {
        self.opened.map_or(0.0, |opened| at.duration_since(opened).as_secs_f64())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, Tally { begun, answered, longest, last }) in &self.tallies {
            writeln!(f, "  {kind:?}: {begun} begun, {answered} answered, slowest {longest:?}, at last {last:?}")?;
        }
        for (version, at) in &self.seen {
            writeln!(f, "  {:8.3} s: {version} answers first", self.second(*at))?;
        }
        for Ended { version, opened, at, why } in &self.ended {
            writeln!(f, "  {version} ended a WebSocket of {opened} at {at}: {why}")?;
        }
        for Lost { kind, begun, lost, detail } in self.lost.iter().take(50) {
            let (begun, lost) = (self.second(*begun), self.second(*lost));
            writeln!(f, "  {lost:8.3} s: {kind:?} of {begun:.3} s lost: {detail}")?;
        }
        Ok(())
    }
}
