//! The invariants, by their ids in the design, looked at after every effect.

use std::collections::{BTreeMap, BTreeSet};

use common::adapter::memory::job_store::MemoryJobStore;
use common::adapter::memory::object_store::MemoryStore;
use common::clock::Timestamp;
use common::job::failure::{FailureClass, FailureCode};
use common::job::id::JobId;
use common::job::lease::LeaseKey;
use common::job::record::{JobRecord, JobState};
use common::job::spec::ContentDigest;
use common::job::transition::Settled;
use common::object_key;
use common::port::job_store::OutboxEntry;
use common::port::object_store::ObjectStore;

use super::world::World;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `J1` to `J11`.
    pub id: &'static str,
    /// What was seen.
    pub detail: String,
}

/// What was just called, as its caller sees it.
#[derive(Debug, Clone)]
pub enum Call {
    /// A lease was asked for; granted under this key.
    Acquired(LeaseKey),
    /// A settlement.
    Settled {
        /// By whom.
        key: LeaseKey,
        /// What became of it.
        settled: Settled,
        /// Whether the attempt failed by its own account: only then may an attempt be counted.
        failed: bool,
    },
    /// Rescue ended a lease.
    LeaseEnded,
    /// A cancel was accepted.
    Cancelled(JobId),
    /// A person's retry was accepted.
    Retried(JobId),
    /// Bells left the outbox.
    BellsDeleted(Vec<OutboxEntry>),
    /// Anything else that can change a record.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    state: JobState,
    token: u64,
    attempts: u32,
    crashes: u32,
    exported: bool,
}

impl Seen {
    fn of(record: &JobRecord) -> Self {
        Self {
            state: record.state,
            token: record.token,
            attempts: record.attempts,
            crashes: record.crashes,
            exported: record.exported_at.is_some(),
        }
    }
}

/// What happened in a run, to see that the interesting things do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Jobs that completed.
    pub completed: u64,
    /// Jobs discarded for a failure.
    pub discarded: u64,
    /// Jobs discarded for crashes.
    pub worker_lost: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that were waiting for another attempt.
    pub retryable: u64,
    /// Leases that rescue ended.
    pub leases_ended: u64,
    /// Leases that were handed back.
    pub handed_back: u64,
    /// Settlements by somebody whose lease was lost.
    pub settled_late: u64,
    /// Settlements repeated because an answer was lost.
    pub settled_again: u64,
    /// Retries by a person.
    pub retried: u64,
    /// Bells rung again.
    pub rung: u64,
    /// Jobs of which a worker was told that no notice came.
    pub unheard: u64,
    /// Exports by rescue.
    pub exports_rescued: u64,
    /// Folders of lost attempts that were emptied.
    pub swept: u64,
}

impl Coverage {
    /// Every count with its name.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 14] {
        [
            ("completed", self.completed),
            ("discarded", self.discarded),
            ("worker_lost", self.worker_lost),
            ("cancelled", self.cancelled),
            ("retryable", self.retryable),
            ("leases_ended", self.leases_ended),
            ("handed_back", self.handed_back),
            ("settled_late", self.settled_late),
            ("settled_again", self.settled_again),
            ("retried", self.retried),
            ("rung", self.rung),
            ("unheard", self.unheard),
            ("exports_rescued", self.exports_rescued),
            ("swept", self.swept),
        ]
    }
}

/// What is remembered of a run.
#[derive(Debug, Default)]
pub struct Checker {
    /// What was found, the first first.
    pub violations: Vec<Violation>,
    /// What happened.
    pub coverage: Coverage,
    seen: BTreeMap<JobId, Seen>,
    settled: BTreeSet<(JobId, u64)>,
    newest_token: BTreeMap<JobId, u64>,
    cancelled: BTreeSet<JobId>,
    /// Notices that the broker took, by job.
    published: BTreeMap<JobId, u64>,
    deleted: BTreeMap<JobId, u64>,
    /// Leases that a planted defect keeps good after rescue ended them.
    pub(super) kept: BTreeMap<JobId, LeaseKey>,
}

impl Checker {
    fn found(&mut self, id: &'static str, detail: String) {
        self.violations.push(Violation { id, detail });
    }

