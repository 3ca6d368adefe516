//! `subtitles.srt` and `subtitles.vtt`: the transcript's segments, or the exclusive turns with the speaker alone.
//!
//! A line reads `[SPEAKER_00] Hello`; known voices stand with their names. In VTT the speaker is also the cue's voice
//! (`<v SPEAKER_00>`), which players and style sheets can use but do not show by themselves, so the label in brackets
//! is there too. Segments without a word in them are left out, since there is nothing to show. Cues are sorted by
//! start.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::printable::one_line;
use crate::speech::result_document::{Document, Segment};

/// SRT; it has no escapes, and what players take for styling is left as it was said.
#[must_use]
pub fn srt(document: &Document) -> String {
    let mut out = String::new();
    for (index, segment) in cues(document).into_iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        let (start, end) = (segment.start.clock(','), segment.end.clock(','));
        writeln!(out, "{gap}{}\n{start} --> {end}\n{}", index + 1, line(document, segment))
            .expect("writing to memory");
    }
    out
}

/// VTT; text is escaped as the standard asks.
#[must_use]
pub fn vtt(document: &Document) -> String {
    let mut out = String::from("WEBVTT\n");
    for segment in cues(document) {
        let (start, end) = (segment.start.clock('.'), segment.end.clock('.'));
        let voice = one_line(document.shown(&segment.speaker));
        let (voice, line) = (escaped(&voice), line(document, segment));
        writeln!(out, "\n{start} --> {end}\n<v {voice}>{}</v>", escaped(&line)).expect("writing to memory");
    }
    out
}

fn cues(document: &Document) -> Vec<&Segment> {
    let says_something =
        |segment: &&Segment| segment.text.as_ref().is_none_or(|text| !text.trim().is_empty());
    let mut cues: Vec<&Segment> = document.segments.iter().filter(says_something).collect();
    cues.sort_by_key(|segment| (segment.start, segment.end));
    cues
}

fn line(document: &Document, segment: &Segment) -> String {
    let speaker = one_line(document.shown(&segment.speaker));
    match &segment.text {
        Some(text) => format!("[{speaker}] {}", one_line(text)),
        None => format!("[{speaker}]"),
    }
}

/// Text of a VTT cue: `&`, `<` and `>` as character references, which also keeps `-->` out of it.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '<', '>']) {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::render::example;

    #[test]
    fn srt_with_a_transcript() {
        assert_eq!(
            srt(&example::with_transcript()),
            "1\n00:00:00,100 --> 00:00:02,400\n[SPEAKER_00] Hello\n\n\
             2\n00:00:02,600 --> 00:00:05,900\n[Zoë] Good <b>morning</b> & welcome\n\n\
             3\n00:00:06,500 --> 00:00:07,000\n[UNKNOWN] (door)\n"
        );
    }

    #[test]
    fn vtt_with_a_transcript() {
        assert_eq!(
            vtt(&example::with_transcript()),
            "WEBVTT\n\n00:00:00.100 --> 00:00:02.400\n<v SPEAKER_00>[SPEAKER_00] Hello</v>\n\n\
             00:00:02.600 --> 00:00:05.900\n<v Zoë>[Zoë] Good &lt;b&gt;morning&lt;/b&gt; &amp; welcome</v>\n\n\
             00:00:06.500 --> 00:00:07.000\n<v UNKNOWN>[UNKNOWN] (door)</v>\n"
        );
    }

    #[test]
    fn turns_alone() {
        assert_eq!(
            srt(&example::without_transcript()),
            "1\n00:00:00,000 --> 00:00:02,500\n[SPEAKER_00]\n\n\
             2\n00:00:02,500 --> 00:00:06,000\n[SPEAKER_01]\n\n\
             3\n00:00:08,000 --> 00:00:09,250\n[SPEAKER_00]\n"
        );
        assert!(vtt(&example::without_transcript()).ends_with("\n<v SPEAKER_00>[SPEAKER_00]</v>\n"));
    }

    /// A cue that tries to begin another one, and one that says nothing.
    #[test]
    fn a_text_stays_in_its_cue() {
        let mut document = example::with_transcript();
        document.segments[0].text = Some("a\n\n9\n00:00:01.000 --> 00:00:02.000\nb".into());
        document.segments[1].text = Some(" \n".into());
        assert_eq!(srt(&document).lines().filter(|l| l.starts_with("00:")).count(), 2);
        let vtt = vtt(&document);
        assert_eq!(vtt.matches("-->").count(), 2);
        assert!(vtt.contains(">[SPEAKER_00] a 9 00:00:01.000 --&gt; 00:00:02.000 b</v>"), "{vtt}");
    }

    #[test]
    fn silence() {
        let mut document = example::without_transcript();
        document.segments.clear();
        assert_eq!(srt(&document), "");
        assert_eq!(vtt(&document), "WEBVTT\n");
    }
}
