//! What was seen of the fleet, and which look saw each part of it change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::clock::Monotonic;
use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::job::worker::{WorkerInfo, WorkerSeen};
use serde::Serialize;

use crate::http::problem::away;
use crate::wire::queue::QueueDocument;
use crate::wire::record::RecordDocument;
use crate::wire::worker::WorkerDocument;

/// Workers are told at least this often, because the time since each was seen goes on.
const WORKERS_EVERY: Duration = Duration::from_secs(2);

/// What one look gives.
pub enum Look {
    /// The fleet.
    Seen(Box<Seen>),
    /// The job store did not answer.
    Away,
}

/// The fleet at one time.
pub struct Seen {
    queue: Arc<str>,
    workers: Vec<WorkerSeen>,
    jobs: Vec<JobRecord>,
    at: Monotonic,
}

impl Look {
    /// A look that found all of this.
    pub fn seen(
        queue: &QueueDocument,
        workers: Vec<WorkerSeen>,
        jobs: Vec<JobRecord>,
        at: Monotonic,
    ) -> Self {
        Self::Seen(Box::new(Seen { queue: text(queue), workers, jobs, at }))
    }
}

/// A document, and the number of the look at which it became what it is.
#[derive(Debug, Clone)]
struct Part {
    text: Arc<str>,
    changed: u64,
}

#[derive(Debug, Clone)]
struct Job {
    record: Arc<JobRecord>,
    part: Part,
}

/// Everything that was seen last. The default has seen nothing.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    number: u64,
    queue: Option<Part>,
    workers: Option<Part>,
    /// What the workers said of themselves, and when it was told last.
    known: (Vec<WorkerInfo>, Monotonic),
    /// The newest first.
    jobs: Vec<Job>,
    problem: Option<Part>,
}

fn text(document: &impl Serialize) -> Arc<str> {
    serde_json::to_string(document).expect("texts and numbers always have a JSON form").into()
}

impl Snapshot {
    /// How many looks there were.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Jobs that were running.
    pub fn running(&self) -> Vec<JobId> {
        let running = self.jobs.iter().filter(|job| job.record.state == JobState::Running);
        running.map(|job| job.record.id).collect()
    }

    /// What is known after one more look.
    pub fn after(&self, look: Look) -> Self {
        let changed = self.number + 1;
        match look {
            Look::Away => {
                let problem = self.problem.clone().unwrap_or_else(|| Part { text: away().into(), changed });
                Self { number: changed, problem: Some(problem), ..self.clone() }
            }
            Look::Seen(seen) => {
                let Seen { queue, workers, jobs, at } = *seen;
                let (workers, known) = self.workers_after(&workers, at, changed);
                Self {
                    number: changed,
                    queue: Some(Part { text: queue, changed }),
                    workers: Some(workers),
                    known,
                    jobs: self.jobs_after(jobs, changed),
                    problem: None,
                }
            }
        }
    }

    fn workers_after(
        &self,
        workers: &[WorkerSeen],
        at: Monotonic,
        changed: u64,
    ) -> (Part, (Vec<WorkerInfo>, Monotonic)) {
        let infos: Vec<_> = workers.iter().map(|seen| seen.info.clone()).collect();
        let last = self.workers.as_ref().filter(|_| infos == self.known.0);
        if let Some(last) = last.filter(|_| at.since(self.known.1) < WORKERS_EVERY) {
            return (last.clone(), self.known.clone());
        }
        let documents: Vec<_> = workers.iter().map(WorkerDocument::from).collect();
        (Part { text: text(&documents), changed }, (infos, at))
    }

    fn jobs_after(&self, jobs: Vec<JobRecord>, changed: u64) -> Vec<Job> {
        let known: HashMap<JobId, &Job> = self.jobs.iter().map(|job| (job.record.id, job)).collect();
        let job = |record: JobRecord| match known.get(&record.id) {
            Some(job) if *job.record == record => (*job).clone(),
            _ => {
                let part = Part { text: text(&RecordDocument::new(&record)), changed };
                Job { record: Arc::new(record), part }
            }
        };
        jobs.into_iter().map(job).collect()
    }

