//! Versions: what a simulated repository holds at a commit, and how that behaves on its way to serving.

use std::collections::BTreeMap;
use std::time::Duration;

use super::program::Program;
use crate::model::{Command, Exit, ProcessName};

/// What a repository holds at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Tells it from others: its commit follows from it.
    pub number: u32,
    /// Its process types: name, program, replicas.
    pub processes: Vec<(ProcessName, Program, u32)>,
    /// Runs before anything of it starts.
    pub release_command: Option<Program>,
    /// Whether its gate asks a path, instead of looking for a listener.
    pub health_path: bool,
    /// Whether it has a persistent directory, and so stops before it starts.
    pub volume: bool,
    /// How fetching it goes.
    pub checkout: Effort,
    /// How building it goes.
    pub build: Effort,
}

/// How long something takes, and whether it works out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How long it takes.
    pub takes: Duration,
    /// Whether it fails in the end.
    pub fails: bool,
}

impl Effort {
    /// One that works out.
    pub fn taking(takes: Duration) -> Self {
        Self { takes, fails: false }
    }

    /// One that fails.
    pub fn failing(takes: Duration) -> Self {
        Self { takes, fails: true }
    }
}

impl Version {
    /// One replica of `web` that is ready soon.
    pub fn web(number: u32) -> Self {
        Self::running(number, Program::default())
    }

    /// One replica of `web` that is this program.
    pub fn running(number: u32, web: Program) -> Self {
        Self {
            number,
            processes: vec![(ProcessName::web(), web, 1)],
            release_command: None,
            health_path: false,
            volume: false,
            checkout: Effort::taking(Duration::from_millis(300)),
            build: Effort::taking(Duration::from_secs(2)),
        }
    }

    /// The same with a persistent directory.
    #[must_use]
    pub fn with_volume(mut self) -> Self {
        self.volume = true;
        self
    }

    /// The same with a health path.
    #[must_use]
    pub fn with_health_path(mut self) -> Self {
        self.health_path = true;
        self
    }

    /// The same with so many replicas of each process type.
    #[must_use]
    pub fn with_replicas(mut self, count: u32) -> Self {
        for (_, _, replicas) in &mut self.processes {
            *replicas = count;
        }
        self
    }

    /// The same with a worker beside `web`.
    #[must_use]
    pub fn with_worker(mut self, program: Program) -> Self {
        self.processes.extend("worker".parse().ok().map(|name| (name, program, 1)));
        self
    }

    /// The same with a release command that ends after a while.
    #[must_use]
    pub fn with_release_command(mut self, takes: Duration, exit: Exit) -> Self {
        self.release_command = Some(Program::ending(takes, exit));
        self
    }

    /// The same with such a build.
    #[must_use]
    pub fn with_build(mut self, build: Effort) -> Self {
        self.build = build;
        self
    }

    /// Whether it comes to serve when nothing goes wrong around it.
    pub fn is_good(&self) -> bool {
        let lives = |program: &Program| program.exits_after.is_none();
        let answers = |program: &Program| {
            program.listens_after.is_some_and(|after| after < Duration::from_secs(20))
                && (!self.health_path || program.status < 400)
        };
        let processes = self.processes.iter();
        let fine = processes.clone().all(|(name, program, _)| lives(program) && (!name.is_web() || answers(program)));
        let released = self.release_command.as_ref().and_then(|program| program.exits_after);
        let released = released.is_none_or(|(_, exit)| exit.is_success());
        fine && released && !self.build.fails && !self.checkout.fails
    }

    /// Its commit: the number, as far as a commit may be that.
    pub fn sha(&self) -> String {
        format!("{:040x}", self.number)
    }

    /// The files of its commit.
    pub fn files(&self) -> BTreeMap<String, String> {
        let files = [("ployer.toml", self.manifest()), ("version.txt", self.number.to_string())];
        files.map(|(path, text)| (path.to_owned(), text)).into()
    }

    fn manifest(&self) -> String {
        let mut lines = vec![format!("build = {}", words(&self.build_command()))];
        lines.extend(self.release_command.as_ref().map(|program| format!("release = {}", words(&program.command()))));
        lines.extend(self.health_path.then(|| "health = \"/health\"".to_owned()));
        lines.extend(self.volume.then(|| "volumes = [\"data\"]".to_owned()));
        lines.push("[processes]".to_owned());
        lines.extend(self.processes.iter().map(|(name, program, replicas)| {
            format!("{name} = {{ command = {}, replicas = {replicas} }}", words(&program.command()))
        }));
        lines.join("\n")
    }

    /// The build command that a builder follows.
    pub fn build_command(&self) -> Command {
        let Effort { takes, fails } = self.build;
        let end = if fails { "fails" } else { "works" };
        let words = ["sim-build", &takes.as_millis().to_string(), end, "building"];
        Command(words.map(str::to_owned).to_vec())
    }
}

/// A command as a list of TOML. Its words need no escapes but these.
fn words(Command(words): &Command) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.escape_default())).collect();
    format!("[{}]", quoted.join(", "))
}
