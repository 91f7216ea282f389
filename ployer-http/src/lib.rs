//! The HTTP API of Ployer: parses, calls the library, answers. It has no rules of its own.
//!
//! [`router`] is the whole API as one service, [`serve()`] listens with limits on everything that a stranger sends.
//! The server listens before the installation is open: [`Health`] says `degraded` until then.

mod health;
mod problem;
mod routes;
mod serve;

pub use self::health::Health;
pub use self::problem::Problem;
pub use self::routes::router;
pub use self::serve::serve;