    /// What has changed since the look of that number, by the name of its event: the queue, the workers, then jobs, the
    /// oldest first. `first` asks for queue and workers, changed or not. While the job store is away, only that is told.
    pub fn events(&self, since: u64, first: bool) -> impl Iterator<Item = (&'static str, Arc<str>)> {
        let new = |part: &&Part, always: bool| always || part.changed > since;
        let problem = self.problem.as_ref().filter(|part| new(part, first)).map(|part| ("problem", part));
        let there = self.problem.is_none();
        let fleet = [("queue", &self.queue), ("workers", &self.workers)];
        let fleet = fleet.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)));
        let fleet = fleet.filter(move |(_, part)| there && new(part, first));
        let jobs = self.jobs.iter().rev().map(|job| ("job", &job.part));
        let jobs = jobs.filter(move |(_, part)| there && new(part, false));
        let told: Vec<_> = problem.into_iter().chain(fleet).chain(jobs).collect();
        told.into_iter().map(|(name, part)| (name, part.text.clone())).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::job::spec::{JobSpec, SourceRef};
    use common::job::worker::WorkerId;
    use common::port::job_store::QueueStatus;

    use super::*;

    fn queue() -> QueueDocument {
        QueueDocument::from(&QueueStatus::default())
    }

    fn worker(jobs: u32, last_seen_ms: u64) -> WorkerSeen {
        let [host, device, device_name, bundle, version] = ["h", "cpu", "c", "b", "1"].map(str::to_owned);
        let id = WorkerId::new("w", [0; 16]);
        let (slots, audio_s_per_s, draining) = (2, 0.0, false);
        let info = WorkerInfo {
            id,
            host,
            device,
            device_name,
            bundle,
            version,
            jobs,
            slots,
            audio_s_per_s,
            capacity: None,
            draining,
        };
        WorkerSeen { info, last_seen: Duration::from_millis(last_seen_ms) }
    }

    fn job(n: u64, state: JobState) -> JobRecord {
        let id = JobId::new(Timestamp::from_millis(n), [0; 16]);
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a"));
        JobRecord { state, ..JobRecord::accepted(id, spec, Duration::ZERO, Timestamp::from_millis(n)) }
    }

    fn seen(workers: Vec<WorkerSeen>, jobs: Vec<JobRecord>, at_ms: u64) -> Look {
        Look::seen(&queue(), workers, jobs, Monotonic::from_millis(at_ms))
    }

    /// Names of the events, and the state in a job's.
    fn told(snapshot: &Snapshot, since: u64, first: bool) -> Vec<String> {
        let shown = |(name, text): (&str, Arc<str>)| {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            format!("{name} {}", value["state"].as_str().unwrap_or_default()).trim_end().to_owned()
        };
        snapshot.events(since, first).map(shown).collect()
    }

    #[test]
    fn only_changes_of_jobs_are_told() {
        let jobs = |second| vec![job(2, second), job(1, JobState::Available)];
        let one = Snapshot::default().after(seen(vec![], jobs(JobState::Available), 0));
        assert_eq!(told(&one, 0, true), ["queue", "workers", "job available", "job available"]);
        let two = one.after(seen(vec![], jobs(JobState::Available), 1000));
        assert_eq!(told(&two, 1, false), ["queue"]);
        let three = two.after(seen(vec![], jobs(JobState::Running), 1100));
        assert_eq!(told(&three, 2, false), ["queue", "job running"]);
        assert_eq!((two.running(), three.running()), (vec![], vec![job(2, JobState::Running).id]));
        assert_eq!(told(&three, 1, false), ["queue", "job running"], "a look may be missed");
        assert_eq!(told(&three, 3, false), Vec::<String>::new());
        assert_eq!(told(&three, 3, true), ["queue", "workers"], "who is new knows the jobs from elsewhere");
        let four =
            three.after(seen(vec![], vec![job(3, JobState::Available), job(2, JobState::Running)], 1200));
        assert_eq!(told(&four, 3, false), ["queue", "job available"], "one came, one went");
        assert_eq!(four.jobs.len(), 2);
    }

    #[test]
    fn workers_are_told_when_they_change_and_every_two_seconds() {
        let none = Snapshot::default();
        let one = none.after(seen(vec![worker(0, 0)], vec![], 0));
        assert_eq!(told(&one, 0, false), ["queue", "workers"]);
        let two = one.after(seen(vec![worker(0, 1000)], vec![], 1000));
        assert_eq!(told(&two, 1, false), ["queue"], "only time went on");
        let three = two.after(seen(vec![worker(1, 1500)], vec![], 1500));
        assert_eq!(told(&three, 2, false), ["queue", "workers"]);
        let four = three.after(seen(vec![worker(1, 3499)], vec![], 3499));
        assert_eq!(told(&four, 3, false), ["queue"]);
        let five = four.after(seen(vec![worker(1, 3500)], vec![], 3500));
        assert_eq!(told(&five, 4, false), ["queue", "workers"]);
        let six = five.after(seen(vec![], vec![], 3600));
        assert_eq!(told(&six, 5, false), ["queue", "workers"], "the last one left");
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_by_the_queue() {
        let one = Snapshot::default().after(seen(vec![], vec![job(1, JobState::Available)], 0));
        let two = one.after(Look::Away);
        assert_eq!(told(&two, 1, false), ["problem"]);
        let three = two.after(Look::Away);
        assert_eq!((told(&three, 2, false), told(&three, 2, true)), (vec![], vec!["problem".to_owned()]));
        let four = three.after(seen(vec![], vec![job(1, JobState::Available)], 9000));
        assert_eq!(told(&four, 3, false), ["queue", "workers"]);
        let nothing = Snapshot::default().after(Look::Away);
        assert_eq!(told(&nothing, 0, true), ["problem"], "no document is made up");
    }
}
