//! Signatures of manifests, in minisign's form. A manifest names the digest of every file, so what it says is all there
//! is to sign.

use std::path::Path;

use minisign_verify::{PublicKey, Signature};

/// Longest signature or key that is read, bytes.
pub const BYTES_MAX: u64 = 4 << 10;

/// Which signatures are believed, and whether one is demanded.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    keys: Vec<PublicKey>,
    required: bool,
}

/// Why a policy is none.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not a key.
    #[error("not a minisign public key, nor a file with one: `{text}`")]
    NotAKey {
        /// What was given, cut to 256 characters.
        text: String,
    },
    /// Signatures are demanded, and nobody is trusted.
    #[error("signatures are required, but no public key is known")]
    NoKeys,
}

/// How a manifest stands with the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Signed by a trusted key; the comment that was signed with it.
    Signed {
        /// Trusted comment.
        comment: String,
    },
    /// Not signed, and need not be.
    Unsigned,
    /// Signed, and no key is known to check it with.
    Unchecked,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none, and the policy demands one.
    #[error("the manifest is not signed, and a signature is required")]
    Missing,
    /// It is no signature.
    #[error("the signature of the manifest does not parse: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
    /// No trusted key made it, or not over these bytes.
    #[error("the signature of the manifest is not by a trusted key over this manifest")]
    Untrusted,
}

impl Policy {
    /// A policy of keys (base64, or paths of `.pub` files), and whether a signature is demanded.
    ///
    /// # Errors
    /// Any [`PolicyError`].
    pub fn new(keys: &[String], required: bool) -> Result<Self, PolicyError> {
        let keys = keys.iter().map(|text| key(text)).collect::<Result<Vec<_>, _>>()?;
        if required && keys.is_empty() {
            return Err(PolicyError::NoKeys);
        }
        Ok(Self { keys, required })
    }

    /// Judges a manifest by its signature.
    ///
    /// # Errors
    /// Any [`SignatureError`]. A signature that no known key made is refused even where none is demanded.
    pub fn check(&self, manifest: &[u8], signature: Option<&str>) -> Result<Standing, SignatureError> {
        let Some(text) = signature else {
            return if self.required { Err(SignatureError::Missing) } else { Ok(Standing::Unsigned) };
        };
        if self.keys.is_empty() {
            return Ok(Standing::Unchecked);
        }
        let signature = Signature::decode(text)
            .map_err(|error| SignatureError::Malformed { detail: error.to_string() })?;
        // Both of minisign's forms: over the content, and over its BLAKE2b digest.
        let trusted = self.keys.iter().any(|key| key.verify(manifest, &signature, true).is_ok());
        if trusted {
            Ok(Standing::Signed { comment: signature.trusted_comment().to_owned() })
        } else {
            Err(SignatureError::Untrusted)
        }
    }
}

fn key(text: &str) -> Result<PublicKey, PolicyError> {
    let text = text.trim();
    PublicKey::from_base64(text)
        .or_else(|_| PublicKey::from_file(Path::new(text)))
        .map_err(|_| PolicyError::NotAKey { text: text.chars().take(256).collect() })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;

    fn signed(pair: &KeyPair, content: &[u8]) -> String {
        minisign::sign(None, &pair.sk, Cursor::new(content), Some("by us"), None).unwrap().into_string()
    }

    #[test]
    fn only_trusted_signatures_over_these_bytes_pass() {
        let (ours, theirs) = (
            KeyPair::generate_unencrypted_keypair().unwrap(),
            KeyPair::generate_unencrypted_keypair().unwrap(),
        );
        let key = ours.pk.to_base64();
        let policy = Policy::new(&[theirs.pk.to_base64(), key.clone()], true).unwrap();
        let signature = signed(&ours, b"manifest");
        let comment = "by us".to_owned();
        assert_eq!(policy.check(b"manifest", Some(&signature)), Ok(Standing::Signed { comment }));
        assert_eq!(policy.check(b"manifesto", Some(&signature)), Err(SignatureError::Untrusted));
        assert_eq!(policy.check(b"manifest", None), Err(SignatureError::Missing));
        assert!(matches!(policy.check(b"manifest", Some("junk")), Err(SignatureError::Malformed { .. })));
        let only_theirs = Policy::new(&[theirs.pk.to_base64()], false).unwrap();
        assert_eq!(only_theirs.check(b"manifest", Some(&signature)), Err(SignatureError::Untrusted));
        assert_eq!(only_theirs.check(b"manifest", None), Ok(Standing::Unsigned));
        assert_eq!(Policy::default().check(b"manifest", Some(&signature)), Ok(Standing::Unchecked));
        let changed = signature.replace("by us", "by me");
        assert_eq!(
            policy.check(b"manifest", Some(&changed)),
            Err(SignatureError::Untrusted),
            "the comment too"
        );
    }

    #[test]
    fn keys_come_as_text_or_as_a_file() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pub");
        std::fs::write(&path, pair.pk.to_box().unwrap().into_string()).unwrap();
        assert!(Policy::new(&[path.to_string_lossy().into_owned()], true).is_ok());
        assert!(matches!(Policy::new(&["nonsense".to_owned()], false), Err(PolicyError::NotAKey { .. })));
        assert!(matches!(Policy::new(&[], true), Err(PolicyError::NoKeys)));
    }
}
