//! RTTM, the ten-field form: `SPEAKER file 1 start length <NA> <NA> label <NA> <NA>`, times with three places.

use std::fmt::Write as _;

use crate::speech::result_document::LabelledTurn;

/// One line for each turn, in the order given.
///
/// White space and control characters in `file_id` become `_`, because fields are parted by white space; an empty id
/// becomes `_` as well.
#[must_use]
pub fn write(file_id: &str, turns: &[LabelledTurn]) -> String {
    let file_id = field(file_id);
    let mut out = String::new();
    for turn in turns {
        writeln!(
            out,
            "SPEAKER {file_id} 1 {} {} <NA> <NA> {} <NA> <NA>",
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
    use crate::speech::time::Millis;

    fn turn(start: u64, end: u64, speaker: &str) -> LabelledTurn {
        LabelledTurn { start: Millis::new(start), end: Millis::new(end), speaker: speaker.to_owned() }
    }

    #[test]
    fn ten_fields_and_three_places() {
        let turns = [turn(0, 2_800, "SPEAKER_00"), turn(2_500, 4_017, "SPEAKER_01")];
        assert_eq!(
            write("my call\t1\n.wav", &turns),
            "SPEAKER my_call_1_.wav 1 0.000 2.800 <NA> <NA> SPEAKER_00 <NA> <NA>\n\
             SPEAKER my_call_1_.wav 1 2.500 1.517 <NA> <NA> SPEAKER_01 <NA> <NA>\n"
        );
        assert!(write("", &turns[..1]).starts_with("SPEAKER _ 1 "));
        assert_eq!(write("silence", &[]), "");
    }
}