    /// The broker took a notice.
    pub fn published(&mut self, job: JobId) {
        *self.published.entry(job).or_default() += 1;
    }

    /// After every effect on the job store.
    pub fn observe(&mut self, call: &Call, jobs: &MemoryJobStore, objects: &MemoryStore) {
        match call {
            Call::Acquired(key) => {
                let newest = self.newest_token.entry(key.job).or_default();
                *newest = key.token.max(*newest);
            }
            Call::Settled { key, settled: Settled::Applied(_), .. } => self.settlement(key),
            Call::Settled { settled: Settled::Lost, .. } => self.coverage.settled_late += 1,
            Call::Settled { settled: Settled::Already(_), .. } => self.coverage.settled_again += 1,
            Call::Cancelled(job) => {
                self.cancelled.insert(*job);
            }
            Call::Retried(job) => {
                self.cancelled.remove(job);
                self.coverage.retried += 1;
            }
            Call::BellsDeleted(entries) => self.bells_deleted(entries),
            Call::LeaseEnded | Call::Other => {}
        }
        let mut changed = Vec::new();
        jobs.for_each(|record| {
            let new = Seen::of(record);
            let old = self.seen.get(&record.id);
            if old != Some(&new) {
                changed.push((old.cloned(), new, record.clone()));
            }
        });
        for (old, new, record) in changed {
            if let Some(old) = &old {
                self.change(old, &record, call);
            }
            if new.state == JobState::Completed && old.is_none_or(|old| old.state != JobState::Completed) {
                self.completion(&record, objects);
            }
            self.seen.insert(record.id, new);
        }
    }

    fn settlement(&mut self, key: &LeaseKey) {
        if !self.settled.insert((key.job, key.token)) {
            self.found("J2", format!("{key:?} was settled twice"));
        }
        let newest = self.newest_token.get(&key.job).copied().unwrap_or(0);
        if key.token < newest {
            self.found("J2", format!("{key:?} was settled after token {newest} was given"));
        }
    }

    fn bells_deleted(&mut self, entries: &[OutboxEntry]) {
        for entry in entries {
            let deleted = self.deleted.entry(entry.job).or_default();
            *deleted += 1;
            if *deleted > self.published.get(&entry.job).copied().unwrap_or(0) {
                self.found("J7", format!("{entry:?} left the outbox without having been published"));
            }
        }
    }

    fn change(&mut self, old: &Seen, new: &JobRecord, call: &Call) {
        let id = new.id;
        let became = new.state != old.state;
        if new.token < old.token {
            self.found("J2", format!("the token of {id} fell from {} to {}", old.token, new.token));
        }
        let retried = matches!(call, Call::Retried(job) if *job == id);
        if became && old.state.is_final() && (!retried || old.state == JobState::Completed) {
            self.found("J6", format!("{id} went from {:?} to {:?} by {call:?}", old.state, new.state));
        }
        if old.exported && new.exported_at.is_none() {
            self.found("J6", format!("{id} is not exported any more"));
        }
        let limits = new.spec.limits;
        if new.attempts > limits.attempts_max || new.crashes > limits.crashes_max {
            self.found("J5", format!("{id}: {} attempts, {} crashes", new.attempts, new.crashes));
        }
        let failed = matches!(call, Call::Settled { key, failed: true, .. } if key.job == id);
        if new.attempts > old.attempts && !failed {
            self.found("J5", format!("an attempt of {id} was counted by {call:?}"));
        }
        if new.crashes > old.crashes && !matches!(call, Call::LeaseEnded) {
            self.found("J5", format!("a crash of {id} was counted by {call:?}"));
        }
        if became && new.state == JobState::Completed && self.cancelled.contains(&id) {
            self.found("J9", format!("{id} completed after it was cancelled"));
        }
        if became && new.state == JobState::Discarded {
            self.discard(new);
        }
        self.cover(old, new, became);
    }

