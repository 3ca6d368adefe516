use proptest::prelude::*;

use super::*;
use crate::speech::diarization::Diarization;
use crate::speech::render::{example, json as document_json, subtitles};
use crate::speech::result_document::{Document, SpokenSegment};

fn read_text(text: &str) -> Result<Transcript, TranscriptError> {
    read(text.as_bytes(), Limits::default())
}

fn joined(transcript: &[u8]) -> Document {
    let transcript = read(transcript, Limits::default()).unwrap();
    let segments = join(&transcript, &example::diarization());
    Document::new(&example::diarization(), example::provenance()).with_transcript(&segments)
}

/// Each kind joined with the same two speakers (0 - 2.5 s and 8 - 9.25 s the one, 2.5 - 6 s the other), byte for byte.
#[test]
fn goldens() {
    let cases: [(&str, &[u8], &str); 6] = [
        (
            "WhisperLive",
            include_bytes!("golden/whisperlive.json"),
            include_str!("golden/whisperlive.segments"),
        ),
        ("Whisper", include_bytes!("golden/whisper.json"), include_str!("golden/whisper.segments")),
        (
            "Whisper with words",
            include_bytes!("golden/whisper_words.json"),
            include_str!("golden/whisper_words.segments"),
        ),
        ("WhisperX", include_bytes!("golden/whisperx.json"), include_str!("golden/whisperx.segments")),
        ("SRT", include_bytes!("golden/subrip.srt"), include_str!("golden/subrip.segments")),
        ("VTT", include_bytes!("golden/webvtt.vtt"), include_str!("golden/webvtt.segments")),
    ];
    for (kind, transcript, expected) in cases {
        let text = document_json::write(&joined(transcript));
        let (_, rest) = text.split_once("\"segments\": [\n").unwrap();
        let (segments, _) = rest.split_once("  ],\n").unwrap();
        assert_eq!(segments, expected, "{kind}");
    }
}

#[test]
fn subtitles_that_we_write_we_read() {
    let document = joined(include_bytes!("golden/subrip.srt"));
    for text in [subtitles::srt(&document), subtitles::vtt(&document)] {
        let back = read_text(&text).unwrap().segments;
        assert_eq!(back.len(), document.segments.len());
        for (read, written) in back.iter().zip(&document.segments) {
            let line = format!("[{}] {}", written.speaker, written.text.as_deref().unwrap());
            assert_eq!((read.start, read.end, &read.text), (written.start, written.end, &line));
        }
    }
}

#[test]
fn nothing_said_is_an_empty_transcript() {
    for text in ["", "\n\n", "[]", "{\"segments\": []}", "WEBVTT\n"] {
        assert_eq!(read_text(text).unwrap(), Transcript::default(), "{text:?}");
    }
}

#[test]
fn no_cue_is_passed_over_in_silence() {
    let cue = "00:00.500 --> 00:02.000\nA\n";
    for text in [
        format!("WEBVTT\n{cue}"),
        format!("WEBVTT a title\nX-KEY: value\n{cue}"),
        format!("WEBVTT\n\n{cue}").replace('\n', "\r"),
        format!("WEBVTT\n\n{cue}").replace('\n', "\r\n"),
        format!("1\n{cue}").replace('\n', "\r"),
    ] {
        let read = read_text(&text).unwrap();
        assert_eq!((read.segments.len(), read.segments[0].text.as_str()), (1, "A"), "{text:?}");
    }
    let refused = read_text(&format!("WEBVTT\n\nSTYLE\n{cue}")).unwrap_err().to_string();
    assert!(refused.starts_with("line 4 of the transcript is not"), "{refused}");
}

