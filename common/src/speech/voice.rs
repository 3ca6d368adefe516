//! Known voices: `speakers/{bundle}/{name}.json`, and the bounds on what it may say.
//!
//! Invariants: a name is safe as a file name and as part of a store's key; an embedding has unit length and finite numbers.
//! A voice belongs to the embedding network that made it: numbers of another one say nothing about it.

use serde::{Deserialize, Serialize};

use crate::job::digest::ContentDigest;
use crate::model::manifest::is_name;

/// The `schema` of documents this code reads and writes.
pub const SCHEMA: &str = "rollcall/voice/1";
/// Largest document that is read, bytes.
pub const BYTES_MAX: u64 = 1 << 20;
/// Longest name, bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// Longest embedding.
const DIMENSION_MAX: usize = 4096;
/// Most voices that are compared with one recording.
pub const VOICES_MAX: usize = 1000;
/// Most recordings that a voice is learnt from at once.
pub const RECORDINGS_MAX: usize = 16;

/// A voice that was learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voice {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Whose it is; see [`is_voice_name`].
    pub name: String,
    /// What heard it.
    pub bundle: HeardBy,
    /// Length of `embedding`.
    pub dimension: usize,
    /// What it sounds like; unit length.
    pub embedding: Vec<f32>,
    /// Clean speech it was learnt from, seconds.
    pub speech_s: f64,
    /// Recordings it was learnt from.
    pub recordings: usize,
    /// When, as text.
    pub created_at: String,
}

/// The voices that are known while a recording is worked on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VoiceSet {
    /// The voices, of whatever bundle.
    pub voices: Vec<Voice>,
    /// What names the set in the cache of results; `None` where it is empty or unnamed.
    pub digest: Option<ContentDigest>,
    /// Sentences about voices that could not be read, for the result.
    pub warnings: Vec<String>,
}

impl VoiceSet {
    /// Those that can be compared with embeddings of `embedding_sha256`.
    #[must_use]
    pub fn of(&self, embedding_sha256: &str) -> Vec<&Voice> {
        self.voices.iter().filter(|voice| voice.bundle.embedding_sha256 == embedding_sha256).collect()
    }
}

/// The bundle that a voice was learnt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeardBy {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its manifest, lower-case hex.
    pub sha256: String,
    /// SHA-256 of what makes its embeddings, networks and settings; voices of equal ones can be compared
    /// ([`crate::model::manifest::Manifest::embedding_sha256`]).
    pub embedding_sha256: String,
}

/// Why a document is no known voice.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// Not JSON of this shape.
    #[error("not the document of a voice")]
    Malformed(#[source] serde_json::Error),
    /// Another schema.
    #[error("a voice of schema `{found}`; this program reads `{SCHEMA}`")]
    Schema {
        /// What stands in the document.
        found: String,
    },
    /// A name that a voice may not have.
    #[error(
        "a voice's name has 1 to {NAME_BYTES_MAX} bytes: letters, digits, spaces, `.`, `-`, `_`, `'`, and begins and ends with a letter or digit"
    )]
    Name,
    /// A value outside its bounds.
    #[error("the voice's `{field}` is out of bounds")]
    OutOfBounds {
        /// Which.
        field: &'static str,
    },
}

/// Whether a voice may have this name: letters and digits of any script, spaces, `.`, `-`, `_` and `'`, at most
/// [`NAME_BYTES_MAX`] bytes, a letter or digit first and last. So it is neither hidden nor a path nor markup.
#[must_use]
pub fn is_voice_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_' | '\'');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(fits)
        && !name.contains("..")
        && name.starts_with(char::is_alphanumeric)
        && name.ends_with(char::is_alphanumeric)
}

impl Voice {
    /// Parses and checks a document.
    ///
    /// # Errors
    /// See [`VoiceError`].
    pub fn parse(json: &[u8]) -> Result<Self, VoiceError> {
        let voice: Self = serde_json::from_slice(json).map_err(VoiceError::Malformed)?;
        voice.check()?;
        Ok(voice)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), VoiceError> {
        if self.schema != SCHEMA {
            return Err(VoiceError::Schema { found: self.schema.chars().take(64).collect() });
        }
        if !is_voice_name(&self.name) {
            return Err(VoiceError::Name);
        }
        let square: f64 = self.embedding.iter().map(|v| f64::from(*v).powi(2)).sum();
        let is_digest =
            |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let bounds = [
            ("dimension", self.dimension == self.embedding.len() && self.dimension <= DIMENSION_MAX),
            // A number that is not finite fails too.
            ("embedding", (square - 1.0).abs() < 1e-3),
            ("speech_s", (0.0..1e7).contains(&self.speech_s)),
            ("recordings", (1..=RECORDINGS_MAX).contains(&self.recordings)),
            ("created_at", self.created_at.len() <= 40),
            ("bundle.name", is_name(&self.bundle.name)),
            ("bundle.embedding_sha256", is_digest(&self.bundle.embedding_sha256)),
        ];
        match bounds.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(VoiceError::OutOfBounds { field }),
            None => Ok(()),
        }
    }

    /// The document, with a final line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a voice holds only strings and finite numbers");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice() -> Voice {
        Voice {
            schema: SCHEMA.to_owned(),
            name: "Zoë O'Neil-Ørsted Jr.2".to_owned(),
            bundle: HeardBy {
                name: "starter".to_owned(),
                version: "1".to_owned(),
                sha256: "0".repeat(64),
                embedding_sha256: "a".repeat(64),
            },
            dimension: 2,
            embedding: vec![0.6, -0.8],
            speech_s: 12.5,
            recordings: 1,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn a_voice_survives_its_document() {
        assert_eq!(Voice::parse(voice().to_json().as_bytes()).unwrap(), voice());
        let unknown = voice().to_json().replacen("{\"schema\"", "{\"more\":1,\"schema\"", 1);
        assert!(matches!(Voice::parse(unknown.as_bytes()), Err(VoiceError::Malformed(_))));
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for good in ["a", "Ada Lovelace", "李雷", "José", "x.y", &"n".repeat(NAME_BYTES_MAX)] {
            assert!(is_voice_name(good), "{good}");
        }
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for bad in [
            "", ".", "..", "a/../b", "a..b", "/a", "a\\b", " a", "a ", "-a", "a\0", "a\n", "<b>", "a:b",
            "a%2f", &long,
        ] {
            assert!(!is_voice_name(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        let refused = |change: &dyn Fn(&mut Voice)| {
            let mut voice = voice();
            change(&mut voice);
            voice.check().is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|v| v.embedding = vec![0.6, 0.9]));
        assert!(refused(&|v| v.embedding[0] = f32::NAN));
        assert!(refused(&|v| v.dimension = 3));
        assert!(refused(&|v| (v.dimension, v.embedding) = (0, vec![])));
        assert!(refused(&|v| v.recordings = RECORDINGS_MAX + 1));
        assert!(refused(&|v| v.speech_s = f64::NAN));
        assert!(refused(&|v| v.bundle.embedding_sha256 = "A".repeat(64)));
        assert!(refused(&|v| v.bundle.name = "../x".into()));
        assert!(refused(&|v| v.name = "../x".into()));
        assert!(refused(&|v| v.schema = "rollcall/voice/2".into()));
    }
}
