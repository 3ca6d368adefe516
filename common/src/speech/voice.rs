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
/// Most marks on one letter of a name; no spelling needs more, and towers of them cover the lines above and below.
const MARKS_MAX: usize = 4;
/// Marks on letters that the standard library does not count as letters: first and last code points. Unicode's general categories
/// Mn and Mc without the property Alphabetic, in scripts that names are written in; without invisible ones.
#[rustfmt::skip]
const MARKS: [(u32, u32); 53] = [
    (0x0300, 0x034E), (0x0350, 0x0362), (0x0483, 0x0487), (0x0591, 0x05AF), (0x0658, 0x0658), (0x0740, 0x074A),
    (0x0898, 0x08E1), (0x08EA, 0x0954), (0x09BC, 0x09BC), (0x09CD, 0x09CD), (0x09FE, 0x09FE), (0x0A3C, 0x0A3C),
    (0x0A4D, 0x0A4D), (0x0ABC, 0x0ABC), (0x0ACD, 0x0ACD), (0x0AFD, 0x0AFF), (0x0B3C, 0x0B3C), (0x0B4D, 0x0B4D),
    (0x0B55, 0x0B55), (0x0BCD, 0x0BCD), (0x0C3C, 0x0C3C), (0x0C4D, 0x0C4D), (0x0CBC, 0x0CBC), (0x0CCD, 0x0CCD),
    (0x0D3B, 0x0D3C), (0x0D4D, 0x0D4D), (0x0DCA, 0x0DCA), (0x0E47, 0x0E4E), (0x0EBA, 0x0EBA), (0x0EC8, 0x0ECC),
    (0x0F35, 0x0F35), (0x0F37, 0x0F37), (0x0F39, 0x0F39), (0x0F3E, 0x0F3F), (0x0F84, 0x0F84), (0x0F86, 0x0F87),
    (0x1037, 0x103A), (0x135D, 0x135F), (0x1714, 0x1715), (0x17C9, 0x17D3), (0x17DD, 0x17DD), (0x1A60, 0x1A7C),
    (0x1A7F, 0x1A7F), (0x1BAA, 0x1BF3), (0x1C37, 0x1C37), (0x1DC0, 0x1DFF), (0x3099, 0x309A), (0xA82C, 0xA82C),
    (0xA8E0, 0xA8F1), (0xA9B3, 0xA9C0), (0xAABF, 0xAAC1), (0xAAF6, 0xAAF6), (0xABEC, 0xABED),
];
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
        "a voice's name has 1 to {NAME_BYTES_MAX} bytes: letters with their marks, digits, spaces, `.`, `-`, `_`, `'`, and begins and ends with a letter or digit"
    )]
    Name,
    /// A value outside its bounds.
    #[error("the voice's `{field}` is out of bounds")]
    OutOfBounds {
        /// Which.
        field: &'static str,
    },
}

/// Whether a voice may have this name: letters and digits of any script with their marks, spaces, `.`, `-`, `_` and `'`, at
/// most [`NAME_BYTES_MAX`] bytes, a letter or digit first and last, no more than [`MARKS_MAX`] marks on one letter. So it is
/// neither hidden nor a path nor markup.
#[must_use]
pub fn is_voice_name(name: &str) -> bool {
    let (mut marks, mut on_letter) = (0, false);
    let fits = |c: char| {
        if is_mark(c) {
            marks += 1;
            return on_letter && marks <= MARKS_MAX;
        }
        (marks, on_letter) = (0, c.is_alphanumeric());
        on_letter || matches!(c, ' ' | '.' | '-' | '_' | '\'')
    };
    let letter_or_mark = |c: char| c.is_alphanumeric() || is_mark(c);
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(fits)
        && !name.contains("..")
        && name.starts_with(char::is_alphanumeric)
        && name.ends_with(letter_or_mark)
}

/// Whether a character is a mark on the letter before it, such as a virama, a tone or an accent of its own.
fn is_mark(c: char) -> bool {
    !c.is_alphanumeric() && MARKS.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(c)))
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
    fn letters_keep_their_marks() {
        // A virama, a Thai tone, an accent of its own, a nukta and a vowel sign, a Hebrew point, a voicing mark of its own.
        for good in ["विक्रम", "พี่", "Jose\u{301}", "फ़ैज़", "שָׁלוֹם", "か\u{3099}", "a\u{301}\u{302}\u{303}\u{304}"]
        {
            assert!(is_voice_name(good), "{good}");
        }
        let tower = format!("a{}", "\u{301}".repeat(MARKS_MAX + 1));
        for bad in [
            "\u{301}a",
            "a \u{301}b",
            "a-\u{94d}",
            "\u{94d}",
            "a\u{34f}",
            "a\u{200d}b",
            "a\u{fe0f}",
            "a\u{202e}b",
            &tower,
        ] {
            assert!(!is_voice_name(bad), "{bad}");
        }
        assert!(MARKS.is_sorted() && MARKS.iter().all(|(first, last)| first <= last));
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
