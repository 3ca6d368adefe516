//! Records of jobs: blocks, tables, JSON, and the line about an end.

use std::fmt::Write as _;

use common::clock::Timestamp;
use common::job::record::{JobRecord, JobState};
use common::job::transition::{Cancel, Retried};
use common::speech::render::printable::one_line;

use super::json_line;
use super::length::short;
use super::table::Table;
use crate::command::dead::Purged;
use crate::command::jobs::Changed;
use crate::wire::record::{RecordDocument, folder};

/// A record as a JSON line.
#[must_use]
pub fn json(record: &JobRecord) -> String {
    json_line(&RecordDocument::new(record))
}

/// Records as a JSON array in one line.
#[must_use]
pub fn json_array(records: &[JobRecord]) -> String {
    json_line(&records.iter().map(RecordDocument::new).collect::<Vec<_>>())
}

/// The word for a stage.
pub(super) fn stage_word(record: &JobRecord) -> Option<String> {
    let progress = record.progress?;
    let word = serde_json::to_value(progress.stage).ok()?;
    word.as_str().map(str::to_owned)
}

/// `running (embedding, 62 %)`
fn state_words(record: &JobRecord) -> String {
    let mut words = record.state.as_str().to_owned();
    if let (Some(stage), Some(progress)) = (stage_word(record), record.progress) {
        write!(words, " ({stage}, {} %)", progress.percent).expect("writing to memory");
    }
    if record.cancel_requested && !record.state.is_final() {
        words.push_str(", to be stopped");
    }
    words
}

/// Everything about one job, a line each.
#[must_use]
pub fn block(record: &JobRecord, now: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(out, "{name:11} {}", one_line(value)).expect("writing to memory");
    };
    line("job", &record.id.to_string());
    line("state", &state_words(record));
    line("audio", &record.spec.audio.uri);
    if record.spec.shown_name() != record.spec.audio.uri.rsplit('/').next().unwrap_or_default() {
        line("name", record.spec.shown_name());
    }
    line("priority", record.spec.lane.as_str());
    for (key, value) in &record.spec.tags {
        line("tag", &format!("{key}={value}"));
    }
    let bundle =
        record.result.as_ref().and_then(|result| result.bundle.as_ref()).or(record.spec.bundle.as_ref());
    if let Some(bundle) = bundle {
        line("bundle", bundle);
    }
    if let Some(worker) = &record.worker {
        line("worker", worker.as_str());
    }
    let counts = format!(
        "{} of {} attempts failed, {} of {} crashes, {} interruptions",
        record.attempts,
        record.spec.limits.attempts_max,
        record.crashes,
        record.spec.limits.crashes_max,
        record.interruptions
    );
    line("tries", &counts);
    let times = [
        ("created", Some(record.created_at)),
        ("available", Some(record.available_at).filter(|at| *at != record.created_at)),
        ("started", record.started_at),
        ("completed", record.completed_at),
        ("exported", record.exported_at),
    ];
    for (name, at) in times {
        if let Some(at) = at {
            let distance = if at > now {
                format!("in {}", short(at.since(now)))
            } else {
                format!("{} ago", short(now.since(at)))
            };
            line(name, &format!("{at}  ({distance})"));
        }
    }
    if let Some(problem) = &record.output_problem {
        line("no output", problem);
    }
    if let Some(job) = record.cached_from {
        line("taken from", &job.to_string());
    }
    if let Some(failure) = &record.failure {
        line("failure", &format!("{}: {}", failure.code.as_str(), failure.detail));
    }
    if let (Some(result), Some(folder)) = (&record.result, folder(record)) {
        for document in &result.documents {
            line("document", &format!("{folder}{}", document.name));
        }
    }
    out
}

/// A line a job.
#[must_use]
pub fn table(records: &[JobRecord], now: Timestamp, width: Option<usize>) -> String {
    let mut table =
        Table::new(&["job", "state", "stage", "age", "audio"]).flexible(4, 8).flexible(2, 5).number(3);
    for record in records {
        let stage = stage_word(record).zip(record.progress);
        let stage =
            stage.map(|(stage, progress)| format!("{stage} {} %", progress.percent)).unwrap_or_default();
        table.row([
            record.id.to_string(),
            record.state.as_str().to_owned(),
            stage,
            short(now.since(record.created_at)),
            record.spec.shown_name().to_owned(),
        ]);
    }
    table.render(width)
}

