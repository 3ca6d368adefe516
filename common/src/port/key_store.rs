//! API keys: who may ask over HTTP, and for what.
//!
//! A key's text is `rk_{id}_{secret}`. The store knows the id, which may be shown, and the SHA-256 of the secret: 256 random
//! bits need no slow hash, and whoever reads the store cannot ask with what is in it.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use super::job_store::StoreResult;
use crate::clock::Timestamp;
use crate::job::digest::ContentDigest;

/// Longest name of a key, characters.
pub const KEY_NAME_CHARS_MAX: usize = 64;
/// Most good keys that a store takes.
pub const KEYS_MAX: usize = 10_000;
/// Revoked keys that are remembered, so that people see what became of them.
pub const REVOKED_MAX: usize = 1000;

/// What a key lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// See jobs, results, the queue and the workers.
    Read,
    /// Submit jobs, cancel them, try them again.
    Submit,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope, the smallest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Submit, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }

    /// The scope of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// The part of a key that may be shown: 12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// Text that is no key's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a key: 12 hexadecimal digits")]
pub struct KeyIdError;

impl KeyId {
    /// The id of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 6]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let right = text.len() == 12 && text.bytes().all(legal);
        if right { Ok(Self(text.to_owned())) } else { Err(KeyIdError) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key as it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Names it.
    pub id: KeyId,
    /// Says to people what it is for; at most [`KEY_NAME_CHARS_MAX`] characters.
    pub name: String,
    /// Digest of its secret.
    pub sha256: ContentDigest,
    /// What it is good for.
    pub scopes: Vec<Scope>,
}

impl NewKey {
    /// Whether it lets its holder do this.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|own| *own == scope || *own == Scope::Admin)
    }
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The key.
    pub key: NewKey,
    /// When it was made, by the store's clock.
    pub created_at: Timestamp,
    /// Since when it is good for nothing.
    pub revoked_at: Option<Timestamp>,
}

/// Keeps keys. Every step is atomic and may be repeated.
pub trait KeyStore: Clone + Send + Sync + 'static {
    /// Keeps a key. Repeated with the same id it changes nothing.
    fn create_key(&self, key: NewKey) -> impl Future<Output = StoreResult<()>> + Send;

    /// The key of that id, also when it is revoked.
    fn find_key(&self, id: &KeyId) -> impl Future<Output = StoreResult<Option<ApiKey>>> + Send;

    /// Every key, the oldest first.
    fn keys(&self) -> impl Future<Output = StoreResult<Vec<ApiKey>>> + Send;

    /// Makes a key good for nothing. Of those, the last [`REVOKED_MAX`] are remembered. `false` when it was so before, `None` when there is none.
    fn revoke_key(&self, id: &KeyId) -> impl Future<Output = StoreResult<Option<bool>>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_scopes_survive_text() {
        let id = KeyId::new([0, 1, 2, 0xab, 0xcd, 0xef]);
        assert_eq!(id.as_str(), "000102abcdef");
        assert_eq!("000102abcdef".parse(), Ok(id));
        for text in ["", "000102abcde", "000102abcdef0", "000102ABCDEF", "000102abcde/"] {
            assert_eq!(text.parse::<KeyId>(), Err(KeyIdError), "{text}");
        }
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("root"), None);
    }

    #[test]
    fn admin_is_good_for_everything() {
        let key = |scopes: &[Scope]| NewKey {
            id: KeyId::new([0; 6]),
            name: String::new(),
            sha256: ContentDigest::of(b""),
            scopes: scopes.to_vec(),
        };
        assert!(Scope::ALL.into_iter().all(|scope| key(&[Scope::Admin]).allows(scope)));
        assert!(key(&[Scope::Read]).allows(Scope::Read) && !key(&[Scope::Read]).allows(Scope::Submit));
        assert!(!key(&[]).allows(Scope::Read));
    }
}
