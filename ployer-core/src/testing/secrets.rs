//! The secret store's suite: each promise of [`SecretStore`] as tests of their own.
//!
//! An implementation brings a [`SecretsHarness`] and calls [`secrets_suite!`](crate::secrets_suite) in a test module;
//! its crate needs tokio with `macros` and `rt-multi-thread`.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::ErrorKind;
use crate::model::{ApplicationId, Secret, SecretScope, SecretVersion};
use crate::secrets::SecretStore;

/// How the suite comes by secret stores.
#[async_trait]
pub trait SecretsHarness: Send + Sized + 'static {
    /// A harness around an empty secret store that no other test sees.
    async fn fresh() -> Self;

    /// The secret store.
    fn secrets(&self) -> Arc<dyn SecretStore>;

    /// The same values opened again.
    async fn reopen(self) -> Self;

    /// An application whose secrets may be stored.
    async fn application(&self) -> ApplicationId;

    /// Does harm to what is kept, behind the back of the secret store.
    async fn tamper(&self, harm: Harm) -> Reach;
}

/// Harm that somebody does who can write where the values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Harm {
    /// What is kept of two versions changes places.
    Swap(SecretVersion, SecretVersion),
    /// One bit is changed: of the byte at this place, modulo the length.
    Flip(SecretVersion, usize),
    /// Only so many bytes are left.
    Cut(SecretVersion, usize),
}

/// Whether a harness can reach what is kept. Where it cannot (a service elsewhere), there is no harm to prove against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The harm is done.
    Done,
    /// It cannot be done.
    OutOfReach,
}

/// Makes each case of the suite a test, in a module named after its promise.
#[macro_export]
macro_rules! secrets_suite {
    ($harness:ty) => {
        $crate::secrets_suite! { $harness;
            immutable:
                a_new_value_of_a_key_is_another_version,
                a_version_answers_the_same_after_opening_again;
            faithful:
                any_bytes_come_back_as_they_were_put,
                an_empty_value_comes_back_empty,
                a_value_of_one_mebibyte_comes_back_and_a_larger_one_is_refused,
                values_that_are_put_at_once_do_not_mix;
            bound:
                values_that_changed_places_are_not_answered,
                values_of_two_scopes_that_changed_places_are_not_answered;
            gone:
                a_purged_version_is_not_found,
                purging_again_or_what_never_was_is_no_error;
            never_empty_for_broken:
                a_value_with_a_changed_bit_is_an_error,
                a_value_that_was_cut_is_an_error;
        }
    };
    ($harness:ty; $($promise:ident: $($case:ident),+;)+) => {$(
        mod $promise {
            #[allow(unused_imports, reason = "the harness may be named by a path of its own")]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let harness = <$harness as $crate::testing::secrets::SecretsHarness>::fresh().await;
                    $crate::testing::secrets::$promise::$case(harness).await;
                }
            )+
        }
    )+};
}

/// The application's scope.
async fn scope(harness: &impl SecretsHarness) -> SecretScope {
    SecretScope::Application(harness.application().await)
}

async fn answered(secrets: &dyn SecretStore, version: SecretVersion) -> Vec<u8> {
    secrets.get(version).await.unwrap().expose().to_vec()
}

/// Immutable: what a version answers never changes.
pub mod immutable {
    use super::*;

    /// A release keeps its value when a variable gets a new one.
    pub async fn a_new_value_of_a_key_is_another_version(harness: impl SecretsHarness) {
        let (secrets, scope) = (harness.secrets(), scope(&harness).await);

        let old = secrets.put(scope, "TOKEN", &Secret::from("old")).await.unwrap();
        let new = secrets.put(scope, "TOKEN", &Secret::from("new")).await.unwrap();
        let same = secrets.put(scope, "TOKEN", &Secret::from("new")).await.unwrap();

        assert!(old != new && new != same);
        assert_eq!(answered(&*secrets, old).await, b"old");
        assert_eq!(answered(&*secrets, new).await, b"new");
        assert_eq!(answered(&*secrets, same).await, b"new");
    }

    /// Also another process finds it.
    pub async fn a_version_answers_the_same_after_opening_again(harness: impl SecretsHarness) {
        let version = harness.secrets().put(scope(&harness).await, "TOKEN", &Secret::from("kept")).await.unwrap();

        let harness = harness.reopen().await;

        assert_eq!(answered(&*harness.secrets(), version).await, b"kept");
        let next = harness.secrets().put(scope(&harness).await, "TOKEN", &Secret::from("next")).await.unwrap();
        assert_eq!(answered(&*harness.secrets(), next).await, b"next");
    }
}

/// Faithful: any bytes come back as they were put, up to 1 MiB, also empty ones.
pub mod faithful {
    use tokio::task::JoinSet;

    use super::*;

    /// Of the installation and of an application, under keys of any text.
    pub async fn any_bytes_come_back_as_they_were_put(harness: impl SecretsHarness) {
        let secrets = harness.secrets();
        let value: Vec<u8> = (0..=255).rev().collect();

        for scope in [SecretScope::Installation, scope(&harness).await] {
            for key in ["TOKEN", "deploy key", "ä/✓'\""] {
                let version = secrets.put(scope, key, &Secret::from(value.clone())).await.unwrap();
                assert_eq!(answered(&*secrets, version).await, value, "{key}");
            }
        }
    }

