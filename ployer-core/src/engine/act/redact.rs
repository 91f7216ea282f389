//! Redaction: secret values never reach a log, an event or an error, whoever printed them.

use crate::model::{Secret, SecretVersion};
use crate::secrets::SecretStore;

/// Values shorter than this are no secrets: they would black out ordinary words.
const BYTES_MIN: usize = 8;
/// What stands in the place of a value.
const MARK: &str = "[redacted]";

/// Knows secret values, and takes them out of text.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    /// Longest first, so that a value within another one leaves nothing of that behind.
    values: Vec<Secret>,
}

impl Redactor {
    /// Knows `values`; of those with several lines, each line.
    pub(super) fn new(values: impl IntoIterator<Item = Secret>) -> Self {
        let mut known: Vec<Secret> = values.into_iter().flat_map(|value| parts(&value)).collect();
        known.sort_by_key(|value| std::cmp::Reverse(value.expose().len()));
        Self { values: known }
    }

    /// Knows the values of these versions, as far as they can be read: nobody else can read the others either.
    pub(super) async fn of(store: &dyn SecretStore, versions: impl IntoIterator<Item = SecretVersion>) -> Self {
        let mut values = Vec::new();
        for version in versions {
            values.extend(store.get(version).await.ok());
        }
        Self::new(values)
    }

    /// `text` without any of the values.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in self.values.iter().filter_map(Secret::expose_str) {
            if text.contains(value) {
                text = text.replace(value, MARK);
            }
        }
        text
    }
}

/// A value and, where it has several lines, each of them: output comes line by line.
fn parts(value: &Secret) -> Vec<Secret> {
    let text = value.expose_str().unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| line.len() >= BYTES_MIN);
    let mut parts: Vec<Secret> = lines.map(Secret::from).collect();
    if text.len() >= BYTES_MIN && !text.contains('\n') {
        parts.push(Secret::from(text));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_out_wherever_it_stands() {
        let redactor = Redactor::new([Secret::from("hunter2hunter2")]);

        assert_eq!(redactor.redact("a=hunter2hunter2;b=hunter2hunter2"), "a=[redacted];b=[redacted]");
    }

    #[test]
    fn short_values_are_left_as_the_words_they_are() {
        let redactor = Redactor::new([Secret::from("web"), Secret::from("1234567")]);

        assert_eq!(redactor.redact("web listens on 1234567"), "web listens on 1234567");
    }

    #[test]
    fn each_line_of_a_key_is_taken_out() {
        let redactor = Redactor::new([Secret::from("-----BEGIN-----\nAAAABBBBCCCC\n-----END-----\n")]);

        assert_eq!(redactor.redact("key: AAAABBBBCCCC"), "key: [redacted]");
    }

    #[test]
    fn a_value_within_another_leaves_nothing_behind() {
        let redactor = Redactor::new([Secret::from("password"), Secret::from("password-of-the-database")]);

        assert_eq!(redactor.redact("password-of-the-database"), "[redacted]");
    }
}
