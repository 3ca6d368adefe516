//! Scores: a table, or one JSON document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use common::speech::der::Score;
use common::speech::render::printable::at_most;
use serde::Serialize;

use super::{print, to_stderr};
use crate::command::score::{Recording, Report};

/// Prints the scores: a table, or one JSON document.
///
/// # Errors
/// When stdout cannot be written.
pub fn score(report: &Report, json: bool) -> io::Result<()> {
    for note in &report.notes {
        to_stderr(&format!("note: {note}\n"));
    }
    print(&if json { score_json(report) } else { score_table(report) })
}

/// Columns of a file id; a table of scores is at most 80 columns wide.
const FILE_WIDTH: usize = 22;

fn score_table(report: &Report) -> String {
    let widest = report.recordings.iter().map(|r| r.file.chars().count()).max().unwrap_or(0);
    let width = widest.clamp(5, FILE_WIDTH);
    let mut out = format!(
        "{:width$}  {:>9}  {:>6}  {:>6}  {:>6}  {:>9}  {:>8}\n",
        "file", "DER", "miss", "false", "conf.", "JER", "speech"
    );
    let mut row = |name: &str, score: &Score| {
        let name = at_most(name, width);
        let part = |part_s| percent(score.of_reference(part_s));
        writeln!(
            out,
            "{name:width$}  {:>7} %  {:>6}  {:>6}  {:>6}  {:>7} %  {:>6.1} s",
            percent(score.der()),
            part(score.missed_s),
            part(score.false_alarm_s),
            part(score.confusion_s),
            percent(score.jer()),
            score.reference_s
        )
        .expect("writing to memory");
    };
    for recording in &report.recordings {
        row(&recording.file, &recording.score);
    }
    if report.recordings.len() > 1 {
        row("TOTAL", &report.total);
    }
    let region = if report.has_regions { "the given regions" } else { "first to last turn" };
    writeln!(out, "collar {} s, overlapped speech scored, {region}", report.collar_s)
        .expect("writing to memory");
    out
}

fn percent(ratio: f64) -> String {
    if ratio.is_finite() { format!("{:.2}", 100.0 * ratio) } else { "inf".to_owned() }
}

#[derive(Serialize)]
struct ScoreDocument<'a> {
    files: Vec<RecordingDocument<'a>>,
    total: ScoreFields,
    collar_s: f64,
}

#[derive(Serialize)]
struct RecordingDocument<'a> {
    file: &'a str,
    #[serde(flatten)]
    score: ScoreFields,
    mapping: BTreeMap<&'a str, &'a str>,
}

/// Ratios that are infinite are `null`.
#[derive(Serialize)]
struct ScoreFields {
    der: f64,
    jer: f64,
    total_s: f64,
    missed_s: f64,
    false_alarm_s: f64,
    confusion_s: f64,
    speakers_ref: usize,
    speakers_hyp: usize,
}

impl From<&Score> for ScoreFields {
    fn from(score: &Score) -> Self {
        Self {
            der: score.der(),
            jer: score.jer(),
            total_s: score.reference_s,
            missed_s: score.missed_s,
            false_alarm_s: score.false_alarm_s,
            confusion_s: score.confusion_s,
            speakers_ref: score.reference_speakers,
            speakers_hyp: score.hypothesis_speakers,
        }
    }
}

impl<'a> From<&'a Recording> for RecordingDocument<'a> {
    fn from(recording: &'a Recording) -> Self {
        Self {
            file: &recording.file,
            score: (&recording.score).into(),
            mapping: recording.mapping.iter().map(|(r, h)| (r.as_str(), h.as_str())).collect(),
        }
    }
}

fn score_json(report: &Report) -> String {
    let document = ScoreDocument {
        files: report.recordings.iter().map(Into::into).collect(),
        total: (&report.total).into(),
        collar_s: report.collar_s,
    };
    let mut text = serde_json::to_string(&document).expect("a score has string keys only");
    text.push('\n');
    text
}