#[test]
fn errors_name_the_position() {
    let message = |text: &str| {
        let error = read_text(text).unwrap_err();
        let source = std::error::Error::source(&error).map(|s| format!(" / {s}")).unwrap_or_default();
        format!("{error}{source}")
    };
    let good = r#"{"start": 0, "end": 1, "text": "a"}"#;
    let second = |bad: &str| message(&format!("[{good},\n{bad}]"));
    assert_eq!(second(r#"{"start": 0, "text": "a"}"#), "segment 2 of the transcript has no `end`");
    assert_eq!(
        second(r#"{"start": 0, "end": null, "text": "a"}"#),
        "segment 2 of the transcript has no `end`"
    );
    assert_eq!(second(r#"{"start": 0, "end": 1}"#), "segment 2 of the transcript has no `text`");
    assert_eq!(
        second(r#"{"start": "abc", "end": 1, "text": "a"}"#),
        "the `start` of segment 2 is not a time from 0 to 10000000 s: `abc`"
    );
    assert_eq!(
        second(r#"{"start": -1, "end": 1, "text": "a"}"#),
        "the `start` of segment 2 is not a time from 0 to 10000000 s: `-1`"
    );
    assert_eq!(
        second(r#"{"start": 2, "end": "1.5", "text": "a"}"#),
        "segment 2 of the transcript, or a word in it, ends before it starts: 2.000 to 1.500 s"
    );
    assert_eq!(
        second(r#"{"start": 2, "end": 3, "text": "a", "words": [{"start": 1}]}"#),
        "segment 2 of the transcript has no `word`"
    );
    let list = second(r#"{"start": [], "end": 1, "text": "a"}"#);
    assert!(
        list.ends_with("expected a time in seconds, as a number or as text at line 2 column 12"),
        "{list}"
    );
    assert!(message("[1, 2").contains("at line 1 column 2"));
    assert_eq!(message(r#"{"text": "a"}"#), "the transcript has no list of `segments`");
    assert!(message(&"[".repeat(10_000)).contains("is not JSON with segments / "));
    assert!(message(&format!("{{\"x\": {}", "[".repeat(10_000))).contains("EOF while parsing"));
    assert_eq!(
        message("1\n00:00:01,000 -> 00:00:02,000\nx"),
        "line 2 of the transcript belongs to no cue; it is neither JSON, SRT nor VTT: `00:00:01,000 -> 00:00:02,000`"
    );
    assert_eq!(
        message("1\n00:00:01,000 --> 00:99:02,000\nx"),
        "line 2 of the transcript is not `HH:MM:SS,mmm --> HH:MM:SS,mmm`: `00:00:01,000 --> 00:99:02,000`"
    );
    assert!(message("WEBVTT\n\n1 --> 2\nx").starts_with("line 3 of the transcript is not `HH:"));
    assert!(message("Once upon a time").starts_with("line 1 of the transcript belongs to no cue"));
    assert!(message("\n17\n").starts_with("line 2 of the transcript belongs to no cue"));
    let error = read(b"1\n\xff\xfe", Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the transcript is not UTF-8 text in line 2");
}

/// Hundreds of thousands of characters of what each loop looks for: a loop that went back over them would not end.
#[test]
fn long_lines_are_read_in_one_pass() {
    for c in ["<", "{", "&", "<i", "{\\", "[", "\n", "-->"] {
        let text = c.repeat(400_000 / c.len());
        for start in
            ["", "WEBVTT\n\n", "00:00:01,000 --> 00:00:02,000\n", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n"]
        {
            let _ = read_text(&format!("{start}{text}"));
        }
    }
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits { bytes_max: 400, segments_max: 2, words_max: 3 };
    let segment = |words: usize| {
        let words = vec![r#"{"word": "a"}"#; words].join(",");
        format!(r#"{{"start": 0, "end": 1, "text": "a", "words": [{words}]}}"#)
    };
    let ok = |text: String| read(text.as_bytes(), limits).map(|t| t.segments.len());
    assert_eq!(ok(format!("[{},{}]", segment(2), segment(1))).unwrap(), 2);
    let words = ok(format!("[{},{}]", segment(2), segment(2))).unwrap_err();
    assert!(matches!(words, TranscriptError::TooMany { what: "words", max: 3 }));
    let segments = ok(format!("[{},{},{}]", segment(0), segment(0), segment(0))).unwrap_err();
    assert!(matches!(segments, TranscriptError::TooMany { what: "segments", max: 2 }));
    let cue = "00:00:01,000 --> 00:00:02,000\nx\n\n";
    assert_eq!(ok(cue.repeat(2)).unwrap(), 2);
    assert!(matches!(ok(cue.repeat(3)), Err(TranscriptError::TooMany { what: "segments", .. })));
    assert!(ok(" ".repeat(400)).is_ok());
    assert!(matches!(ok(" ".repeat(401)), Err(TranscriptError::TooLarge { bytes: 401, max: 400 })));
}

fn segment(start: u64, end: u64) -> Segment {
    let (start, end) = (Millis::new(start), Millis::new(end));
    Segment { start, end, text: "a".into(), words: Vec::new() }
}

#[test]
fn ties_go_to_who_speaks_first() {
    let turns = vec![example::turn(0.0, 1.0, 0), example::turn(2.0, 3.0, 1), example::turn(4.0, 4.5, 0)];
    let diarization = Diarization::new(turns.clone(), turns).unwrap();
    let who = |start, end| {
        let transcript = Transcript { segments: vec![segment(start, end)] };
        join(&transcript, &diarization)[0].speaker
    };
    assert_eq!(who(500, 2_500), Some(0));
    // One millisecond more of the second.
    assert_eq!(who(500, 2_501), Some(1));
    // Both parts of the first count together; the second is heard first in a tie.
    assert_eq!(who(2_500, 4_500), Some(1));
    assert_eq!(who(2_501, 4_500), Some(0));
    assert_eq!(who(1_000, 2_000), None);
    // Instants: a turn holds its start, not its end.
    assert_eq!([who(999, 999), who(1_000, 1_000), who(2_000, 2_000)], [Some(0), None, Some(1)]);
    assert_eq!(who(9_000, 9_000_000), None);
}

/// Textbook form of the speaker of a span: add up the overlap with every turn.
fn speaker_slowly(segment: &Segment, diarization: &Diarization) -> Option<usize> {
    let mut overlaps = vec![(0, Millis::default()); diarization.speakers()];
    for turn in diarization.exclusive() {
        let start = segment.start.max(turn.start.into());
        let overlap = segment.end.min(turn.end.into()).since(start).get();
        let (sum, first) = &mut overlaps[turn.speaker];
        if *sum == 0 {
            *first = start;
        }
        *sum += overlap;
    }
    let best = overlaps.iter().enumerate().filter(|(_, (sum, _))| *sum > 0);
    best.min_by_key(|(_, (sum, first))| (std::cmp::Reverse(*sum), *first)).map(|(speaker, _)| speaker)
}

proptest! {
    #[test]
    fn the_speaker_is_the_textbooks(
        lengths in prop::collection::vec((0_u32..4, 1_u32..6, 0_usize..3), 0..12), start in 0_u64..60, length in 1_u64..40,
    ) {
        let mut at = 0;
        let turns: Vec<_> = lengths.into_iter().map(|(gap, length, speaker)| {
            let start = at + gap;
            at = start + length;
            example::turn(f64::from(start), f64::from(at), speaker)
        }).collect();
        let diarization = Diarization::new(turns.clone(), turns).unwrap();
        let segment = segment(1_000 * start, 1_000 * (start + length));
        let slow = speaker_slowly(&segment, &diarization);
        let joined: Vec<SpokenSegment> = join(&Transcript { segments: vec![segment] }, &diarization);
        prop_assert_eq!(joined[0].speaker, slow);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}", start in prop::sample::select(vec!["", "[", "{", "WEBVTT\n\n", "1\n"])) {
        let _ = read_text(&format!("{start}{text}"));
    }

    #[test]
    fn no_cue_panics(lines in prop::collection::vec("[0-9:,.]{0,12}( --> )?[0-9:,.]{0,12}|<.{0,9}|&.{0,5}|NOTE|\\{.{0,4}|", 0..20)) {
        let text = lines.join("\n");
        let _ = read_text(&text);
        let _ = read_text(&format!("WEBVTT\n\n{text}"));
    }

    #[test]
    fn no_words_panic(spans in prop::collection::vec((any::<u16>(), 0_u16..999, "[ab ]{0,3}"), 0..12)) {
        let words = spans.iter().map(|(start, length, text)| Word {
            text: text.clone(),
            span: (length % 3 > 0).then(|| (u64::from(*start) / 7, u64::from(*start) / 7 + u64::from(*length)))
                .map(|(a, b)| (Millis::new(a), Millis::new(b))),
        }).collect();
        let transcript = Transcript { segments: vec![Segment { words, text: "ab b aab".into(), ..segment(50, 4_000) }] };
        for part in join(&transcript, &example::diarization()) {
            prop_assert!(part.start <= part.end);
        }
    }
}
