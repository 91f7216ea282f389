//! The seal: a replica's environment on disk, so that it can be started again after a restart of this program
//! without its secrets lying there in clear.

use std::collections::BTreeMap;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::model::{EnvKey, ReplicaName, Secret};

const NONCE_BYTES: usize = 12;

/// Seals and opens environments.
pub(super) struct Seal(Aes256Gcm);

impl Seal {
    /// A seal of its own, derived from `key`: what is sealed here opens nothing elsewhere.
    pub(super) fn new(key: &Secret) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"ployer process runtime: environments\0");
        hash.update(key.expose());
        let derived = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
        Self(Aes256Gcm::new(&Key::<Aes256Gcm>::from(*derived)))
    }

    /// Seals the environment of `name`.
    pub(super) fn close(
        &self,
        clock: &dyn Clock,
        name: &ReplicaName,
        env: &BTreeMap<EnvKey, Secret>,
    ) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        clock.random(&mut nonce)?;
        let payload = Zeroizing::new(encode(env));
        let sealed = self
            .0
            .encrypt(&Nonce::from(nonce), Payload { msg: &payload, aad: name.as_str().as_bytes() })
            .map_err(|_| Error::failed(format!("the environment of `{name}` cannot be sealed")))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for `name`.
    pub(super) fn open(&self, name: &ReplicaName, sealed: &[u8]) -> Result<BTreeMap<EnvKey, Secret>> {
        let unreadable = || {
            Error::failed(format!("the environment of `{name}` cannot be opened: another key sealed it"))
                .with_hint("start with the key file of this data directory, or deploy the application again")
        };
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(unreadable)?;
        let payload = Payload { msg: sealed, aad: name.as_str().as_bytes() };
        let clear = self.0.decrypt(&Nonce::from(*nonce), payload).map_err(|_| unreadable())?;
        decode(&Zeroizing::new(clear)).ok_or_else(unreadable)
    }
}

/// As in an environment block: `NAME=value` and a zero byte; a value cannot hold one.
fn encode(env: &BTreeMap<EnvKey, Secret>) -> Vec<u8> {
    let mut block = Vec::new();
    for (key, value) in env {
        block.extend_from_slice(key.as_str().as_bytes());
        block.push(b'=');
        block.extend_from_slice(value.expose());
        block.push(0);
    }
    block
}

fn decode(block: &[u8]) -> Option<BTreeMap<EnvKey, Secret>> {
    let entries = block.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let key = std::str::from_utf8(&entry[..at]).ok()?.parse().ok()?;
            Some((key, Secret::from(entry[at + 1..].to_vec())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn env() -> BTreeMap<EnvKey, Secret> {
        [("A", "plain"), ("B", "with = and\nnewline"), ("C", "")]
            .map(|(key, value)| (key.parse().unwrap(), Secret::from(value)))
            .into()
    }

    #[test]
    fn a_sealed_environment_opens_unchanged_and_shows_no_value() {
        let seal = Seal::new(&Secret::from("key"));
        let name: ReplicaName = "shop-1".parse().unwrap();

        let sealed = seal.close(&SystemClock, &name, &env()).unwrap();

        assert_eq!(seal.open(&name, &sealed).unwrap(), env());
        assert!(!sealed.windows(5).any(|part| part == b"plain"));
    }

    #[test]
    fn an_environment_opens_neither_for_another_name_nor_with_another_key() {
        let seal = Seal::new(&Secret::from("key"));
        let name: ReplicaName = "shop-1".parse().unwrap();

        let sealed = seal.close(&SystemClock, &name, &env()).unwrap();

        assert!(seal.open(&"shop-2".parse().unwrap(), &sealed).is_err());
        assert!(Seal::new(&Secret::from("other")).open(&name, &sealed).is_err());
        assert!(seal.open(&name, &sealed[..5]).is_err());
    }
}