    fn cover(&mut self, old: &Seen, new: &JobRecord, became: bool) {
        let cover = &mut self.coverage;
        cover.leases_ended += u64::from(new.crashes > old.crashes);
        let back = became && old.state == JobState::Running && new.state == JobState::Available;
        cover.handed_back += u64::from(back && new.crashes == old.crashes);
        let lost = new.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::WorkerLost);
        match new.state {
            _ if !became => {}
            JobState::Completed => cover.completed += 1,
            JobState::Discarded if lost => cover.worker_lost += 1,
            JobState::Discarded => cover.discarded += 1,
            JobState::Cancelled => cover.cancelled += 1,
            JobState::Retryable => cover.retryable += 1,
            JobState::Scheduled | JobState::Available | JobState::Running => {}
        }
    }

    fn discard(&mut self, record: &JobRecord) {
        let limits = record.spec.limits;
        let just = record.failure.as_ref().is_some_and(|failure| match failure.code {
            FailureCode::AttemptsExhausted => record.attempts == limits.attempts_max,
            FailureCode::WorkerLost => record.crashes == limits.crashes_max,
            _ => failure.class == FailureClass::Permanent,
        });
        if !just {
            self.found("J10", format!("{} was discarded without a reason: {:?}", record.id, record.failure));
        }
    }

    fn completion(&mut self, record: &JobRecord, objects: &MemoryStore) {
        match object_key::result_source(record) {
            Some(folder) => self.documents(record, &folder, objects),
            None => self.found("J3", format!("{} completed without a result", record.id)),
        }
    }

    fn documents(&mut self, record: &JobRecord, folder: &str, objects: &MemoryStore) {
        for document in record.result.iter().flat_map(|result| &result.documents) {
            let key = format!("{folder}{}", document.name);
            let bytes = World::at_once(objects.read(&key, 1 << 20));
            let digest = bytes.as_ref().map(|bytes| ContentDigest::of(bytes));
            if digest != Ok(document.sha256) {
                self.found("J3", format!("{key} is not what the record says: {digest:?}"));
            }
        }
    }

    /// A worker starts a stage, or writes a document.
    pub fn stage(&mut self, key: &LeaseKey, jobs: &MemoryJobStore, now: Timestamp) {
        let mut held = false;
        jobs.for_each(|record| held |= record.is_held_by(key) && record.lease_expires_at > Some(now));
        if !held {
            self.found("J8", format!("a stage started at {now} without the lease {key:?}"));
        }
    }

    /// Something was written to the object store.
    pub fn written(&mut self, to: &str, from: Option<&str>, jobs: &MemoryJobStore) {
        let Some((job, name)) = to.strip_prefix(object_key::RESULTS).and_then(|rest| rest.split_once('/'))
        else {
            return;
        };
        if name.contains('/') {
            return; // an attempt's own folder: visible to nobody
        }
        let mut settled = false;
        jobs.for_each(|record| {
            let source = object_key::result_source(record).map(|folder| format!("{folder}{name}"));
            let same = record.id.to_string() == job && source.as_deref() == from;
            settled |= same && record.state == JobState::Completed;
        });
        if !settled {
            self.found("J4", format!("{to} became visible from {from:?}, which was not settled"));
        }
    }

    /// At the end of a run.
    pub fn end(&mut self, quiet: bool, jobs: &MemoryJobStore, objects: &MemoryStore) {
        let (mut open, mut completed) = (Vec::new(), Vec::new());
        jobs.for_each(|record| {
            if record.state == JobState::Completed {
                completed.push(record.clone());
            }
            let exported = record.state != JobState::Completed || record.exported_at.is_some();
            if !record.state.is_final() || !exported {
                open.push(format!("{} is {:?}", record.id, record.state));
            }
        });
        if !open.is_empty() {
            self.found("J1", open.join(", "));
        } else if !quiet {
            self.found("J1", "the run does not come to rest".to_owned());
        }
        for record in completed.iter().filter(|record| record.exported_at.is_some()) {
            self.documents(record, &object_key::results(record.id), objects);
        }
    }

    /// The broker holds more than it should: only where nobody takes from it, so that every job it rings for is there.
    pub fn crowded(&mut self, messages: usize, allowed: usize) {
        if messages > allowed {
            self.found("J11", format!("{messages} messages, at most {allowed} expected"));
        }
    }
}
