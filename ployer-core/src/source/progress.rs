//! Progress: from what Git writes on its standard error to lines that a person follows.
//!
//! Git redraws a line for each percent and lists every branch it has fetched; of a phase only its end is passed on,
//! and of the list nothing. Control characters, which may come from the other side, are taken out. What was said last
//! is kept for the explanation of a failure.

use std::collections::VecDeque;

/// The longest line that is passed on.
const LINE_BYTES_MAX: usize = 1_000;
/// The lines kept for the explanation of a failure.
const TAIL_LINES_MAX: usize = 50;

/// Splits, thins out and cleans.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// A carriage return was seen: the line is redrawn, or ends here as SSH ends lines.
    returned: bool,
    tail: VecDeque<String>,
}

impl Lines {
    /// Takes the next bytes; says the lines that end in them.
    pub(super) fn take(&mut self, bytes: &[u8], say: &mut dyn FnMut(String)) {
        for &byte in bytes {
            if std::mem::take(&mut self.returned) && byte != b'\n' {
                self.finish(false, say);
            }
            match byte {
                b'\n' => self.finish(true, say),
                b'\r' => self.returned = true,
                _ if self.line.len() < LINE_BYTES_MAX => self.line.push(byte),
                _ => {}
            }
        }
    }

    /// Says what is left without an end.
    pub(super) fn end(&mut self, say: &mut dyn FnMut(String)) {
        self.finish(true, say);
    }

    /// What Git wrote last, without what was redrawn.
    pub(super) fn into_tail(self) -> String {
        Vec::from(self.tail).join("\n")
    }

    fn finish(&mut self, whole: bool, say: &mut dyn FnMut(String)) {
        let line = clean(&std::mem::take(&mut self.line));
        if line.is_empty() || !whole {
            return;
        }
        self.tail.push_back(line.clone());
        if self.tail.len() > TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        if !(is_under_way(&line) || is_of_the_list(&line)) {
            say(line);
        }
    }
}

/// `Receiving objects:  42% (21/50)` is, with `, done.` behind it it is not: another line can end a redrawn one.
fn is_under_way(line: &str) -> bool {
    let percent = line.rsplit_once(':').and_then(|(_, rest)| rest.trim_start().split_once('%'));
    percent.is_some_and(|(number, _)| number.parse::<u32>().is_ok()) && !line.ends_with("done.")
}

/// ` * [new branch]      main       -> main`, below `From` and the address.
fn is_of_the_list(line: &str) -> bool {
    line.starts_with("From ") || (line.starts_with(' ') && line.contains(" -> "))
}

fn clean(line: &[u8]) -> String {
    // Git ends what it passes on from the other side with a request to the terminal: clear to the end of the line.
    let text = String::from_utf8_lossy(line).replace("\u{1b}[K", "");
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&str]) -> (Vec<String>, String) {
        let mut said = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.take(chunk.as_bytes(), &mut |line| said.push(line));
        }
        lines.end(&mut |line| said.push(line));
        (said, lines.into_tail())
    }

    #[test]
    fn a_line_is_said_once_it_ends_also_across_chunks() {
        let (said, tail) = lines_of(&["remote: Coun", "ting\nfatal: no", "pe"]);

        assert_eq!(said, ["remote: Counting", "fatal: nope"]);
        assert_eq!(tail, "remote: Counting\nfatal: nope");
    }

    #[test]
    fn lines_that_end_as_those_of_ssh_are_whole_lines() {
        let (said, tail) = lines_of(&["Permission denied (publickey).\r", "\nfatal: no\r\n"]);

        assert_eq!(said, ["Permission denied (publickey).", "fatal: no"]);
        assert_eq!(tail, "Permission denied (publickey).\nfatal: no");
    }

    #[test]
    fn a_phase_is_said_once_when_it_ends() {
        let redrawn: String = (0..=100).map(|n| format!("Receiving objects: {n:3}% ({n}/100)\r")).collect();
        let broken = "Receiving objects:  92% (92/100)\n";

        let (said, tail) = lines_of(&[&redrawn, broken, "Receiving objects: 100% (100/100), done.\n"]);

        assert_eq!(said, ["Receiving objects: 100% (100/100), done."]);
        assert_eq!(tail.lines().last(), Some("Receiving objects: 100% (100/100), done."));
    }

    #[test]
    fn the_list_of_fetched_branches_is_kept_but_not_said() {
        let list = "From https://host.example/shop\n * [new branch]      main       -> main\n   1..2  a -> a\n";

        let (said, tail) = lines_of(&[list, "warning: a -> b\n"]);

        assert_eq!(said, ["warning: a -> b"]);
        assert_eq!(tail.lines().count(), 4);
    }

    #[test]
    fn control_characters_of_the_other_side_are_taken_out() {
        let (said, _) = lines_of(&["remote: \u{1b}[31mred\u{7}        \u{1b}[K\n"]);

        assert_eq!(said, ["remote: [31mred"]);
    }

    #[test]
    fn what_never_ends_takes_no_more_than_its_bounds() {
        let long = "x".repeat(100_000);
        let many = "line\n".repeat(10_000);

        let (said, tail) = lines_of(&[&long, "\n", &many]);

        assert_eq!(said[0].len(), LINE_BYTES_MAX);
        assert_eq!(tail.lines().count(), TAIL_LINES_MAX);
    }
}
