//! Planted bugs: mistakes in the engine that the simulation must find, or it proves nothing.
//!
//! They are compiled under `cfg(sim_bugs)` alone; the library as it is shipped has no trace of them. One at most is
//! planted at a time, by name, in the thread that plays a history.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Effects begin before the decision that names them is stored.
    JournalAfterActing,
    /// A route counts as confirmed before it was read back and has answered.
    SkipTheReadBack,
    /// Old replicas are told to end while requests are under way on them.
    StopBeforeDrain,
    /// The engine's commits do not carry its epoch.
    ForgetTheFence,
    /// An object of ours that the store does not know is removed.
    ReapTheUnknown,
    /// An address is given out again as soon as its replica is gone.
    ReuseAnAddressAtOnce,
    /// A deployment is called back although its intent is stored.
    CancelAfterIntent,
    /// A release command that was begun before a crash is run anew.
    RunTheReleaseCommandAgain,
    /// A newer deployment of the branch head replaces a queued rollback.
    NewestWinsKillsARollback,
    /// A release that a rollback has pinned is collected.
    CollectAPinnedRelease,
    /// News of the store that comes after the facts were read is dropped.
    DropALateEvent,
    /// Crashes of the engine are not counted against what they left open.
    ResumeWithoutLimit,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 12] = [
        Self::JournalAfterActing,
        Self::SkipTheReadBack,
        Self::StopBeforeDrain,
        Self::ForgetTheFence,
        Self::ReapTheUnknown,
        Self::ReuseAnAddressAtOnce,
        Self::CancelAfterIntent,
        Self::RunTheReleaseCommandAgain,
        Self::NewestWinsKillsARollback,
        Self::CollectAPinnedRelease,
        Self::DropALateEvent,
        Self::ResumeWithoutLimit,
    ];
}

/// Its name: the words of the variant, joined by hyphens.
impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{self:?}");
        let spaced = name.char_indices().flat_map(|(at, letter)| {
            let hyphen = (at > 0 && letter.is_uppercase()).then_some('-');
            hyphen.into_iter().chain(letter.to_lowercase())
        });
        f.write_str(&spaced.collect::<String>())
    }
}

impl FromStr for Bug {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let mut named = Self::ALL.into_iter().filter(|bug| bug.to_string() == name);
        named.next().ok_or_else(|| Error::invalid("bug", format!("`{name}` is none")))
    }
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on this thread has that bug, and no other.
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this thread has that bug.
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
