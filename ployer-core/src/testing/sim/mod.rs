//! The simulated world: the real engine over a runtime, proxy, source and store that a seed decides.
//!
//! Time is tokio's paused time, there is one thread, and every choice follows from the seed, so a seed is a history.
//! Each call into the world is numbered; a fault may strike it, up to a crash of the engine between any two effects.
//! After each step the invariants are checked, by number.

mod clock;
#[cfg(test)]
mod conformance;
mod director;
mod faults;
mod history;
mod invariants;
mod judge;
mod plan;
mod program;
mod proxy;
mod random;
mod replicas;
mod rest;
mod routing;
mod run;
mod runtime;
mod servers;
mod source;
mod store;
mod stored;
mod trace;
mod user;
mod verdicts;
mod version;
mod workshop;
mod world;

pub use self::clock::SimClock;
pub use self::faults::{Fault, Faults, Mishap, PointKind};
pub use self::history::{History, Scene};
pub use self::judge::Breach;
pub use self::program::Program;
pub use self::proxy::SimProxy;
pub use self::random::Random;
pub use self::run::{Outcome, Run};
pub use self::runtime::SimRuntime;
pub use self::servers::{SimProbe, SimSecrets, SimServers};
pub use self::source::{SimBuilder, SimSource};
pub use self::store::SimStore;
pub use self::trace::Trace;
pub use self::version::{Effort, Version};
pub use self::world::{EngineNumber, Port, SimWorld};
#[cfg(sim_bugs)]
pub use crate::planted::Bug;
