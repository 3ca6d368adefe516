//! Reading RTTM (NIST Rich Transcription Time Marked) and UEM (Un-partitioned Evaluation Map) files.
//!
//! Both are hostile until read: size, lines, recordings, labels and times are bounded, and an error names its line.

use std::collections::BTreeMap;

use super::annotation::{Annotation, LABELS_MAX, Span, TIME_S_MAX, parse_seconds};
use super::render::printable::at_most;

/// Largest file that is read, bytes.
pub const BYTES_MAX: usize = 256 << 20;
/// Most turns, or spans, in one file.
pub const TURNS_MAX: usize = 2_000_000;
/// Most recordings in one file.
pub const RECORDINGS_MAX: usize = 10_000;
/// What lines may be besides turns (NIST, RT-09 evaluation plan).
const OTHER_TYPES: [&str; 12] = [
    "SPKR-INFO",
    "LEXEME",
    "NON-LEX",
    "NON-SPEECH",
    "FILLER",
    "EDIT",
    "IP",
    "SU",
    "CB",
    "A/P",
    "NOSCORE",
    "SEGMENT",
];
/// Characters of a strange value that an error shows.
const SHOWN_MAX: usize = 40;

/// Why a file of turns or regions is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RttmError {
    /// Larger than [`BYTES_MAX`].
    #[error("the file is larger than {BYTES_MAX} bytes: {bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("line {line} is not UTF-8 text")]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// No turns, and a line that is none of RTTM's.
    #[error("line {line} is no line of RTTM, and no other one is a turn: `{value}`")]
    NotRttm {
        /// Counted from 1.
        line: usize,
        /// How it begins.
        value: String,
    },
    /// A line with too few fields.
    #[error("line {line} has too few fields, {fields_min} are needed: {found}")]
    Fields {
        /// Counted from 1.
        line: usize,
        /// Fields that such a line needs.
        fields_min: usize,
        /// Fields that it has.
        found: usize,
    },
    /// A time that is no number of seconds, or out of bounds.
    #[error("the {field} in line {line} is not a number of seconds from 0 to {TIME_S_MAX}: `{value}`")]
    Time {
        /// Counted from 1.
        line: usize,
        /// Which of its times.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// A region that ends before it starts.
    #[error("the region in line {line} ends before it starts")]
    Backwards {
        /// Counted from 1.
        line: usize,
    },
    /// More than a bound allows.
    #[error("line {line} is one too many: at most {max} {what} are read")]
    TooMany {
        /// Counted from 1.
        line: usize,
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
}

/// The turns of each recording that an RTTM file names, by file id.
///
/// Only `SPEAKER` lines count; the fields after the label may be missing. Turns of no length are left out, though their
/// recording is not. A file without turns is one in which nobody speaks only where its lines are RTTM's.
///
/// # Errors
/// See [`RttmError`].
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, Annotation>, RttmError> {
    let mut recordings: BTreeMap<String, Annotation> = BTreeMap::new();
    let (mut turns, mut stranger) = (0, None);
    for (line, fields) in lines(bytes)? {
        let fields = fields?;
        if fields.first() != Some(&"SPEAKER") {
            let strange =
                fields.first().filter(|first| !first.starts_with(';') && !OTHER_TYPES.contains(first));
            if let (None, Some(first)) = (&stranger, strange) {
                stranger = Some(RttmError::NotRttm { line, value: at_most(first, SHOWN_MAX) });
            }
            continue;
        }
        let &[_, file, _, start, length, _, _, label, ..] = fields.as_slice() else {
            return Err(RttmError::Fields { line, fields_min: 8, found: fields.len() });
        };
        let start = time(start, line, "start")?;
        let length = time(length, line, "length")?;
        let end = super::time::Seconds::new(start.get() + length.get())
            .expect("the sum of two bounded times is finite and not negative");
        count(&mut turns, line)?;
        recording(&mut recordings, file, line)?.push(start, end, label).map_err(|_| RttmError::TooMany {
            line,
            what: "speakers of a recording",
            max: LABELS_MAX,
        })?;
    }
    match stranger {
        Some(error) if recordings.is_empty() => Err(error),
        _ => Ok(recordings),
    }
}

/// The scored regions of each recording that a UEM file names, by file id. Lines beginning with `;` are comments.
///
/// # Errors
/// See [`RttmError`].
pub fn read_uem(bytes: &[u8]) -> Result<BTreeMap<String, Vec<Span>>, RttmError> {
    let mut recordings: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    let mut spans = 0;
    for (line, fields) in lines(bytes)? {
        let fields = fields?;
        if fields.first().is_none_or(|first| first.starts_with(';')) {
            continue;
        }
        let &[file, _, start, end, ..] = fields.as_slice() else {
            return Err(RttmError::Fields { line, fields_min: 4, found: fields.len() });
        };
        let (start, end) = (time(start, line, "start")?, time(end, line, "end")?);
        if end < start {
            return Err(RttmError::Backwards { line });
        }
        count(&mut spans, line)?;
        recording(&mut recordings, file, line)?.push(Span { start, end });
    }
    Ok(recordings)
}

type Line<'a> = (usize, Result<Vec<&'a str>, RttmError>);

