//! Programs: what a simulated process does once it is started, written as a command that the library passes on.
//!
//! So a version of an application carries its behaviour through checkout, build and start by itself, as a real one
//! does: nothing of the world has to know which release a replica belongs to.

use std::time::Duration;

use crate::model::{Command, Exit, OutputStream};

/// What a simulated process does once it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// When it listens; `None`: never.
    pub listens_after: Option<Duration>,
    /// The status of its answers.
    pub status: u16,
    /// When it ends by itself, and how; `None`: never.
    pub exits_after: Option<(Duration, Exit)>,
    /// How long it takes to end after SIGTERM; `None`: it ignores the signal.
    pub ends_after: Option<Duration>,
    /// What it prints at its start, a word each.
    pub prints: Vec<(OutputStream, String)>,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            listens_after: Some(Duration::from_millis(200)),
            status: 200,
            exits_after: None,
            ends_after: Some(Duration::from_millis(50)),
            prints: Vec::new(),
        }
    }
}

impl Program {
    /// One that listens after a while and answers well.
    pub fn listening(after: Duration) -> Self {
        Self { listens_after: Some(after), ..Self::default() }
    }

    /// One that runs and never listens: a worker, or a fault.
    pub fn silent() -> Self {
        Self { listens_after: None, ..Self::default() }
    }

    /// One that ends by itself.
    pub fn ending(after: Duration, exit: Exit) -> Self {
        Self { listens_after: None, exits_after: Some((after, exit)), ..Self::default() }
    }

    /// The command that is this program.
    pub fn command(&self) -> Command {
        let mut words = vec!["sim".to_owned(), format!("status={}", self.status)];
        words.extend(self.listens_after.map(|after| format!("listens={}", after.as_millis())));
        words.extend(self.ends_after.map(|after| format!("ends={}", after.as_millis())));
        if let Some((after, exit)) = self.exits_after {
            let code = match exit {
                Exit::Code(code) => code,
                Exit::Signal(signal) => -signal,
                Exit::Unknown => i32::MIN,
            };
            words.push(format!("exits={}:{code}", after.as_millis()));
        }
        words.extend(self.prints.iter().map(|(stream, text)| match stream {
            OutputStream::Stdout => format!("out={text}"),
            OutputStream::Stderr => format!("err={text}"),
        }));
        Command(words)
    }

    /// The program that a command is; what is no simulated program listens and answers at once.
    pub fn parse(command: &Command) -> Self {
        let Command(words) = command;
        if words.first().map(String::as_str) != Some("sim") {
            return Self::listening(Duration::ZERO);
        }
        let mut program = Self { listens_after: None, ends_after: None, ..Self::default() };
        for (key, value) in words.iter().filter_map(|word| word.split_once('=')) {
            program.set(key, value);
        }
        program
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "status" => self.status = value.parse().unwrap_or(self.status),
            "listens" => self.listens_after = millis(value),
            "ends" => self.ends_after = millis(value),
            "out" => self.prints.push((OutputStream::Stdout, value.to_owned())),
            "err" => self.prints.push((OutputStream::Stderr, value.to_owned())),
            "exits" => {
                self.exits_after = value.split_once(':').and_then(|(after, code)| {
                    let exit = match code.parse::<i32>().ok()? {
                        i32::MIN => Exit::Unknown,
                        code @ 0.. => Exit::Code(code),
                        signal => Exit::Signal(-signal),
                    };
                    Some((millis(after)?, exit))
                })
            }
            _ => {}
        }
    }
}

fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_survives_the_way_through_its_command() {
        let programs = [
            Program::default(),
            Program::silent(),
            Program { ends_after: None, status: 500, ..Program::default() },
            Program::ending(Duration::from_secs(3), Exit::Code(1)),
            Program::ending(Duration::ZERO, Exit::Signal(9)),
            Program::ending(Duration::ZERO, Exit::Unknown),
            Program { prints: vec![(OutputStream::Stderr, "hello".to_owned())], ..Program::silent() },
        ];

        for program in programs {
            assert_eq!(Program::parse(&program.command()), program);
        }
    }

    #[test]
    fn a_command_of_a_real_program_listens_at_once() {
        let command = Command(vec!["python3".to_owned(), "app.py".to_owned()]);

        assert_eq!(Program::parse(&command).listens_after, Some(Duration::ZERO));
    }
}
