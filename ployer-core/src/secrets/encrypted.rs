//! Encrypted secrets: AES-256-GCM over a store, one random nonce a value.
//!
//! A value is bound to its scope, key and version as associated data: a row that was moved or changed in the database
//! cannot be decrypted, and what cannot be decrypted is an error, never an empty value. What identifies the master key
//! is stored with the first value, so that a wrong key is said at the start.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use async_trait::async_trait;

use super::SecretStore;
pub use super::keyring::MasterKey;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{Actor, Installation, Key, SealedSecret, Secret, SecretScope, SecretVersion, Version};
use crate::store::{Commit, Store};

/// The largest value.
const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a nonce, which stands before the ciphertext.
const NONCE_BYTES: usize = 12;

/// How often the key's identifier is tried to be stored while others write the same row.
const ATTEMPTS: usize = 8;

/// A secret store that keeps its values, encrypted, in a [`Store`].
pub struct EncryptedSecrets {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    cipher: Aes256Gcm,
    key_id: String,
    /// Whether the installation is known to name our key.
    is_key_recorded: AtomicBool,
}

impl fmt::Debug for EncryptedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedSecrets").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl EncryptedSecrets {
    /// Secrets in `store`, encrypted with `key`.
    ///
    /// # Errors
    ///
    /// `Conflict` if the secrets in the store are encrypted with another key; both are named by their identifiers.
    pub async fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>, key: MasterKey) -> Result<Self> {
        let secrets = Self {
            store,
            clock,
            cipher: Aes256Gcm::new(key.bytes().into()),
            key_id: key.id().to_owned(),
            is_key_recorded: AtomicBool::new(false),
        };
        if let Some(recorded) = secrets.store.installation().await?.and_then(|row| row.secret_key_id) {
            secrets.check_key(&recorded)?;
            secrets.is_key_recorded.store(true, Ordering::Relaxed);
        }
        Ok(secrets)
    }

    /// Stores one more change of the installation with the first value: which key it is encrypted with.
    async fn with_key_recorded(&self, commit: Commit) -> Result<Commit> {
        if self.is_key_recorded.load(Ordering::Relaxed) {
            return Ok(commit);
        }
        let installation = self
            .store
            .installation()
            .await?
            .ok_or_else(|| Error::conflict("secrets cannot be stored before the installation has its identity"))?;
        match &installation.secret_key_id {
            Some(recorded) => self.check_key(recorded).map(|()| commit),
            None => Ok(commit.update(Installation { secret_key_id: Some(self.key_id.clone()), ..installation })),
        }
    }

    fn check_key(&self, used: &str) -> Result<()> {
        if used == self.key_id {
            return Ok(());
        }
        let message = format!("secrets are encrypted with key {used}, but the master key is {}", self.key_id);
        Err(Error::conflict(message).with_hint("bring back the key file that belongs to this database"))
    }

    fn seal(&self, scope: SecretScope, key: &str, version: SecretVersion, value: &Secret) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        self.clock.random(&mut nonce)?;
        let payload = Payload { msg: value.expose(), aad: &associated(scope, key, version) };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        let sealed =
            sealed.map_err(|error| Error::internal(format!("secret `{version}` cannot be encrypted"), error))?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn unseal(&self, row: &SealedSecret) -> Result<Secret> {
        let broken = || {
            Error::new(ErrorKind::Internal, format!("secret `{}` (`{}`) cannot be decrypted", row.id, row.key))
                .with_hint("its row was damaged or changed: set the value anew, or restore a copy of the database")
        };
        self.check_key(&row.key_id).map_err(|wrong| broken().with_source(wrong))?;
        let (nonce, sealed) = row.sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(broken)?;
        let payload = Payload { msg: sealed, aad: &associated(row.scope, &row.key, row.id) };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).map(Secret::from).map_err(|_| broken())
    }
}

