//! Words: one word per thing, and none that puts work off.

use super::Finding;
use super::tree::Tree;

/// A synonym of a word of the glossary, in small letters; where a path begins with one of the places, or anywhere.
struct Synonym {
    words: &'static [&'static str],
    unless_before: &'static [&'static str],
    instead: &'static str,
    places: &'static [&'static str],
}

const fn synonym(words: &'static [&'static str], instead: &'static str) -> Synonym {
    Synonym { words, unless_before: &[], instead, places: &[] }
}

const SYNONYMS: [Synonym; 19] = [
    Synonym { places: &["ployer-core/src/proxy", "ployer-core/src/model"], ..synonym(&["backend"], "upstream") },
    Synonym { places: &["ployer-core/src/proxy", "ployer-core/src/model"], ..synonym(&["backends"], "upstreams") },
    synonym(&["web", "instance"], "replica"),
    synonym(&["app", "instance"], "replica"),
    synonym(&["application", "instance"], "replica"),
    synonym(&["container", "instance"], "replica"),
    Synonym {
        places: &["ployer-core/src/runtime", "ployer-core/src/engine/decide"],
        ..synonym(&["instances"], "replicas")
    },
    Synonym { unless_before: &["name", "names"], ..synonym(&["an", "app"], "an application") },
    Synonym { unless_before: &["name", "names"], ..synonym(&["the", "app"], "the application") },
    Synonym { unless_before: &["name", "names"], ..synonym(&["each", "app"], "each application") },
    Synonym { unless_before: &["name", "names"], ..synonym(&["every", "app"], "every application") },
    Synonym { unless_before: &["name", "names"], ..synonym(&["your", "app"], "your application") },
    Synonym { unless_before: &["key", "keys"], ..synonym(&["a", "deploy"], "a deployment") },
    Synonym { unless_before: &["key", "keys"], ..synonym(&["each", "deploy"], "each deployment") },
    Synonym { unless_before: &["key", "keys"], ..synonym(&["every", "deploy"], "every deployment") },
    synonym(&["redeploys"], "redeployments"),
    synonym(&["dyno"], "replica"),
    synonym(&["pods"], "replicas"),
    synonym(&["health", "probe"], "health check"),
];

/// Words that put work off; put together here so that this file does not find itself.
const PUT_OFF: [&str; 5] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ig", "nore"), concat!("HA", "CK:")];

/// One word per thing in code, comments and messages.
pub fn things_are_called_by_one_word(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("ployer-")) {
        for (number, line) in file.text.lines().enumerate() {
            let words = words(line);
            for synonym in SYNONYMS.iter().filter(|synonym| synonym.holds_in(&file.path) && synonym.is_in(&words)) {
                let message = format!("`{}` is called {} here", synonym.words.join(" "), synonym.instead);
                findings.push(Finding::of_line(&file.path, number + 1, message));
            }
        }
    }
    findings
}

/// What is in the tree is finished.
pub fn nothing_is_put_off(tree: &Tree) -> Vec<Finding> {
    let written =
        |path: &str| [".rs", ".toml", ".sh", ".md", ".py", ".c", ".h", ".sql"].iter().any(|end| path.ends_with(end));
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| written(&file.path) || file.path == ".ci/run") {
        for (number, line) in file.text.lines().enumerate() {
            for word in PUT_OFF.iter().filter(|word| line.contains(**word)) {
                findings.push(Finding::of_line(&file.path, number + 1, format!("`{word}` puts off what is not done")));
            }
        }
    }
    findings
}

impl Synonym {
    fn holds_in(&self, path: &str) -> bool {
        self.places.is_empty() || self.places.iter().any(|place| path.starts_with(place))
    }

    fn is_in(&self, words: &[String]) -> bool {
        let length = self.words.len();
        words.windows(length).enumerate().any(|(at, found)| {
            let follows = words.get(at + length).map(String::as_str).unwrap_or_default();
            found == self.words && !self.unless_before.contains(&follows)
        })
    }
}

/// The words of a line in small letters; `snake_case` and `CamelCase` are several.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in line.chars().chain([' ']) {
        if !c.is_alphabetic() || c.is_uppercase() && word.ends_with(char::is_lowercase) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word).to_lowercase()));
        }
        if c.is_alphabetic() {
            word.push(c);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, line: &str) -> usize {
        things_are_called_by_one_word(&Tree::of(&[(path, line)])).len()
    }

    #[test]
    fn a_synonym_of_the_glossary_is_found_in_any_spelling() {
        for line in
            ["// starts a deploy of it", "fn web_instance() {}", "struct AppInstance;", "\"stop the app first\""]
        {
            assert_eq!(found("ployer-core/src/facade/a.rs", line), 1, "{line}");
        }
        assert_eq!(found("ployer-core/src/proxy/a.rs", "let backend = 1;"), 1);
    }

    #[test]
    fn words_of_the_glossary_and_of_other_trades_are_fine() {
        for line in ["// a deploy key", "to deploy an application", "InstanceId", "the AppName", "a storage backend"] {
            assert_eq!(found("ployer-core/src/store/a.rs", line), 0, "{line}");
        }
    }

    #[test]
    fn what_puts_work_off_is_found_in_every_kind_of_file() {
        let later = format!("{} later\n", PUT_OFF[0]);
        for path in ["a.rs", ".ci/run", "b/README.md", "x.toml"] {
            assert_eq!(nothing_is_put_off(&Tree::of(&[(path, &later)])).len(), 1, "{path}");
        }
        let skipped = format!("{}]\nfn a() {{}}", PUT_OFF[3]);
        assert_eq!(nothing_is_put_off(&Tree::of(&[("a.rs", &skipped)])).len(), 1);
        assert!(nothing_is_put_off(&Tree::of(&[("a.rs", "//! Ignored: nothing.")])).is_empty());
    }
}
