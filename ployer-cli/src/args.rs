//! Arguments: every command, option and help text.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use ployer_core::model::{AppName, BranchName};

/// Deploys applications from Git onto this machine: builds, starts, waits until they are ready, then moves requests.
#[derive(Debug, Parser)]
#[command(name = "ployer", bin_name = "ployer", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Tells on stderr what happens inside; twice for more.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Args {
    /// What this program was started with; an error or a wish for help ends it. Without a command it is `start`.
    pub(crate) fn read() -> Self {
        let args = Self::parse();
        match args.command {
            Some(_) => args,
            None => Self::parse_from(std::env::args_os().chain(["start".into()])),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  ployer up                                    deploys the current folder and serves it
  ployer up https://github.com/you/shop.git    deploys a repository
  ployer start --port 3001                     starts the server

Exit codes:
  0 done                  6 not allowed            11 no engine runs
  1 a deployment failed   7 something is away      12 it took too long
  2 bad input             8 cannot be done here    13 a limit was reached
  3 does not exist        9 something else runs    70 a defect
  4 exists already       10 no longer kept";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(UpArgs),
    Start(StartArgs),
    /// Prints the version.
    Version,
}

/// Deploys a folder or a repository and serves it until Ctrl-C.
///
/// The application is known by its path or address: `up` on it again deploys what changed, and requests go over to
/// the new version only once it answers. Everything else that was deployed with the same data directory is served
/// too. Ctrl-C ends the applications' processes as well; the next `up` starts them again.
#[derive(Debug, clap::Args)]
#[command(after_help = UP_EXAMPLES)]
pub(crate) struct UpArgs {
    /// A folder, or the address of a Git repository.
    #[arg(value_name = "PATH | GIT-URL", default_value = ".")]
    pub(crate) target: String,

    /// The application's name; by default the name of the folder or repository.
    #[arg(long)]
    pub(crate) name: Option<AppName>,

    /// The branch or tag; by default the repository's own.
    #[arg(long)]
    pub(crate) branch: Option<BranchName>,

    /// The port to serve on; the next free one if it is taken.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,

    /// The address to serve on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,

    /// Takes a home directory, or a folder of more than 1 GB, without asking.
    #[arg(long)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) data: DataArgs,
}

const UP_EXAMPLES: &str = "\
Examples:
  ployer up examples/apps/hello
  ployer up . --name shop --port 3000
  ployer up git@github.com:you/shop.git --branch main";

/// Starts the server: the HTTP API, the engine and the proxy.
#[derive(Debug, clap::Args)]
#[command(after_help = START_EXAMPLES)]
pub(crate) struct StartArgs {
    /// The address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    pub(crate) host: IpAddr,

    /// The port of the HTTP API.
    #[arg(long, default_value_t = 3001)]
    pub(crate) port: u16,

    /// The port that applications are served on; the next free one if it is taken.
    #[arg(long, default_value_t = 8080)]
    pub(crate) proxy_port: u16,

    #[command(flatten)]
    pub(crate) data: DataArgs,
}

const START_EXAMPLES: &str = "\
Examples:
  ployer start
  ployer start --host 127.0.0.1 --port 3001
  curl http://localhost:3001/api/v1/health";

/// Where everything is kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Where everything is kept; by default `ployer` in the user's data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}
