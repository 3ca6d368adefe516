//! What a terminal shows of a result: the turns, then one line for each speaker with its share of the speech and where
//! in the recording it lies. At most [`WIDTH_MAX`] columns.

use std::fmt::Write as _;

use super::printable::at_most;
use crate::speech::result_document::{Document, LabelledTurn};
use crate::speech::time::Millis;

/// Widest line, columns.
pub const WIDTH_MAX: usize = 80;
/// Columns of a speaker's name in the summary.
const NAME_WIDTH: usize = 16;
/// Columns of a speaker's lane in the summary.
const LANE_WIDTH: usize = 28;
/// A cell of a lane by how much of it is speech, in eighths.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The turns, one a line, at most `turns_max` of them; a last line counts those left off.
#[must_use]
pub fn turns(document: &Document, turns_max: usize) -> String {
    if document.diarization.is_empty() {
        return "  nobody speaks\n".to_owned();
    }
    let last = document.diarization.iter().map(|t| t.end).max().unwrap_or_default();
    let (start, end) = ("start", "end");
    let width = clock(last, last).chars().count().max(start.len());
    let mut out = format!("  {start:>width$}  {end:>width$}    length  speaker\n");
    for turn in document.diarization.iter().take(turns_max) {
        let (start, end) = (clock(turn.start, last), clock(turn.end, last));
        let length = seconds(turn.length());
        let name = at_most(document.shown(&turn.speaker), WIDTH_MAX - 2 * width - 16);
        writeln!(out, "  {start:>width$}  {end:>width$}  {length:>8}  {name}").expect("writing to memory");
    }
    if let left @ 1.. = document.diarization.len().saturating_sub(turns_max) {
        writeln!(out, "  … and {left} more").expect("writing to memory");
    }
    out
}

/// One line for each speaker: name, lane, seconds of speech, share of all speech, number of turns.
#[must_use]
pub fn summary(document: &Document) -> String {
    let mut out = String::new();
    if document.speakers.is_empty() {
        return out;
    }
    let all: u64 = document.speaker_details.iter().map(|d| d.speech.get()).sum();
    let end = document.diarization.iter().map(|t| t.end).max().unwrap_or_default();
    let length = document.audio.duration.max(end);
    writeln!(
        out,
        "  {:NAME_WIDTH$}  {:LANE_WIDTH$}  {:>9}  {:>7}  {:>5}",
        "speaker", "when", "speech", "share", "turns"
    )
    .expect("writing to memory");
    for detail in &document.speaker_details {
        let name = at_most(detail.shown(), NAME_WIDTH);
        let lane = lane(document.diarization.iter().filter(|t| t.speaker == detail.label), length);
        let speech = format!("{} s", tenths(detail.speech));
        let share = format!("{} %", share(detail.speech.get(), all));
        writeln!(out, "  {name:NAME_WIDTH$}  {lane}  {speech:>9}  {share:>7}  {:>5}", detail.turns)
            .expect("writing to memory");
    }
    let together = overlapped(&document.diarization);
    if together > Millis::new(0) {
        writeln!(out, "  {} s with two or more at once", tenths(together)).expect("writing to memory");
    }
    out
}

/// Minutes and seconds, with hours when the recording has them.
fn clock(time: Millis, last: Millis) -> String {
    let hundredths = (time.get() + 5) / 10;
    let (s, h) = (hundredths / 100, hundredths % 100);
    if last.get() < 3_600_000 {
        format!("{}:{:02}.{h:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}.{h:02}", s / 3600, s / 60 % 60, s % 60)
    }
}

fn seconds(time: Millis) -> String {
    let hundredths = (time.get() + 5) / 10;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn tenths(time: Millis) -> String {
    let tenths = (time.get() + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `part` of `whole` in percent with one place.
fn share(part: u64, whole: u64) -> String {
    let permille = (part * 1000 + whole / 2).checked_div(whole).unwrap_or(0);
    format!("{}.{}", permille / 10, permille % 10)
}

/// How much of each of [`LANE_WIDTH`] equal cells is speech. Any speech shows, and only a full cell is full.
fn lane<'a>(turns: impl Iterator<Item = &'a LabelledTurn>, length: Millis) -> String {
    let cells = LANE_WIDTH as u64;
    // In units of 1/cells ms, so that cell borders are whole numbers.
    let mut speech = [0_u64; LANE_WIDTH];
    let cell_length = length.get().max(1);
    for turn in turns {
        let (start, end) = (turn.start.get() * cells, turn.end.get().min(length.get()) * cells);
        let mut at = start;
        while at < end {
            let cell = at / cell_length;
            let stop = end.min((cell + 1) * cell_length);
            speech[usize::try_from(cell).expect("a cell index is small").min(LANE_WIDTH - 1)] += stop - at;
            at = stop;
        }
    }
    let level = |part: u64| match part {
        0 => 0,
        part if part >= cell_length => 8,
        part => usize::try_from(part * 8 / cell_length).expect("at most 8").clamp(1, 7),
    };
    speech.iter().map(|&part| LEVELS[level(part)]).collect()
}

/// Time during which two or more turns hold.
fn overlapped(turns: &[LabelledTurn]) -> Millis {
    let mut edges: Vec<(Millis, i32)> = turns.iter().flat_map(|t| [(t.start, 1), (t.end, -1)]).collect();
    edges.sort_unstable();
    let (mut active, mut since, mut total) = (0, Millis::default(), 0);
    for (at, change) in edges {
        if active >= 2 {
            total += at.since(since).get();
        }
        active += change;
        since = at;
    }
    Millis::new(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::render::example;

    #[test]
    fn turns_and_summary_read_well() {
        let document = example::without_transcript();
        assert_eq!(
            turns(&document, 10),
            "    start      end    length  speaker\n\
             \u{20}\u{20}0:00.00  0:02.80      2.80  SPEAKER_00\n\
             \u{20}\u{20}0:02.50  0:06.00      3.50  SPEAKER_01\n\
             \u{20}\u{20}0:08.00  0:09.25      1.25  SPEAKER_00\n"
        );
        assert_eq!(turns(&document, 2).lines().last(), Some("  … and 1 more"));
        let text = summary(&document);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  SPEAKER_00        ███████▆              ▄██▇        4.1 s   53.6 %      2");
        assert_eq!(lines[2], "  SPEAKER_01               █████████▆                 3.5 s   46.4 %      1");
        assert_eq!(lines[3], "  0.3 s with two or more at once");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH_MAX));
    }

    #[test]
    fn hours_and_long_names_stay_within_the_width() {
        let mut document = example::without_transcript();
        document.diarization[2].start = Millis::new(86_399_000);
        document.diarization[2].end = Millis::new(86_399_999);
        document.speaker_details[0].name = Some("\u{1b}[2JMaximiliana ".repeat(9));
        let text = turns(&document, 10) + &summary(&document);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
        assert!(text.contains("23:59:59.00  24:00:00.00"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn silence_says_so() {
        let mut document = example::without_transcript();
        (document.diarization, document.speakers) = (Vec::new(), Vec::new());
        assert_eq!(turns(&document, 10), "  nobody speaks\n");
        assert_eq!(summary(&document), "");
    }
}
