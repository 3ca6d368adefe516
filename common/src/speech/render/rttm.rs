//! RTTM, the ten-field form: `SPEAKER file channel start length <NA> <NA> label <NA> <NA>`, times with three places. The
//! channel is 1, but where channels were kept apart.

use std::fmt::Write as _;

use crate::speech::result_document::Document;

/// One line for each turn of the document, in its order.
///
/// White space and control characters in `file_id` become `_`, because fields are parted by white space; an empty id
/// becomes `_` as well.
#[must_use]
pub fn write(file_id: &str, document: &Document) -> String {
    let file_id = field(file_id);
    let mut out = String::new();
    for turn in &document.diarization {
        writeln!(
            out,
            "SPEAKER {file_id} {} {} {} <NA> <NA> {} <NA> <NA>",
            document.channel(&turn.speaker),
            turn.start.decimal(),
            turn.length().decimal(),
            field(&turn.speaker)
        )
        .expect("writing to memory");
    }
    out
}

/// One field of a line.
fn field(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    // A file id that begins with `;` would turn the line into a comment for some readers only, since the line begins
    // with `SPEAKER`; it stays.
    text.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::render::example;

    #[test]
    fn ten_fields_and_three_places() {
        let document = example::without_transcript();
        assert_eq!(
            write("my call\t1\n.wav", &document),
            "SPEAKER my_call_1_.wav 1 0.000 2.800 <NA> <NA> SPEAKER_00 <NA> <NA>\n\
             SPEAKER my_call_1_.wav 1 2.500 3.500 <NA> <NA> SPEAKER_01 <NA> <NA>\n\
             SPEAKER my_call_1_.wav 1 8.000 1.250 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
        );
        assert!(write("", &document).starts_with("SPEAKER _ 1 "));
        let silence = crate::speech::diarization::Diarization::default();
        assert_eq!(write("silence", &Document::new(&silence, example::provenance())), "");
    }

    #[test]
    fn the_channel_of_a_call_stands_in_its_field() {
        let document = example::without_transcript().with_channels(&[1, 0]);
        assert_eq!(
            write("call", &document).lines().map(|line| &line[..14]).collect::<Vec<_>>(),
            ["SPEAKER call 2", "SPEAKER call 1", "SPEAKER call 2"]
        );
    }
}
