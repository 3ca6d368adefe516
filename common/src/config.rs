//! `rollcall.toml`: the settings of section 2 of the contract in a file.
//!
//! Invariant: a flag beats the environment, which beats the file, which beats the default; a key that nobody knows is an
//! error, so that a misspelt setting cannot be ignored.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Environment variable that names the file where `--config` does not.
pub const VARIABLE: &str = "ROLLCALL_CONFIG";
/// Largest file that is read, bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The file's keys, named like the environment variables without `ROLLCALL_`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Job records, leases, outbox.
    pub redis_url: Option<String>,
    /// Delivery.
    pub queue_url: Option<String>,
    /// Audio and results.
    pub store_url: Option<String>,
    /// The model bundle.
    pub bundle: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: Option<String>,
    /// Bundles, ONNX Runtime, caches.
    pub home: Option<PathBuf>,
    /// Log filter.
    pub log: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<String>,
    /// Minisign public keys whose signatures on bundles are believed.
    pub bundle_keys: Option<Vec<String>>,
    /// Whether bundles have to be signed by one of them.
    pub require_signature: Option<bool>,
    /// Prefixes outside the store that jobs may name.
    pub allow: Option<Vec<String>>,
    /// Signs webhooks.
    pub webhook_secret: Option<String>,
}

/// Why a settings file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read the settings: {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or has keys or values that do not exist.
    #[error("the settings are not usable: {}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        source: Box<toml::de::Error>,
    },
}

impl Settings {
    /// The settings of a file; none without a file.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn read(path: Option<&Path>) -> Result<Self, SettingsError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| SettingsError::Malformed { path: path.to_owned(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("rollcall.toml");
        std::fs::write(&path, text).expect("a written file");
        Settings::read(Some(&path))
    }

    #[test]
    fn known_keys_are_read_and_unknown_ones_refused() {
        let settings = read("bundle = \"starter@1.0.0\"\ndevice = \"cpu\"\n").expect("known keys");
        assert_eq!(settings.bundle.as_deref(), Some("starter@1.0.0"));
        assert_eq!(settings.device.as_deref(), Some("cpu"));
        assert_eq!(settings.home, None);
        assert!(matches!(read("bundel = \"x\""), Err(SettingsError::Malformed { .. })));
        assert!(matches!(read("device = 3"), Err(SettingsError::Malformed { .. })));
    }

    #[test]
    fn no_file_is_fine_and_a_missing_one_is_not() {
        assert_eq!(Settings::read(None).ok(), Some(Settings::default()));
        let missing = Settings::read(Some(Path::new("/nonexistent/rollcall.toml")));
        assert!(matches!(missing, Err(SettingsError::Unreadable { .. })));
    }
}
