//! Commands: each calls the library and shows what came of it.

mod start;
mod target;
mod up;

use std::process::ExitCode;

use ployer_core::Result;

use crate::args::{Args, Command};
use crate::show;

/// Does what the arguments say.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Some(Command::Up(args)) => up::run(args).await,
        Some(Command::Start(args)) => start::run(args).await,
        Some(Command::Version) | None => {
            show::data(&format!("ployer {}", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
    }
}
