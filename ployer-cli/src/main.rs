//! The `ployer` command: parses, calls the library, renders. It has no rules of its own.
//!
//! What belongs to a program and not to a library is here alone: the environment, signals, the terminal, the exit
//! code, and how the allocator is tuned.

mod args;
mod commands;
mod context;
mod show;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use ployer_core::Error;

use self::args::Args;

fn main() -> ExitCode {
    tune_allocator();
    let args = Args::read();
    show::log::begin(args.verbose);
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            show::note(&show::error::text(&error));
            ExitCode::from(show::error::exit_code(error.kind()))
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the system gives no threads", error))?;
    let ended = runtime.block_on(commands::run(args));
    // A blocking call that hangs must not keep the program.
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

/// Keeps glibc from holding memory back for threads that are idle: one arena, and what is freed goes back soon.
#[cfg(target_env = "gnu")]
fn tune_allocator() {
    const KEPT_BYTES_MAX: libc::c_int = 128 * 1024;
    #[allow(unsafe_code, reason = "`mallopt` only sets numbers, and no other thread runs yet")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
    }
}

#[cfg(not(target_env = "gnu"))]
fn tune_allocator() {}
