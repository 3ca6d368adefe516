//! What was said, as a speech recogniser wrote it, and who said it.
//!
//! Read are WhisperLive and Whisper JSON, WhisperX JSON with words, SRT and VTT; which of them a file is, is told from
//! its content. A transcript is hostile until read: size, segments, words, times and nesting are bounded, and an error
//! names its position.
//!
//! Invariants of what was read: no segment or word ends before it starts; texts have no outer white space.

mod cues;
mod join;
mod json;

pub use join::join;

use super::annotation::{TIME_S_MAX, parse_seconds};
use super::time::Millis;

/// What is accepted; the defaults are the contract's limits and several times what a day of speech needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, bytes.
    pub bytes_max: usize,
    /// Most segments.
    pub segments_max: usize,
    /// Most words in all segments together.
    pub words_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, segments_max: 500_000, words_max: 1_000_000 }
    }
}

/// What was said, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// The segments.
    pub segments: Vec<Segment>,
}

/// A span of speech.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts.
    pub start: Millis,
    /// Where it ends; not before `start`.
    pub end: Millis,
    /// What was said.
    pub text: String,
    /// Its words where the recogniser aligned them, else none.
    pub words: Vec<Word>,
}

/// A word of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub text: String,
    /// Where it starts and ends; `None` where alignment failed (numbers, mostly).
    pub span: Option<(Millis, Millis)>,
}

/// Why a transcript is refused.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// Larger than the limit.
    #[error("the transcript is larger than {max} bytes: {bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("the transcript is not UTF-8 text in line {line}")]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// Not JSON of a known shape; the source names line and column.
    #[error("the transcript is not JSON with segments")]
    Json(#[source] serde_json::Error),
    /// JSON that is neither a list nor an object with one.
    #[error("the transcript has no list of `segments`")]
    NoSegments,
    /// A key that a segment needs.
    #[error("segment {segment} of the transcript has no `{field}`")]
    Missing {
        /// Counted from 1.
        segment: usize,
        /// The key.
        field: &'static str,
    },
    /// A time of a segment or of one of its words that is no number of seconds, or out of bounds.
    #[error("the `{field}` of segment {segment} is not a time from 0 to {TIME_S_MAX} s: `{value}`")]
    Time {
        /// Counted from 1.
        segment: usize,
        /// The key.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// A segment, or one of its words, that ends before it starts.
    #[error(
        "segment {segment} of the transcript, or a word in it, ends before it starts: {start} to {end} s"
    )]
    Backwards {
        /// Counted from 1.
        segment: usize,
        /// Its start, seconds.
        start: String,
        /// Its end, seconds.
        end: String,
    },
    /// A line of SRT or VTT that should say from when to when, and does not.
    #[error("line {line} of the transcript is not `HH:MM:SS,mmm --> HH:MM:SS,mmm`: `{value}`")]
    Timing {
        /// Counted from 1.
        line: usize,
        /// The line.
        value: String,
    },
    /// Text before the first cue, so that the file is none of the formats that are read.
    #[error("line {line} of the transcript belongs to no cue; it is neither JSON, SRT nor VTT: `{value}`")]
    OutsideCue {
        /// Counted from 1.
        line: usize,
        /// The line.
        value: String,
    },
    /// More than the limit.
    #[error("the transcript has more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

/// Reads a transcript: JSON when it begins with a bracket, VTT when it begins with `WEBVTT`, else SRT. An empty file is
/// an empty SRT file.
///
/// # Errors
/// See [`TranscriptError`].
pub fn read(bytes: &[u8], limits: Limits) -> Result<Transcript, TranscriptError> {
    if bytes.len() > limits.bytes_max {
        return Err(TranscriptError::TooLarge { bytes: bytes.len(), max: limits.bytes_max });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        TranscriptError::NotText { line: 1 + before.iter().filter(|b| **b == b'\n').count() }
    })?;
    // Old Macs end lines with CR alone, and VTT allows it.
    let lines = || text.replace("\r\n", "\n").replace('\r', "\n");
    let segments = if text.trim_start().starts_with(['{', '[']) {
        json::read(text, limits)?
    } else if text.starts_with("WEBVTT") {
        cues::read_vtt(&lines(), limits)?
    } else {
        cues::read_srt(&lines(), limits)?
    };
    Ok(Transcript { segments })
}

/// A time of the text formats: `[HH:]MM:SS`, with up to three places after `.` or `,`.
fn parse_clock(text: &str) -> Option<Millis> {
    let (clock, fraction) = match text.split_once([',', '.']) {
        Some((clock, fraction)) => (clock, fraction),
        None => (text, "0"),
    };
    let digits = |part: &str, length_max: usize| {
        let fits = (1..=length_max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse::<u64>().ok()).flatten()
    };
    let mut parts = clock.rsplit(':');
    let seconds = digits(parts.next()?, 2).filter(|s| *s < 60)?;
    let minutes = digits(parts.next()?, 2).filter(|m| *m < 60)?;
    let hours = parts.next().map_or(Some(0), |hours| digits(hours, 4))?;
    if parts.next().is_some() {
        return None;
    }
    let millis = digits(fraction, 3)? * [100, 10, 1][fraction.len() - 1];
    let total = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis;
    #[allow(clippy::cast_precision_loss, reason = "hours have four digits")]
    let bounded = total as f64 / 1000.0 <= TIME_S_MAX;
    bounded.then_some(Millis::new(total))
}

/// A time in JSON text: seconds, or a clock.
fn parse_time(text: &str) -> Option<Millis> {
    let text = text.trim();
    parse_seconds(text).map(Millis::from).or_else(|| parse_clock(text))
}

#[cfg(test)]
mod tests;
