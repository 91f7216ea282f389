//! A command line as words. No shell ever sees it, so what only a shell could do is refused and not passed on.
//!
//! Quotes and backslashes mean what they mean in a shell. `$NAME` outside of single quotes is left for the runtime to
//! replace; a dollar that means itself becomes `$$`, as [`Command`] has it.

use std::iter::Peekable;
use std::str::Chars;

use crate::model::{Command, EnvKey};

/// Splits a command line into words.
///
/// # Errors
///
/// Says what it cannot be: the reason, and where it helps the remedy.
pub(super) fn split(line: &str) -> Result<Command, String> {
    let mut words = Words { line, rest: line.chars().peekable(), word: None, done: Vec::new() };
    while let Some(c) = words.rest.next() {
        words.take(c)?;
    }
    words.end_word();
    match words.done.first() {
        None => Err("the command is empty".to_owned()),
        Some(first) if is_assignment(first) => Err(format!("`{first}` is no program: write `env {line}`")),
        Some(_) => Ok(Command(words.done)),
    }
}

struct Words<'a> {
    line: &'a str,
    rest: Peekable<Chars<'a>>,
    /// The word that has begun, if one has: it may be empty, in quotes.
    word: Option<String>,
    done: Vec<String>,
}

impl Words<'_> {
    fn take(&mut self, c: char) -> Result<(), String> {
        match c {
            ' ' | '\t' | '\n' => self.end_word(),
            '\'' => self.single_quoted()?,
            '"' => self.double_quoted()?,
            '\\' => match self.rest.next() {
                Some('\n') => {}
                Some(next) => self.literal(next),
                None => return Err("it ends with a backslash".to_owned()),
            },
            '$' => self.variable()?,
            '&' | '|' | ';' | '<' | '>' | '(' | ')' | '`' => return Err(self.needs_shell(&c.to_string())),
            '#' if self.word.is_none() => {
                return Err("a comment cannot follow a command: put it on a line of its own".to_owned());
            }
            c => self.push(c),
        }
        Ok(())
    }

    fn single_quoted(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.literal(c),
                None => return Err("a single quote is not closed".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), String> {
        self.word.get_or_insert_default();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(()),
                Some('\\') => match self.rest.next() {
                    Some('\n') => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.literal(c),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                    None => return Err("a double quote is not closed".to_owned()),
                },
                Some('$') => self.variable()?,
                Some('`') => return Err(self.needs_shell("`")),
                Some(c) => self.push(c),
                None => return Err("a double quote is not closed".to_owned()),
            }
        }
    }

    /// After a dollar: what the runtime replaces stays, what only a shell could work out is refused.
    fn variable(&mut self) -> Result<(), String> {
        match self.rest.peek().copied() {
            Some('(') => return Err(self.needs_shell("$(")),
            Some('{') => {
                let inside: String = self.rest.clone().skip(1).take_while(|c| *c != '}').collect();
                if inside.parse::<EnvKey>().is_err() {
                    return Err(self.needs_shell(&format!("${{{inside}}}")));
                }
                self.push('$');
            }
            Some('$') => {
                self.rest.next();
                self.literal('$');
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.push('$'),
            _ => self.literal('$'),
        }
        Ok(())
    }

    /// A character that stands for itself, also if it is a dollar.
    fn literal(&mut self, c: char) {
        if c == '$' {
            self.push('$');
        }
        self.push(c);
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        self.done.extend(self.word.take());
    }

    fn needs_shell(&self, what: &str) -> String {
        let quoted = self.line.replace('\'', r"'\''");
        format!("`{what}` needs a shell, and none is used: write `sh -c '{quoted}'`")
    }
}

/// `NAME=value` before a command sets a variable in a shell.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.parse::<EnvKey>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap().0
    }

    #[test]
    fn quotes_and_backslashes_mean_what_they_mean_in_a_shell() {
        for (line, expected) in [
            ("python3 app.py", vec!["python3", "app.py"]),
            ("  a\t'b c'  \"d e\"  ", vec!["a", "b c", "d e"]),
            (r#"a "" '' b"#, vec!["a", "", "", "b"]),
            (r"a\ b \'", vec!["a b", "'"]),
            (r#""a\"b\\c\d""#, vec![r#"a"b\c\d"#]),
            ("a'b'\"c\"", vec!["abc"]),
            ("a#b --x=* ~", vec!["a#b", "--x=*", "~"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_dollar_is_a_variable_except_where_a_shell_would_not_see_one() {
        for (line, expected) in [
            ("a $PORT ${PORT} \"$PORT\"", vec!["a", "$PORT", "${PORT}", "$PORT"]),
            ("sh -c 'exec x $PORT'", vec!["sh", "-c", "exec x $$PORT"]),
            (r"a \$PORT", vec!["a", "$$PORT"]),
            ("a $$ 5$ $1", vec!["a", "$$", "5$$", "$$1"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_refused_with_a_command_that_works() {
        for line in ["a && b", "a | b", "a > b", "a; b", "a `b`", "a $(b)", "(a)", "a ${PORT:-80}", "a \"`b`\"", "a &"]
        {
            let reason = split(line).unwrap_err();
            assert!(reason.contains(&format!("sh -c '{line}'")), "{line}: {reason}");
        }
        assert_eq!(
            split("echo 'x' | cat").unwrap_err(),
            r"`|` needs a shell, and none is used: write `sh -c 'echo '\''x'\'' | cat'`"
        );
        assert_eq!(split("A=1 b").unwrap_err(), "`A=1` is no program: write `env A=1 b`");
    }

    #[test]
    fn what_is_not_finished_is_refused_and_says_what_is_missing() {
        for (line, reason) in [
            ("", "the command is empty"),
            ("  ", "the command is empty"),
            ("a 'b", "a single quote is not closed"),
            ("a \"b", "a double quote is not closed"),
            ("a \\", "it ends with a backslash"),
            ("a # b", "a comment cannot follow a command: put it on a line of its own"),
        ] {
            assert_eq!(split(line).unwrap_err(), reason, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_split_or_refused(line in "\\PC{0,80}") {
            split(&line).ok();
        }

        #[test]
        fn without_dollars_it_is_what_a_shell_would_pass(line in "[a-z '\"\\\\=-]{0,40}") {
            if let (Ok(ours), Ok(shells)) = (split(&line), shell_words::split(&line)) {
                prop_assert_eq!(ours.0, shells);
            }
        }

        #[test]
        fn quoted_words_come_back_as_they_were(words in prop::collection::vec("[^$]{0,12}", 1..5)) {
            let line = shell_words::join(["x"].into_iter().chain(words.iter().map(String::as_str)));
            prop_assert_eq!(&split(&line).unwrap().0[1..], words.as_slice());
        }
    }
}
