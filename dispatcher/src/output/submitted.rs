//! What became of a submission.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::job::record::JobRecord;
use common::port::job_store::Inserted;
use common::speech::render::printable::one_line;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{failure_text, is_watched, records};
use crate::submit::{Event, Outcome};

/// What a submission prints.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// For stdout: an id or a record a line.
    pub accepted: String,
    /// For stderr: what a person may want to know.
    pub notes: String,
    /// For stderr: what went wrong.
    pub failed: String,
}

/// The records of everything that was accepted.
pub fn accepted(outcome: &Outcome) -> impl Iterator<Item = &JobRecord> {
    outcome.submitted.iter().filter_map(|submitted| match &submitted.inserted {
        Inserted::Accepted(record) | Inserted::Cached(record) | Inserted::Same(record) => Some(record),
        Inserted::Poison { .. } => None,
    })
}

/// What to print.
#[must_use]
pub fn told(outcome: &Outcome, json: bool) -> Told {
    let mut told = Told::default();
    for record in accepted(outcome) {
        told.accepted.push_str(&if json { records::json(record) } else { format!("{}\n", record.id) });
    }
    for submitted in &outcome.submitted {
        let name = one_line(&submitted.name);
        let written = match &submitted.inserted {
            Inserted::Accepted(_) => Ok(()),
            Inserted::Cached(record) => {
                if let Some(problem) = &record.output_problem {
                    writeln!(
                        told.failed,
                        "error: the documents of `{name}` cannot be copied: {}\n\
                         hint: they are complete in the store: `rollcall result {}`",
                        one_line(problem),
                        record.id
                    )
                    .expect("writing to memory");
                }
                match record.cached_from {
                    Some(job) => writeln!(told.notes, "note: `{name}` was done before, by job {job}"),
                    None => Ok(()),
                }
            }
            Inserted::Same(record) => {
                writeln!(
                    told.notes,
                    "note: `{name}` was submitted before under this key, as job {}",
                    record.id
                )
            }
            Inserted::Poison { job } => writeln!(
                told.failed,
                "error: this content made workers crash: `{name}`\n\
                 caused by: job {job} was given up after crashes in which it was its worker's only job\n\
                 hint: `rollcall status {job}` says more; `--force` submits it all the same"
            ),
        };
        written.expect("writing to memory");
    }
    let waiting =
        outcome.submitted.iter().any(|submitted| matches!(submitted.inserted, Inserted::Accepted(_)));
    if outcome.is_alone && waiting {
        told.notes.push_str("note: no worker is alive; `rollcall-worker serve` starts one\n");
    }
    if let Some(error) = &outcome.silent {
        writeln!(
            told.failed,
            "warning: the jobs are recorded, but the queue was not told: {}\n\
             hint: they start once a worker or `rollcall serve` reaches the queue",
            one_line(&error.to_string())
        )
        .expect("writing to memory");
    }
    if let Some(error) = &outcome.stopped {
        told.failed.push_str(&failure_text(error));
    }
    told
}

/// Shows on a terminal what is being uploaded and how many recordings have their job.
pub struct Uploads {
    line: ProgressBar,
    done: AtomicUsize,
}

impl Uploads {
    /// Shows nothing before the first upload, and nothing at all where nobody looks.
    #[must_use]
    pub fn new() -> Self {
        let target = if is_watched() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let line = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
            line.set_style(style);
        }
        Self { line, done: AtomicUsize::new(0) }
    }

    /// Something happened.
    pub fn heard(&self, event: Event<'_>) {
        match event {
            Event::Uploading { name, bytes } => {
                let done = self.done.load(Ordering::Relaxed);
                self.line.set_message(format!(
                    "{done} submitted, sending {} ({})",
                    one_line(name),
                    HumanBytes(bytes)
                ));
                self.line.tick();
            }
            Event::Done => {
                self.done.fetch_add(1, Ordering::Relaxed);
                self.line.tick();
            }
        }
    }

    /// Removes it.
    pub fn finish(&self) {
        self.line.finish_and_clear();
    }
}

impl Default for Uploads {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::clock::Timestamp;
    use common::job::id::JobId;
    use common::job::spec::{JobSpec, SourceRef};
    use common::port::broker::BrokerError;

    use super::*;
    use crate::submit::Submitted;
    use crate::submit::error::SubmitError;

    #[test]
    fn ids_go_to_stdout_and_everything_else_to_stderr() {
        let id = |n: u8| JobId::new(Timestamp::from_millis(0), [n; 16]);
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a"));
        let record = |n| JobRecord::accepted(id(n), spec.clone(), Duration::ZERO, Timestamp::from_millis(0));
        let submitted = |inserted| Submitted { name: "a\n.wav".to_owned(), inserted };
        let outcome = Outcome {
            submitted: vec![
                submitted(Inserted::Accepted(record(1))),
                submitted(Inserted::Poison { job: id(9) }),
                submitted(Inserted::Same(record(2))),
            ],
            stopped: Some(SubmitError::Missing { uri: "s3://b/x".to_owned() }),
            silent: Some(BrokerError::Unavailable {
                endpoint: "amqp://h".to_owned(),
                detail: "gone".to_owned(),
            }),
            is_alone: true,
        };
        let told = told(&outcome, false);
        assert_eq!(told.accepted, format!("{}\n{}\n", id(1), id(2)));
        assert_eq!(
            told.notes,
            format!(
                "note: `a .wav` was submitted before under this key, as job {}\n\
                 note: no worker is alive; `rollcall-worker serve` starts one\n",
                id(2)
            )
        );
        let lines: Vec<_> = told.failed.lines().collect();
        assert_eq!(lines[0], "error: this content made workers crash: `a .wav`");
        assert!(lines[3].starts_with("warning: the jobs are recorded, but the queue was not told"));
        assert_eq!(lines[5], "error: no such object: `s3://b/x`");
        let json = super::told(&outcome, true);
        assert!(json.accepted.lines().all(|line| line.starts_with("{\"id\":\"")), "{}", json.accepted);
    }
}
