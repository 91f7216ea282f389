//! The engine: from "deploy this" to "it serves", and keeping it so.
//!
//! Deciding and doing are apart. [`decide`] is pure: from whole pictures, what is stored and what is seen, it says what
//! should be stored next and which effects should be under way. [`act`] reads, stores and performs. Nothing is an
//! order that could be lost: whatever is not yet as it should be is named again by the next decision.
//!
//! # The walk of one deployment
//!
//! 1. The facade stores a queued deployment and its event in one commit. `act/crew.rs` reads the event log and wakes
//!    the application's actor, `act/actor.rs`.
//! 2. The actor reads the rows (`act/facts.rs`) and asks [`decide`]: `queue.rs` says that its turn has come.
//! 3. The decision is stored: the state of the machine as one JSON document, rows and events with it, fenced with the
//!    engine's epoch. Only then do its effects begin (`act/effects.rs`), each performed by the file that
//!    `act/scope.rs` names.
//! 4. `act/checkout.rs` and `act/build.rs` end as facts in the picture (`act/picture.rs`), which wakes the actor; each
//!    turn is the same: read, decide, store, perform.
//! 5. `decide/plan.rs` fixes names and addresses, `decide/rollout.rs` the list of phases. `decide/converge.rs` compares
//!    what each phase wants with what is seen; `act/workloads.rs` and `act/routes.rs` close the difference;
//!    `act/observe.rs`, `act/gate.rs` and `act/ask.rs` see what came of it.
//! 6. Entering the switch is the intent: from that commit on there is no cancel. When every new replica has answered
//!    through the proxy, status, release, domain and receipt are stored as `running` in one commit, and
//!    `decide/retire.rs` sees the old release out.
//!
//! A crash at any line: the next engine takes the lease with a later epoch (`act/lease.rs`), reads the same rows, looks
//! at the same world, and goes on. `decide/recovery.rs` says what counts as interrupted; there is no second path.
//!
//! # What is not here
//!
//! No rule about who may do what (that is `access`), no SQL, no process and no socket: those are behind traits. Nothing
//! here reads the environment, and nothing spawns a task that outlives [`Engine::run`].

mod act;
pub(crate) mod decide;

pub(crate) use self::act::{Engine, EngineParts, stop_applications};
