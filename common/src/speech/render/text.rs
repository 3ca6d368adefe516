//! `transcript.txt`: `[00:00:01.200] SPEAKER_00: text`, one line for each segment; without a transcript the exclusive
//! turns, `[00:00:01.200 - 00:00:03.000] SPEAKER_00`.

use std::fmt::Write as _;

use super::printable::one_line;
use crate::speech::result_document::Document;

/// The file's content. Known voices stand with their names.
#[must_use]
pub fn write(document: &Document) -> String {
    let mut out = String::new();
    for segment in &document.segments {
        let speaker = one_line(document.shown(&segment.speaker));
        let start = segment.start.clock('.');
        match &segment.text {
            Some(text) => writeln!(out, "[{start}] {speaker}: {}", one_line(text)),
            None => writeln!(out, "[{start} - {}] {speaker}", segment.end.clock('.')),
        }
        .expect("writing to memory");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::render::example;

    #[test]
    fn with_a_transcript() {
        assert_eq!(
            write(&example::with_transcript()),
            "[00:00:00.100] SPEAKER_00: Hello\n\
             [00:00:02.600] Zoë: Good <b>morning</b> & welcome\n\
             [00:00:06.500] UNKNOWN: (door)\n"
        );
    }

    #[test]
    fn turns_alone() {
        assert_eq!(
            write(&example::without_transcript()),
            "[00:00:00.000 - 00:00:02.500] SPEAKER_00\n\
             [00:00:02.500 - 00:00:06.000] SPEAKER_01\n\
             [00:00:08.000 - 00:00:09.250] SPEAKER_00\n"
        );
    }
}