/// A line a dead letter.
#[must_use]
pub fn dead_table(records: &[JobRecord], now: Timestamp, width: Option<usize>) -> String {
    let mut table =
        Table::new(&["job", "died", "code", "audio", "why"]).flexible(3, 8).flexible(4, 8).number(1);
    for record in records {
        let failure = record.failure.as_ref();
        table.row([
            record.id.to_string(),
            record.completed_at.map(|at| short(now.since(at))).unwrap_or_default(),
            failure.map(|failure| failure.code.as_str().to_owned()).unwrap_or_default(),
            record.spec.shown_name().to_owned(),
            failure.map(|failure| failure.detail.clone()).unwrap_or_default(),
        ]);
    }
    table.render(width)
}

/// How a job ended, in a line.
#[must_use]
pub fn ended(record: &JobRecord) -> String {
    let mut line =
        format!("{}  {}  {}", record.id, record.state.as_str(), one_line(record.spec.shown_name()));
    match (&record.failure, record.state) {
        (_, JobState::Completed) => {
            if let (Some(from), Some(to)) = (record.started_at, record.completed_at) {
                write!(line, "  in {}", short(to.since(from))).expect("writing to memory");
            } else if record.cached_from.is_some() {
                line.push_str("  from the cache");
            }
            if let Some(problem) = &record.output_problem {
                write!(line, "  not copied to {}", one_line(problem)).expect("writing to memory");
            }
        }
        (Some(failure), _) => {
            write!(line, "  {}: {}", failure.code.as_str(), one_line(&failure.detail))
                .expect("writing to memory");
        }
        (None, _) => {}
    }
    line
}

/// What became of jobs, in a line each: on stdout what was done, with the state; the rest is an error text for stderr.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// For stdout.
    pub done: String,
    /// For stderr; empty when all was done.
    pub failed: String,
}

impl Told {
    fn done(&mut self, changed: &str, word: &str) {
        writeln!(self.done, "{changed}  {word}").expect("writing to memory");
    }

    fn unknown(&mut self, job: &str) {
        writeln!(self.failed, "error: no such job: `{job}`").expect("writing to memory");
    }
}

/// What became of cancels. A job that had been cancelled before is no error.
#[must_use]
pub fn cancelled(changed: &[Changed<Cancel>]) -> Told {
    let mut told = Told::default();
    for Changed { job, became } in changed {
        let job = job.to_string();
        match became {
            Some(Cancel::Done | Cancel::Final(JobState::Cancelled)) => told.done(&job, "cancelled"),
            Some(Cancel::Requested) => told.done(&job, "stopping"),
            Some(Cancel::Final(state)) => {
                writeln!(told.failed, "error: the job has ended, it is {}: `{job}`", state.as_str())
                    .expect("writing to memory");
            }
            None => told.unknown(&job),
        }
    }
    told
}

/// What became of retries.
#[must_use]
pub fn retried(changed: &[Changed<Retried>]) -> Told {
    let mut told = Told::default();
    for Changed { job, became } in changed {
        let job = job.to_string();
        match became {
            Some(Retried::Done) => told.done(&job, "available"),
            Some(Retried::Not(state)) => {
                let state = state.as_str();
                writeln!(
                    told.failed,
                    "error: only discarded and cancelled jobs can be tried again, it is {state}: `{job}`"
                )
                .expect("writing to memory");
            }
            None => told.unknown(&job),
        }
    }
    told
}

/// What became of purges.
#[must_use]
pub fn purged(changed: &[Changed<Purged>]) -> Told {
    let mut told = Told::default();
    for Changed { job, became } in changed {
        let job = job.to_string();
        match became {
            Some(Purged::Gone) => told.done(&job, "forgotten"),
            Some(Purged::Not(state)) => {
                writeln!(told.failed, "error: not a dead letter, it is {}: `{job}`", state.as_str())
                    .expect("writing to memory");
            }
            None => told.unknown(&job),
        }
    }
    told
}

/// The ids of forgotten jobs, a JSON line each.
#[must_use]
pub fn forgotten_json(purged: &Told) -> String {
    let ids = purged.done.lines().filter_map(|line| line.split_whitespace().next());
    ids.map(|id| json_line(&serde_json::json!({"id": id, "purged": true}))).collect()
}

#[cfg(test)]
mod tests;
