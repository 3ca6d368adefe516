//! JSON transcripts: a list of segments, or an object with one under `segments`.
//!
//! Segments are turned into ours one by one while they are parsed, so that what is refused is refused before it is held.
//! Nesting costs no stack: what is passed over is skipped without recursion, and what is read is flat.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Limits, Segment, TranscriptError, Word, parse_time};
use crate::speech::render::printable::at_most;
use crate::speech::time::{Millis, Seconds};

/// Most words in one segment that are held before they are looked at.
const SEGMENT_WORDS_MAX: usize = 100_000;
/// Characters of a strange value that an error shows.
const SHOWN_MAX: usize = 40;

/// Reads the segments of a JSON document.
pub(super) fn read(text: &str, limits: Limits) -> Result<Vec<Segment>, TranscriptError> {
    let mut reading = Reading { limits, segments: Vec::new(), words: 0, refused: None, found: false };
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = Top(&mut reading).deserialize(&mut parser).and_then(|()| parser.end());
    if let Some(error) = reading.refused {
        return Err(error);
    }
    parsed.map_err(TranscriptError::Json)?;
    if reading.found { Ok(reading.segments) } else { Err(TranscriptError::NoSegments) }
}

struct Reading {
    limits: Limits,
    segments: Vec<Segment>,
    words: usize,
    /// Why parsing was stopped from here, where the parser itself has no objection.
    refused: Option<TranscriptError>,
    found: bool,
}

/// The document.
struct Top<'a>(&'a mut Reading);
/// A list of segments.
struct Segments<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of segments, or an object with `segments`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        Segments(self.0).visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key != "segments" {
                map.next_value::<IgnoredAny>()?;
            } else if self.0.found {
                return Err(A::Error::duplicate_field("segments"));
            } else {
                map.next_value_seed(Segments(self.0))?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Segments<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Segments<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of segments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.found = true;
        while let Some(raw) = list.next_element::<RawSegment>()? {
            if let Err(error) = self.0.take(raw) {
                self.0.refused = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

impl Reading {
    fn take(&mut self, raw: RawSegment) -> Result<(), TranscriptError> {
        let segment = self.segments.len() + 1;
        if segment > self.limits.segments_max {
            return Err(TranscriptError::TooMany { what: "segments", max: self.limits.segments_max });
        }
        let missing = |field| TranscriptError::Missing { segment, field };
        let start = raw.start.read(segment, "start")?.ok_or_else(|| missing("start"))?;
        let end = raw.end.read(segment, "end")?.ok_or_else(|| missing("end"))?;
        let text = raw.text.ok_or_else(|| missing("text"))?.trim().to_owned();
        in_order(segment, start, end)?;
        let raw_words = raw.words.map_or_else(Vec::new, |words| words.0);
        self.words += raw_words.len();
        if self.words > self.limits.words_max {
            return Err(TranscriptError::TooMany { what: "words", max: self.limits.words_max });
        }
        let words = raw_words.into_iter().map(|raw| raw.read(segment)).collect::<Result<_, _>>()?;
        self.segments.push(Segment { start, end, text, words });
        Ok(())
    }
}

fn in_order(segment: usize, start: Millis, end: Millis) -> Result<(), TranscriptError> {
    if end < start {
        let (start, end) = (start.decimal(), end.decimal());
        return Err(TranscriptError::Backwards { segment, start, end });
    }
    Ok(())
}

/// The keys that are read of a segment; all others are passed over.
#[derive(Deserialize)]
struct RawSegment {
    #[serde(default)]
    start: RawTime,
    #[serde(default)]
    end: RawTime,
    text: Option<String>,
    words: Option<RawWords>,
}

/// A word; Whisper and WhisperX call its text `word`, others `text`.
#[derive(Deserialize)]
struct RawWord {
    word: Option<String>,
    text: Option<String>,
    #[serde(default)]
    start: RawTime,
    #[serde(default)]
    end: RawTime,
}

impl RawWord {
    fn read(self, segment: usize) -> Result<Word, TranscriptError> {
        let text = self.word.or(self.text).ok_or(TranscriptError::Missing { segment, field: "word" })?;
        let start = self.start.read(segment, "words.start")?;
        let span = start.zip(self.end.read(segment, "words.end")?);
        if let Some((start, end)) = span {
            in_order(segment, start, end)?;
        }
        Ok(Word { text: text.trim().to_owned(), span })
    }
}

/// Words, one more than allowed at most.
struct RawWords(Vec<RawWord>);

impl<'de> Deserialize<'de> for RawWords {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = RawWords;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of words")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawWords, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                    if words.len() > SEGMENT_WORDS_MAX {
                        return Err(A::Error::custom(format!(
                            "more than {SEGMENT_WORDS_MAX} words in a segment"
                        )));
                    }
                }
                Ok(RawWords(words))
            }
        }
        deserializer.deserialize_seq(Words)
    }
}

/// A time as it stands in the document.
#[derive(Default)]
enum RawTime {
    #[default]
    Missing,
    Number(f64),
    Text(String),
}

impl RawTime {
    fn read(self, segment: usize, field: &'static str) -> Result<Option<Millis>, TranscriptError> {
        let (time, value) = match self {
            Self::Missing => return Ok(None),
            Self::Number(value) => {
                let bounded = Seconds::new(value).filter(|s| s.get() <= super::TIME_S_MAX);
                (bounded.map(Millis::from), value.to_string())
            }
            Self::Text(text) => (parse_time(&text), text),
        };
        let refused = || TranscriptError::Time { segment, field, value: at_most(&value, SHOWN_MAX) };
        time.map(Some).ok_or_else(refused)
    }
}

impl<'de> Deserialize<'de> for RawTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Time;
        impl Visitor<'_> for Time {
            type Value = RawTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in seconds, as a number or as text")
            }

            fn visit_unit<E>(self) -> Result<RawTime, E> {
                Ok(RawTime::Missing)
            }

            fn visit_f64<E>(self, value: f64) -> Result<RawTime, E> {
                Ok(RawTime::Number(value))
            }

            #[allow(clippy::cast_precision_loss, reason = "times that large are refused")]
            fn visit_u64<E>(self, value: u64) -> Result<RawTime, E> {
                Ok(RawTime::Number(value as f64))
            }

            #[allow(clippy::cast_precision_loss, reason = "times that small are refused")]
            fn visit_i64<E>(self, value: i64) -> Result<RawTime, E> {
                Ok(RawTime::Number(value as f64))
            }

            fn visit_str<E>(self, value: &str) -> Result<RawTime, E> {
                Ok(RawTime::Text(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Time)
    }
}