/// The white-space separated fields of each line, with its number.
fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = Line<'_>>, RttmError> {
    if bytes.len() > BYTES_MAX {
        return Err(RttmError::TooLarge { bytes: bytes.len() });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    Ok(bytes.split(|&b| b == b'\n').enumerate().map(|(index, line)| {
        let line_number = index + 1;
        // Ten fields are all that a line has; a longer one is not worth the memory of its parts.
        let fields = std::str::from_utf8(line)
            .map(|text| text.split_whitespace().take(10).collect())
            .map_err(|_| RttmError::NotText { line: line_number });
        (line_number, fields)
    }))
}

fn time(text: &str, line: usize, field: &'static str) -> Result<super::time::Seconds, RttmError> {
    parse_seconds(text).ok_or_else(|| RttmError::Time { line, field, value: at_most(text, SHOWN_MAX) })
}

fn count(turns: &mut usize, line: usize) -> Result<(), RttmError> {
    *turns += 1;
    if *turns > TURNS_MAX {
        return Err(RttmError::TooMany { line, what: "turns", max: TURNS_MAX });
    }
    Ok(())
}

/// The entry of a recording, made when there is room for it.
fn recording<'a, T: Default>(
    recordings: &'a mut BTreeMap<String, T>,
    file: &str,
    line: usize,
) -> Result<&'a mut T, RttmError> {
    if !recordings.contains_key(file) && recordings.len() == RECORDINGS_MAX {
        return Err(RttmError::TooMany { line, what: "recordings", max: RECORDINGS_MAX });
    }
    Ok(recordings.entry(file.to_owned()).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn speaker_lines_are_read_and_others_passed_over() {
        let text = "\u{feff};; comment\n\
            SPKR-INFO a 1 <NA> <NA> <NA> unknown X <NA>\n\
            SPEAKER a 1 0.5 1.25 <NA> <NA> Ann <NA> <NA>\r\n\
            \n\
            SPEAKER\tb\t1\t2\t1e0\t<NA>\t<NA>\tBob\n\
            SPEAKER a 1 3 0.000 <NA> <NA> Nobody <NA> <NA>\n\
            SPEAKER a 1 4 1 <NA> <NA> Ann <NA> <NA> more and more and more";
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read["a"].labels(), ["Ann"]);
        let turns: Vec<_> = read["a"].turns().iter().map(|t| (t.start.get(), t.end.get())).collect();
        assert_eq!(turns, [(0.5, 1.75), (4.0, 5.0)]);
        assert_eq!(read["b"].labels(), ["Bob"]);
    }

    #[test]
    fn what_we_write_we_read() {
        let document = crate::speech::render::example::without_transcript();
        let text = crate::speech::render::rttm::write("my call", &document);
        let back = read(text.as_bytes()).unwrap();
        assert_eq!(back["my_call"].labels(), ["SPEAKER_00", "SPEAKER_01"]);
        assert_eq!(back["my_call"].turns().len(), 3);
    }

    #[test]
    fn errors_name_the_line() {
        let good = "SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\n";
        let fail = |line: &str| read(format!("{good}{line}").as_bytes()).unwrap_err();
        assert_eq!(fail("SPEAKER a 1 0 1"), RttmError::Fields { line: 2, fields_min: 8, found: 5 });
        let value = |value: &str, field| RttmError::Time { line: 2, field, value: value.to_owned() };
        assert_eq!(fail("SPEAKER a 1 -1 1 x x A"), value("-1", "start"));
        assert_eq!(fail("SPEAKER a 1 0 NaN x x A"), value("NaN", "length"));
        assert_eq!(fail("SPEAKER a 1 0 1e9 x x A"), value("1e9", "length"));
        assert_eq!(fail("SPEAKER a 1 \u{1b}[2J 1 x x A"), value("·[2J", "start"));
        let bytes = [good.as_bytes(), b"\xff\xfe"].concat();
        assert_eq!(read(&bytes).unwrap_err(), RttmError::NotText { line: 2 });
    }

    #[test]
    fn what_is_no_rttm_is_refused() {
        for text in ["hi", "\n{\n", ";; ok\nspeaker a 1 0 1 <NA> <NA> x <NA> <NA>\n"] {
            assert!(matches!(read(text.as_bytes()), Err(RttmError::NotRttm { .. })), "{text}");
        }
        for text in ["", "\n", ";; nobody\n", "SPKR-INFO a 1 <NA> <NA> <NA> unknown x <NA>\n"] {
            assert_eq!(read(text.as_bytes()).unwrap().len(), 0, "{text}");
        }
        let beside = "a note\nSPEAKER a 1 0 1 <NA> <NA> x <NA> <NA>\n";
        assert_eq!(read(beside.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn recordings_and_labels_are_bounded() {
        let many = |n: usize, of: &dyn Fn(usize) -> String| (0..n).map(of).collect::<String>();
        let files = |i: usize| format!("SPEAKER f{i} 1 0 1 x x A\n");
        assert_eq!(read(many(RECORDINGS_MAX, &files).as_bytes()).unwrap().len(), RECORDINGS_MAX);
        let error = read(many(RECORDINGS_MAX + 1, &files).as_bytes()).unwrap_err();
        assert_eq!(
            error,
            RttmError::TooMany { line: RECORDINGS_MAX + 1, what: "recordings", max: RECORDINGS_MAX }
        );
        let labels = |i: usize| format!("SPEAKER f 1 0 1 x x A{i}\n");
        assert_eq!(read(many(LABELS_MAX, &labels).as_bytes()).unwrap()["f"].labels().len(), LABELS_MAX);
        assert!(matches!(
            read(many(LABELS_MAX + 1, &labels).as_bytes()).unwrap_err(),
            RttmError::TooMany { what: "speakers of a recording", .. }
        ));
        let mut turns = TURNS_MAX;
        assert!(matches!(count(&mut turns, 9), Err(RttmError::TooMany { line: 9, what: "turns", .. })));
        assert!(count(&mut TURNS_MAX.saturating_sub(1), 9).is_ok());
    }

    #[test]
    fn regions_are_read() {
        let read = read_uem(b";; comment\na 1 0.0 5.5\nb 1 1 2\na 1 7 9\n").unwrap();
        let spans: Vec<_> = read["a"].iter().map(|s| (s.start.get(), s.end.get())).collect();
        assert_eq!(spans, [(0.0, 5.5), (7.0, 9.0)]);
        assert_eq!(read_uem(b"a 1 0\n").unwrap_err(), RttmError::Fields { line: 1, fields_min: 4, found: 3 });
        assert_eq!(read_uem(b"\na 1 2 1\n").unwrap_err(), RttmError::Backwards { line: 2 });
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
            let _ = read_uem(&bytes);
        }

        #[test]
        fn no_fields_panic(fields in prop::collection::vec("SPEAKER|[-0-9.e]{1,8}|<NA>|a|\n| ", 0..60)) {
            let text = fields.join(" ");
            let _ = read(text.as_bytes());
            let _ = read_uem(text.as_bytes());
        }
    }
}
