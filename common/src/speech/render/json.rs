//! `segments.json`: one line for each turn, so that the document can be read, compared and searched by line.
//!
//! Byte-deterministic: field order is the order of [`Document`], numbers are the shortest decimals of doubles that were
//! rounded before.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use crate::speech::result_document::{Document, SCHEMA};

/// Largest document that is read, bytes: a day of speech with its transcript.
pub const BYTES_MAX: usize = 512 << 20;

/// Why a stored document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`BYTES_MAX`].
    #[error("the result document is larger than {BYTES_MAX} bytes: {bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON of this shape.
    #[error("the result document does not parse")]
    Malformed(#[source] serde_json::Error),
    /// Another schema.
    #[error("the result document has another schema than `{SCHEMA}`: `{found}`")]
    Schema {
        /// What stands in it.
        found: String,
    },
}

/// The document as it is stored, with a final line break.
#[must_use]
pub fn write(document: &Document) -> String {
    let mut bytes = Vec::new();
    document
        .serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))
        .expect("a document has string keys and is written to memory");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Reads a stored document.
///
/// # Errors
/// See [`DocumentError`].
pub fn read(bytes: &[u8]) -> Result<Document, DocumentError> {
    if bytes.len() > BYTES_MAX {
        return Err(DocumentError::TooLarge { bytes: bytes.len() });
    }
    let document: Document = serde_json::from_slice(bytes).map_err(DocumentError::Malformed)?;
    if document.schema != SCHEMA {
        return Err(DocumentError::Schema { found: document.schema });
    }
    Ok(document)
}

/// Breaks lines between the keys of the document and between the items of its lists, and nowhere deeper.
#[derive(Default)]
struct Lines {
    depth: usize,
    /// Whether each open list or object has had an item.
    filled: Vec<bool>,
}

/// Depth of the document's own keys, and of the items of its lists.
const LINES_TO_DEPTH: usize = 2;

impl Lines {
    fn open<W: io::Write + ?Sized>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled.push(false);
        out.write_all(bracket)
    }

    fn item<W: io::Write + ?Sized>(&mut self, out: &mut W, first: bool, breaks: bool) -> io::Result<()> {
        if let Some(filled) = self.filled.last_mut() {
            *filled = breaks;
        }
        if breaks {
            out.write_all(if first { b"\n" } else { b",\n" })?;
            out.write_all(&b"    "[..2 * self.depth])
        } else {
            out.write_all(if first { b"" } else { b", " })
        }
    }

    fn close<W: io::Write + ?Sized>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled.pop() == Some(true) {
            out.write_all(b"\n")?;
            out.write_all(&b"    "[..2 * self.depth])?;
        }
        out.write_all(bracket)
    }
}

impl Formatter for Lines {
    fn begin_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        let breaks = self.depth <= LINES_TO_DEPTH;
        self.item(out, first, breaks)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        let breaks = self.depth < LINES_TO_DEPTH;
        self.item(out, first, breaks)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(out, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::diarization::Diarization;
    use crate::speech::render::example;

    /// Written by hand from the contract.
    const GOLDEN: &str = r#"{
  "segments": [
    {"start": "0.100", "end": "2.400", "text": "Hello", "speaker": "SPEAKER_00"},
    {"start": "2.600", "end": "5.900", "text": "Good <b>morning</b> & welcome", "speaker": "SPEAKER_01"},
    {"start": "6.500", "end": "7.000", "text": "(door)", "speaker": "UNKNOWN"}
  ],
  "speakers": [
    "SPEAKER_00",
    "SPEAKER_01"
  ],
  "diarization": [
    {"start": 0.0, "end": 2.8, "speaker": "SPEAKER_00"},
    {"start": 2.5, "end": 6.0, "speaker": "SPEAKER_01"},
    {"start": 8.0, "end": 9.25, "speaker": "SPEAKER_00"}
  ],
  "exclusive": [
    {"start": 0.0, "end": 2.5, "speaker": "SPEAKER_00"},
    {"start": 2.5, "end": 6.0, "speaker": "SPEAKER_01"},
    {"start": 8.0, "end": 9.25, "speaker": "SPEAKER_00"}
  ],
  "speaker_details": [
    {"label": "SPEAKER_00", "name": null, "speech_s": 4.05, "turns": 2, "similarity": null},
    {"label": "SPEAKER_01", "name": "Zoë", "speech_s": 3.5, "turns": 1, "similarity": 0.812}
  ],
  "schema": "rollcall/segments/1",
  "job": {"id": "01J9Z", "attempt": 1},
  "audio": {"uri": "file:///data/my \"call\".m4a", "sha256": "SHA_AUDIO", "duration_s": 10.0, "sample_rate_hz": 44100, "channels": 2, "codec": "aac"},
  "bundle": {"name": "starter", "version": "1", "sha256": "SHA_BUNDLE"},
  "device": "cpu",
  "timing": {"decode_s": 0.3, "segmentation_s": 2.1, "embedding_s": 3.0, "clustering_s": 0.1, "total_s": 5.7, "realtime_factor": 0.57},
  "warnings": [
    "damaged audio: 3.0 s to 3.5 s"
  ]
}
"#;

    #[test]
    fn the_document_is_the_contracts() {
        let golden = GOLDEN.replace("SHA_AUDIO", &"ab".repeat(32)).replace("SHA_BUNDLE", &"cd".repeat(32));
        assert_eq!(write(&example::with_transcript()), golden);
    }

    #[test]
    fn segments_without_a_transcript_have_no_text() {
        let text = write(&example::without_transcript());
        let first = text.lines().nth(2).unwrap();
        assert_eq!(first, r#"    {"start": "0.000", "end": "2.500", "speaker": "SPEAKER_00"},"#);
    }

    #[test]
    fn silence_gives_empty_lists() {
        let empty = Diarization::new(vec![], vec![]).unwrap();
        let text = write(&Document::new(&empty, example::provenance()));
        assert!(
            text.starts_with("{\n  \"segments\": [],\n  \"speakers\": [],\n  \"diarization\": [],\n"),
            "{text}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn what_was_written_is_read_back() {
        let document = example::with_transcript();
        assert_eq!(read(write(&document).as_bytes()).unwrap(), document);
    }

    #[test]
    fn strange_documents_are_refused() {
        let text = write(&example::with_transcript());
        let other = text.replace(SCHEMA, "rollcall/segments/2");
        assert!(matches!(read(other.as_bytes()), Err(DocumentError::Schema { .. })));
        for (from, to) in
            [("\"0.100\"", "\"-0.1\""), ("\"0.100\"", "\"NaN\""), ("2.5,", "1e300,"), ("{", "[")]
        {
            let broken = text.replacen(from, to, 1);
            assert!(matches!(read(broken.as_bytes()), Err(DocumentError::Malformed(_))), "{to}");
        }
    }
}