#[async_trait]
impl SecretStore for EncryptedSecrets {
    async fn put(&self, scope: SecretScope, key: &str, value: &Secret) -> Result<SecretVersion> {
        if value.expose().len() > VALUE_BYTES_MAX {
            return Err(Error::invalid("value", "it is larger than 1 MiB"));
        }
        let id = SecretVersion::new(&*self.clock);
        let secret = SealedSecret {
            id,
            version: Version::NEW,
            scope,
            key: key.to_owned(),
            key_id: self.key_id.clone(),
            sealed: self.seal(scope, key, id, value)?,
            created_at: self.clock.now(),
        };
        for _ in 0..ATTEMPTS {
            let commit = Commit::new(Actor::System, secret.created_at).insert(secret.clone());
            match self.store.commit(self.with_key_recorded(commit).await?).await {
                // Somebody else has written the installation meanwhile.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.is_key_recorded.store(true, Ordering::Relaxed);
                    return Ok(id);
                }
            }
        }
        Err(Error::lost(Resource::Installation, "secret_key_id"))
    }

    async fn get(&self, version: SecretVersion) -> Result<Secret> {
        match self.store.sealed_secret(version).await? {
            Some(row) => self.unseal(&row),
            None => Err(Error::not_found(Resource::Secret, version)),
        }
    }

    async fn purge(&self, version: SecretVersion) -> Result<()> {
        let Some(row) = self.store.sealed_secret(version).await? else { return Ok(()) };
        let deletion = Commit::new(Actor::System, self.clock.now()).delete(Key::Secret(version), row.version);
        match self.store.commit(deletion).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What a value is bound to. Everything before the key has a fixed length, so no two of them are the same bytes.
fn associated(scope: SecretScope, key: &str, version: SecretVersion) -> Vec<u8> {
    let (tag, owner) = match scope {
        SecretScope::Installation => (0, [0; 16]),
        SecretScope::Application(id) => (1, *id.as_uuid().as_bytes()),
    };
    [b"ployer secret 1", &[tag][..], &owner, version.as_uuid().as_bytes(), key.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::SystemClock;
    use crate::model::{Application, ApplicationId, InstanceId, NewApplication, RuntimeKind, Server, ServerId};
    use crate::store::memory::MemoryStore;
    use crate::testing::secrets::{Harm, Reach, SecretsHarness};

    struct InMemory {
        store: Arc<dyn Store>,
        secrets: Arc<EncryptedSecrets>,
        application: ApplicationId,
    }

    fn key(byte: u8) -> MasterKey {
        MasterKey::from_bytes([byte; 32])
    }

    async fn open(store: &Arc<dyn Store>, key: MasterKey) -> Result<EncryptedSecrets> {
        EncryptedSecrets::open(store.clone(), Arc::new(SystemClock), key).await
    }

    fn commit() -> Commit {
        Commit::new(Actor::System, SystemClock.now())
    }

    impl InMemory {
        async fn sealed(&self, version: SecretVersion) -> SealedSecret {
            self.store.sealed_secret(version).await.unwrap().unwrap()
        }

        /// Replaces what is kept of a version, behind the back of the secret store.
        async fn replace(&self, row: SealedSecret, sealed: Vec<u8>) {
            let forged = SealedSecret { sealed, version: Version::NEW, ..row.clone() };
            self.store.commit(commit().delete(Key::Secret(row.id), row.version).insert(forged)).await.unwrap();
        }
    }

    #[async_trait]
    impl SecretsHarness for InMemory {
        async fn fresh() -> Self {
            let (clock, now) = (SystemClock, SystemClock.now());
            let server = Server::local(ServerId::new(&clock), "local".parse().unwrap(), RuntimeKind::Process, now);
            let new = NewApplication::new("shop".parse().unwrap());
            let application = Application::new(ApplicationId::new(&clock), new, server.id, None, now);
            let installation =
                Installation { version: Version::NEW, instance: InstanceId::new(&clock), secret_key_id: None };
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let records = commit().insert(server).insert(application.clone()).insert(installation);
            store.commit(records).await.unwrap();
            Self { secrets: Arc::new(open(&store, key(1)).await.unwrap()), store, application: application.id }
        }

        fn secrets(&self) -> Arc<dyn SecretStore> {
            self.secrets.clone()
        }

        async fn reopen(self) -> Self {
            Self { secrets: Arc::new(open(&self.store, key(1)).await.unwrap()), ..self }
        }

        async fn application(&self) -> ApplicationId {
            self.application
        }

        async fn tamper(&self, harm: Harm) -> Reach {
            match harm {
                Harm::Swap(one, two) => {
                    let (one, two) = (self.sealed(one).await, self.sealed(two).await);
                    self.replace(one.clone(), two.sealed.clone()).await;
                    self.replace(two, one.sealed).await;
                }
                Harm::Flip(version, place) => {
                    let row = self.sealed(version).await;
                    let mut sealed = row.sealed.clone();
                    let place = place % sealed.len();
                    sealed[place] ^= 1;
                    self.replace(row, sealed).await;
                }
                Harm::Cut(version, length) => {
                    let row = self.sealed(version).await;
                    let sealed = row.sealed[..length].to_vec();
                    self.replace(row, sealed).await;
                }
            }
            Reach::Done
        }
    }

    crate::testing::secrets_suite!(InMemory);

    #[tokio::test]
    async fn a_wrong_key_is_said_at_the_start_and_both_are_named() {
        let harness = InMemory::fresh().await;
        harness.secrets.put(SecretScope::Installation, "TOKEN", &Secret::from("value")).await.unwrap();

        let error = open(&harness.store, key(2)).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Conflict);
        for id in [key(1).id(), key(2).id()] {
            assert!(error.to_string().contains(id), "{error}");
        }
        assert!(error.hint().is_some());
    }

    #[tokio::test]
    async fn of_two_keys_that_were_opened_together_the_second_stores_nothing() {
        let harness = InMemory::fresh().await;
        let second = open(&harness.store, key(2)).await.unwrap();
        harness.secrets.put(SecretScope::Installation, "TOKEN", &Secret::from("value")).await.unwrap();

        let error = second.put(SecretScope::Installation, "TOKEN", &Secret::from("value")).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(key(1).id()), "{error}");
    }

    #[tokio::test]
    async fn the_key_is_recorded_with_the_first_value_and_not_before() {
        let harness = InMemory::fresh().await;
        let recorded = async || harness.store.installation().await.unwrap().unwrap().secret_key_id;
        assert_eq!(recorded().await, None);

        harness.secrets.put(SecretScope::Installation, "TOKEN", &Secret::from("value")).await.unwrap();

        assert_eq!(recorded().await.as_deref(), Some(key(1).id()));
    }

    #[tokio::test]
    async fn equal_values_are_sealed_differently_and_never_in_clear() {
        let harness = InMemory::fresh().await;
        let value = Secret::from("hunter22hunter22");
        let one = harness.secrets.put(SecretScope::Installation, "TOKEN", &value).await.unwrap();
        let two = harness.secrets.put(SecretScope::Installation, "TOKEN", &value).await.unwrap();

        let (one, two) = (harness.sealed(one).await.sealed, harness.sealed(two).await.sealed);

        assert_ne!(one, two);
        assert!(!one.windows(8).any(|bytes| b"hunter22".starts_with(bytes)));
        assert_eq!(one.len(), NONCE_BYTES + 16 + 16, "nonce, value, tag");
    }

    #[tokio::test]
    async fn a_row_of_another_key_is_an_error_that_names_both() {
        let harness = InMemory::fresh().await;
        let version = harness.secrets.put(SecretScope::Installation, "TOKEN", &Secret::from("value")).await.unwrap();
        let row = harness.sealed(version).await;
        let forged = SealedSecret { key_id: key(2).id().to_owned(), version: Version::NEW, ..row.clone() };
        harness.store.commit(commit().delete(Key::Secret(version), row.version).insert(forged)).await.unwrap();

        let error = harness.secrets.get(version).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.chain().contains(key(2).id()) && error.chain().contains(key(1).id()), "{}", error.chain());
    }

    #[tokio::test]
    async fn no_secret_is_stored_before_the_installation_is() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let secrets = open(&store, key(1)).await.unwrap();

        let error = secrets.put(SecretScope::Installation, "TOKEN", &Secret::from("value")).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    fn any_scope() -> impl Strategy<Value = SecretScope> {
        let of = |id: u128| SecretScope::Application(uuid::Uuid::from_u128(id).into());
        prop_oneof![Just(SecretScope::Installation), (0..3u128).prop_map(of)]
    }

    fn any_version() -> impl Strategy<Value = SecretVersion> {
        (0..3u128).prop_map(|id| uuid::Uuid::from_u128(id).into())
    }

    proptest! {
        #[test]
        fn different_names_of_a_value_are_never_the_same_bytes(
            one in (any_scope(), "[\\x00\\x01a]{0,3}", any_version()),
            two in (any_scope(), "[\\x00\\x01a]{0,3}", any_version()),
        ) {
            let bytes = |(scope, key, version): &(_, String, _)| associated(*scope, key, *version);
            prop_assert_eq!(one == two, bytes(&one) == bytes(&two));
        }
    }
}
