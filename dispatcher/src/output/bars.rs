//! Progress of jobs on stderr: bars on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::speech::render::printable::at_most;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::records::{ended, stage_word};
use super::to_stderr;

/// Most bars at a time; the others show in the count below them.
const BARS_MAX: usize = 12;
/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Columns of a name.
const NAME_WIDTH: usize = 24;

/// What is shown of several jobs.
pub struct Bars {
    all: MultiProgress,
    terminal: bool,
    /// One for each job that runs, as far as there is room.
    running: BTreeMap<JobId, ProgressBar>,
    total: ProgressBar,
    states: BTreeMap<JobId, JobState>,
    /// How many jobs are in each state.
    counts: BTreeMap<JobState, usize>,
    over: usize,
    last_line: Option<Instant>,
}

impl Bars {
    /// Shows `jobs` jobs; bars only where `terminal`.
    #[must_use]
    pub fn new(jobs: usize, terminal: bool) -> Self {
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let total = all.add(ProgressBar::new(jobs as u64));
        if let Ok(style) = ProgressStyle::with_template("  {pos} of {len} done  {msg}") {
            total.set_style(style);
        }
        Self {
            all,
            terminal,
            running: BTreeMap::new(),
            total,
            states: BTreeMap::new(),
            counts: BTreeMap::new(),
            over: 0,
            last_line: None,
        }
    }

    /// A job was looked at.
    pub fn seen(&mut self, record: &JobRecord) {
        let before = self.states.insert(record.id, record.state);
        *self.counts.entry(record.state).or_default() += 1;
        if let Some(count) = before.and_then(|before| self.counts.get_mut(&before)) {
            *count -= 1;
        }
        if record.is_over() {
            self.end(record);
        } else if record.state == JobState::Running && self.terminal {
            self.advance(record);
        } else if before == Some(JobState::Running)
            && let Some(bar) = self.running.remove(&record.id)
        {
            bar.finish_and_clear();
        }
        self.count();
    }

    /// Removes the bars; what ended stays.
    pub fn finish(&self) {
        self.total.finish_and_clear();
    }

    fn end(&mut self, record: &JobRecord) {
        if let Some(bar) = self.running.remove(&record.id) {
            bar.finish_and_clear();
        }
        self.over += 1;
        let line = ended(record);
        if self.terminal {
            // An error means that stderr is gone, and with it the reader.
            let _ = self.all.println(line);
        } else {
            to_stderr(&format!("{line}\n"));
        }
    }

    fn advance(&mut self, record: &JobRecord) {
        if !self.running.contains_key(&record.id) {
            if self.running.len() >= BARS_MAX {
                return;
            }
            let bar = self.all.insert_before(&self.total, ProgressBar::new(100));
            if let Ok(style) = ProgressStyle::with_template("  {prefix:24} {bar:24} {percent:>3} %  {msg}") {
                bar.set_style(style.progress_chars("━╸ "));
            }
            bar.set_prefix(at_most(record.spec.shown_name(), NAME_WIDTH));
            self.running.insert(record.id, bar);
        }
        if let Some(bar) = self.running.get(&record.id) {
            bar.set_position(record.progress.map_or(0, |progress| progress.percent.into()));
            let stage = stage_word(record).unwrap_or_default();
            let tries = record.attempts + record.crashes;
            bar.set_message(if tries > 0 { format!("{stage}, try {}", tries + 1) } else { stage });
        }
    }

    fn count(&mut self) {
        if self.terminal {
            self.total.set_position(self.over as u64);
            self.total.set_message(words(&self.counts));
        } else if self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) && self.over < self.states.len()
        {
            // The first look comes a job at a time: the line after it counts them all.
            if self.last_line.is_some() {
                let words = words(&self.counts);
                to_stderr(&format!("{} of {} done  {words}\n", self.over, self.states.len()));
            }
            self.last_line = Some(Instant::now());
        }
    }
}

/// `2 running, 5 available`: the states that are not final, in the order of a life backwards.
fn words(counts: &BTreeMap<JobState, usize>) -> String {
    let open = counts.iter().rev().filter(|(state, count)| !state.is_final() && **count > 0);
    let words: Vec<_> = open.map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::job::spec::{JobSpec, SourceRef};

    use super::*;

    #[test]
    fn open_jobs_are_counted_by_state() {
        let counts = [
            (JobState::Available, 2),
            (JobState::Running, 1),
            (JobState::Retryable, 0),
            (JobState::Completed, 5),
        ];
        assert_eq!(words(&counts.into()), "1 running, 2 available");
        assert_eq!(words(&BTreeMap::from([(JobState::Completed, 1)])), "");
    }

    #[test]
    fn a_job_counts_in_the_state_that_it_was_seen_in_last() {
        let mut bars = Bars::new(2, false);
        let mut records = [1, 2].map(|n| {
            let spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
            JobRecord::accepted(
                JobId::new(Timestamp::from_millis(n), [0; 16]),
                spec,
                Duration::ZERO,
                Timestamp::from_millis(0),
            )
        });
        records.iter().for_each(|record| bars.seen(record));
        assert_eq!(words(&bars.counts), "2 available");
        records[0].state = JobState::Running;
        bars.seen(&records[0]);
        bars.seen(&records[0]);
        assert_eq!(words(&bars.counts), "1 running, 1 available");
    }
}
