//! The Procfile: a line `name: command` for each process type. `release` is the release command, as on Heroku.

use super::command;
use crate::error::{Error, Result};
use crate::model::{Command, ProcessName};

/// What a Procfile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Procfile {
    /// Process types and their commands, in the order of the file.
    pub(super) processes: Vec<(ProcessName, Command)>,
    /// What must succeed before anything of the release starts.
    pub(super) release: Option<Command>,
}

/// Reads a Procfile.
///
/// # Errors
///
/// `Invalid`, with the line.
pub(super) fn parse(text: &str) -> Result<Procfile> {
    let mut procfile = Procfile::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        add(&mut procfile, line).map_err(|reason| invalid(format!("line {}: {reason}", index + 1)))?;
    }
    Ok(procfile)
}

fn invalid(reason: String) -> Error {
    Error::invalid("Procfile", reason).with_hint("write a line such as `web: python3 app.py` for each process type")
}

fn add(procfile: &mut Procfile, line: &str) -> Result<(), String> {
    let Some((name, line)) = line.split_once(':') else {
        return Err("it is not `name: command`".to_owned());
    };
    let name: ProcessName = name.trim().parse().map_err(|error: Error| error.to_string())?;
    let command = command::split(line.trim())?;
    if name.as_str() == "release" {
        return match procfile.release.replace(command) {
            None => Ok(()),
            Some(_) => Err("`release` is there twice".to_owned()),
        };
    }
    if procfile.processes.iter().any(|(known, _)| *known == name) {
        return Err(format!("`{name}` is there twice"));
    }
    procfile.processes.push((name, command));
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(words: &[&str]) -> Command {
        Command(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_line_is_a_process_type_and_release_is_the_release_command() {
        let text = "# shop\r\nweb: python3 app.py $PORT\r\n\r\nworker:  ./work --all\nrelease: ./migrate\n";

        let procfile = parse(text).unwrap();

        assert_eq!(
            procfile.processes,
            [
                ("web".parse().unwrap(), command(&["python3", "app.py", "$PORT"])),
                ("worker".parse().unwrap(), command(&["./work", "--all"])),
            ]
        );
        assert_eq!(procfile.release, Some(command(&["./migrate"])));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("web python3", "Procfile is not valid: line 1: it is not `name: command`"),
            ("\n\nweb:", "Procfile is not valid: line 3: the command is empty"),
            ("web: a\nweb: b", "Procfile is not valid: line 2: `web` is there twice"),
            ("release: a\nrelease: b", "Procfile is not valid: line 2: `release` is there twice"),
            (
                "web: a && b",
                "Procfile is not valid: line 1: `&` needs a shell, and none is used: write `sh -c 'a && b'`",
            ),
            (
                "My_web: a",
                "Procfile is not valid: line 1: process type is not valid: it may only have lower-case letters, digits and `-`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|\n|:){0,200}") {
            parse(&text).ok();
        }
    }
}