    /// A variable may be set to nothing.
    pub async fn an_empty_value_comes_back_empty(harness: impl SecretsHarness) {
        let secrets = harness.secrets();

        let version = secrets.put(scope(&harness).await, "EMPTY", &Secret::from("")).await.unwrap();

        assert_eq!(answered(&*secrets, version).await, b"");
    }

    /// The bound is exact.
    pub async fn a_value_of_one_mebibyte_comes_back_and_a_larger_one_is_refused(harness: impl SecretsHarness) {
        let (secrets, scope) = (harness.secrets(), scope(&harness).await);
        let mut value = vec![b'x'; 1 << 20];

        let version = secrets.put(scope, "LARGE", &Secret::from(value.clone())).await.unwrap();
        assert_eq!(answered(&*secrets, version).await, value);

        value.push(b'x');
        let error = secrets.put(scope, "LARGE", &Secret::from(value)).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("value")));
    }

    /// Eight tasks, also with the very first values.
    pub async fn values_that_are_put_at_once_do_not_mix(harness: impl SecretsHarness) {
        let scope = scope(&harness).await;
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let secrets = harness.secrets();
            tasks.spawn(async move {
                let value = format!("value {task}");
                (secrets.put(scope, "TOKEN", &Secret::from(value.as_str())).await.unwrap(), value)
            });
        }

        for (version, value) in tasks.join_all().await {
            assert_eq!(answered(&*harness.secrets(), version).await, value.as_bytes());
        }
    }
}

/// Bound: a value answers only for the version it was put as, though the store be tampered with.
pub mod bound {
    use super::*;

    async fn are_not_answered(harness: &impl SecretsHarness, one: SecretVersion, two: SecretVersion) {
        if harness.tamper(Harm::Swap(one, two)).await == Reach::OutOfReach {
            return;
        }
        for version in [one, two] {
            assert_eq!(harness.secrets().get(version).await.unwrap_err().kind(), ErrorKind::Internal);
        }
    }

    /// A variable does not get the value of another, nor an old one back.
    pub async fn values_that_changed_places_are_not_answered(harness: impl SecretsHarness) {
        let (secrets, scope) = (harness.secrets(), scope(&harness).await);
        let old = secrets.put(scope, "TOKEN", &Secret::from("old")).await.unwrap();
        let new = secrets.put(scope, "TOKEN", &Secret::from("new")).await.unwrap();

        are_not_answered(&harness, old, new).await;
    }

    /// An application does not get what is the installation's.
    pub async fn values_of_two_scopes_that_changed_places_are_not_answered(harness: impl SecretsHarness) {
        let secrets = harness.secrets();
        let own = secrets.put(scope(&harness).await, "TOKEN", &Secret::from("one")).await.unwrap();
        let global = secrets.put(SecretScope::Installation, "TOKEN", &Secret::from("two")).await.unwrap();

        are_not_answered(&harness, own, global).await;
    }
}

/// Gone: a purged version is `NotFound`, purging it again is no error.
pub mod gone {
    use super::*;
    use crate::clock::SystemClock;

    /// And the others stay.
    pub async fn a_purged_version_is_not_found(harness: impl SecretsHarness) {
        let (secrets, scope) = (harness.secrets(), scope(&harness).await);
        let old = secrets.put(scope, "TOKEN", &Secret::from("old")).await.unwrap();
        let new = secrets.put(scope, "TOKEN", &Secret::from("new")).await.unwrap();

        secrets.purge(old).await.unwrap();

        let error = secrets.get(old).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&old.to_string()), "{error}");
        assert_eq!(answered(&*secrets, new).await, b"new");
    }

    /// Whoever collects need not know what an earlier try has done.
    pub async fn purging_again_or_what_never_was_is_no_error(harness: impl SecretsHarness) {
        let secrets = harness.secrets();
        let version = secrets.put(scope(&harness).await, "TOKEN", &Secret::from("old")).await.unwrap();
        let stranger = SecretVersion::new(&SystemClock);

        secrets.purge(version).await.unwrap();
        secrets.purge(version).await.unwrap();
        secrets.purge(stranger).await.unwrap();

        assert_eq!(secrets.get(stranger).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// Never empty for broken: a value that cannot be read is an error, never an empty value.
pub mod never_empty_for_broken {
    use super::*;

    async fn put(harness: &impl SecretsHarness, value: &str) -> SecretVersion {
        harness.secrets().put(scope(harness).await, "TOKEN", &Secret::from(value)).await.unwrap()
    }

    /// Wherever it is.
    pub async fn a_value_with_a_changed_bit_is_an_error(harness: impl SecretsHarness) {
        for place in 0..32 {
            let version = put(&harness, "four").await;
            if harness.tamper(Harm::Flip(version, place)).await == Reach::OutOfReach {
                return;
            }
            assert_eq!(harness.secrets().get(version).await.unwrap_err().kind(), ErrorKind::Internal, "{place}");
        }
    }

    /// Down to nothing at all, and also an empty value.
    pub async fn a_value_that_was_cut_is_an_error(harness: impl SecretsHarness) {
        for (value, left) in [("value", 0), ("value", 1), ("value", 12), ("value", 28), ("", 0), ("", 27)] {
            let version = put(&harness, value).await;
            if harness.tamper(Harm::Cut(version, left)).await == Reach::OutOfReach {
                return;
            }
            assert_eq!(harness.secrets().get(version).await.unwrap_err().kind(), ErrorKind::Internal, "{left}");
        }
    }
}
