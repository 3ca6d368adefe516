//! Every legal change of a job, by name.
//!
//! ```text
//! scheduled ─promote→ available ─lease→ running ─complete→ completed        final states: only ─retry→ available
//! retryable ─promote↗     ↑  ↑             ├─retry→ retryable               (from discarded and cancelled)
//!                         │  └─interrupt───┤
//!                         └─end_lease──────┼─discard, end_lease→ discarded
//! scheduled, available, retryable ─cancel→ cancelled ←cancel, or any of these once a cancel is requested
//! ```

use std::time::Duration;

use super::failure::{Failure, FailureCode, Stage};
use super::lease::{LeaseKey, Nonce};
use super::record::{JobRecord, JobState, Progress, StoredResult};
use super::retry::{self, AfterCrash, AfterFailure};
use super::spec::Limits;
use super::worker::WorkerId;
use crate::clock::Timestamp;

/// How the holder of a lease ends it. Made by the named constructors only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition(Ending);

/// What a [`Transition`] says, for the job stores that carry it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The documents exist.
    Completed(StoredResult),
    /// The attempt failed; another follows after the wait.
    Retryable {
        /// Why.
        failure: Failure,
        /// The wait.
        after: Duration,
    },
    /// The attempt failed for good.
    Discarded(Failure),
    /// The attempt was stopped because a cancel was requested.
    Cancelled,
    /// The attempt was handed back; it costs nothing.
    Interrupted,
}

impl Transition {
    /// The work is done and its documents exist.
    #[must_use]
    pub fn complete(result: StoredResult) -> Self {
        Self(Ending::Completed(result))
    }

    /// The attempt failed and another follows. What `retry::after_failure` decided.
    #[must_use]
    pub fn retry(failure: Failure, after: Duration) -> Self {
        Self(Ending::Retryable { failure, after })
    }

    /// The attempt failed for good. What `retry::after_failure` decided.
    #[must_use]
    pub fn discard(failure: Failure) -> Self {
        Self(Ending::Discarded(failure))
    }

    /// The work stopped because a cancel was requested.
    #[must_use]
    pub fn cancel() -> Self {
        Self(Ending::Cancelled)
    }

    /// The worker was told to stop and hands the job back.
    #[must_use]
    pub fn interrupt() -> Self {
        Self(Ending::Interrupted)
    }

    /// What follows when the attempt failed after `attempts` earlier failures, as `retry::after_failure` decides.
    #[must_use]
    pub fn after_failure(failure: Failure, attempts: u32, limits: &Limits, unit: f64) -> Self {
        match retry::after_failure(failure.clone(), attempts, limits, unit) {
            AfterFailure::Retry { after } => Self::retry(failure, after),
            AfterFailure::Discard(last) => Self::discard(last),
            AfterFailure::HandBack => Self::interrupt(),
        }
    }

    /// What it says.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.0
    }
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was applied now; the job is in this state.
    Applied(JobState),
    /// This lease was settled before (the answer to an earlier call was lost); the job is in this state now.
    Already(JobState),
    /// The lease is no longer the job's: nothing was changed, and nothing of this attempt may be shown.
    Lost,
}

/// What became of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The job is cancelled.
    Done,
    /// The job is running; its holder was told to stop, and it can no longer complete.
    Requested,
    /// The job had already ended.
    Final(JobState),
}

/// What became of a retry by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// The job is available again.
    Done,
    /// Only discarded and cancelled jobs can be retried; this one is in another state.
    Not(JobState),
}

/// What became of a lease that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was ended; the job is in this state.
    Now(JobState),
    /// It had been extended, settled or ended before: nothing was changed.
    NotExpired,
}

impl JobRecord {
    /// A job that was just accepted completes at once with the result of `source`.
    ///
    /// # Panics
    /// When `source` is not exported: its stable keys are what this job's documents are copied from.
    pub fn complete_from(&mut self, source: &Self, now: Timestamp) {
        assert!(source.exported_at.is_some(), "only exported results are shared");
        self.finish(JobState::Completed, now);
        self.result.clone_from(&source.result);
        self.cached_from = Some(source.id);
    }

    /// A due job becomes available.
    ///
    /// # Panics
    /// When it is neither scheduled nor retryable.
    pub fn promote(&mut self, now: Timestamp) {
        assert!(
            matches!(self.state, JobState::Scheduled | JobState::Retryable),
            "only waiting jobs fall due"
        );
        self.state = JobState::Available;
        self.available_at = now;
    }

    /// A worker takes an available job.
    ///
    /// # Panics
    /// When it is not available.
    pub fn lease(&mut self, worker: &WorkerId, nonce: Nonce, lasts: Duration, now: Timestamp) -> LeaseKey {
        assert_eq!(self.state, JobState::Available, "only available jobs are leased");
        self.state = JobState::Running;
        self.token += 1;
        self.nonce = Some(nonce);
        self.worker = Some(worker.clone());
        self.started_at = Some(now);
        self.lease_expires_at = Some(now.plus(lasts));
        self.progress = None;
        LeaseKey { job: self.id, token: self.token, nonce }
    }

    /// The holder goes on. `false`, and no change, when the lease is not its own any more or has run out.
    pub fn extend(&mut self, key: &LeaseKey, lasts: Duration, now: Timestamp) -> bool {
        let held = self.is_held_by(key) && self.lease_expires_at > Some(now);
        if held {
            self.lease_expires_at = Some(now.plus(lasts));
        }
        held
    }

    /// The holder says how far it is. `false`, and no change, when the lease is not its own any more.
    pub fn report(&mut self, key: &LeaseKey, progress: Progress) -> bool {
        let held = self.is_held_by(key);
        if held {
            self.progress = Some(progress);
        }
        held
    }

    /// The holder ends its lease. Once a cancel is requested, every ending makes the job cancelled: a cancelled job
    /// never completes. A lease that has run out but was not ended by rescue may still be settled: nobody else has the
    /// job.
    pub fn settle(&mut self, key: &LeaseKey, transition: &Transition, now: Timestamp) -> Settled {
        if self.lease_key() != Some(*key) {
            return Settled::Lost;
        }
        if self.state != JobState::Running {
            return Settled::Already(self.state);
        }
        match transition.ending() {
            _ if self.cancel_requested => self.finish(JobState::Cancelled, now),
            Ending::Cancelled => self.finish(JobState::Cancelled, now),
            Ending::Completed(result) => {
                self.finish(JobState::Completed, now);
                self.failure = None;
                self.result = Some(result.clone());
            }
            Ending::Discarded(failure) => {
                self.finish(JobState::Discarded, now);
                self.attempts += u32::from(failure.code == FailureCode::AttemptsExhausted);
                self.failure = Some(failure.clone());
            }
            Ending::Retryable { failure, after } => {
                self.wait(JobState::Retryable, now.plus(*after));
                self.attempts += 1;
                self.failure = Some(failure.clone());
            }
            Ending::Interrupted => {
                self.wait(JobState::Available, now);
                self.interruptions += 1;
            }
        }
        Settled::Applied(self.state)
    }

    /// Rescue ends a lease that ran out: its token is used up, so that whoever held it can settle nothing any more.
    /// `alone` says whether the job was its worker's only one.
    pub fn end_lease(&mut self, key: &LeaseKey, after: AfterCrash, alone: bool, now: Timestamp) -> Ended {
        if !self.is_held_by(key) || self.lease_expires_at > Some(now) {
            return Ended::NotExpired;
        }
        self.token += 1;
        self.nonce = None;
        self.crashes += 1;
        self.crashes_alone += u32::from(alone);
        let stage = self.progress.map_or(Stage::Fetch, |progress| progress.stage);
        match after {
            _ if self.cancel_requested => self.finish(JobState::Cancelled, now),
            AfterCrash::Again => self.wait(JobState::Available, now),
            AfterCrash::Discard => {
                self.finish(JobState::Discarded, now);
                self.failure = Some(retry::worker_lost(self.crashes, stage));
            }
        }
        Ended::Now(self.state)
    }

    /// Somebody wants the job stopped.
    pub fn request_cancel(&mut self, now: Timestamp) -> Cancel {
        match self.state {
            JobState::Running => {
                self.cancel_requested = true;
                Cancel::Requested
            }
            JobState::Scheduled | JobState::Available | JobState::Retryable => {
                self.finish(JobState::Cancelled, now);
                Cancel::Done
            }
            JobState::Completed | JobState::Discarded | JobState::Cancelled => Cancel::Final(self.state),
        }
    }

    /// Somebody wants a discarded or cancelled job tried again: counts start again, the token keeps growing.
    pub fn retry(&mut self, now: Timestamp) -> Retried {
        if !matches!(self.state, JobState::Discarded | JobState::Cancelled) {
            return Retried::Not(self.state);
        }
        self.wait(JobState::Available, now);
        self.cancel_requested = false;
        (self.attempts, self.crashes, self.crashes_alone, self.interruptions) = (0, 0, 0, 0);
        self.completed_at = None;
        self.failure = None;
        Retried::Done
    }

    fn wait(&mut self, state: JobState, until: Timestamp) {
        self.leave_lease(state);
        self.available_at = until;
    }

    fn finish(&mut self, state: JobState, now: Timestamp) {
        self.leave_lease(state);
        self.completed_at = Some(now);
    }

    fn leave_lease(&mut self, state: JobState) {
        self.state = state;
        self.lease_expires_at = None;
        self.progress = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::failure::FailureClass;
    use crate::job::id::JobId;
    use crate::job::spec::{ContentDigest, JobSpec, SourceRef};

    const LEASE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn worker() -> WorkerId {
        WorkerId::new("w", [1; 16])
    }

    fn running() -> (JobRecord, LeaseKey) {
        let id = JobId::new(at(0), [1; 16]);
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        let mut record = JobRecord::accepted(id, spec, Duration::ZERO, at(0));
        let key = record.lease(&worker(), Nonce::new([1; 16]), LEASE, at(10));
        (record, key)
    }

    fn result() -> StoredResult {
        let document = super::super::record::Document {
            name: "segments.json".into(),
            bytes: 2,
            sha256: ContentDigest::of(b"{}"),
        };
        StoredResult {
            documents: vec![document],
            audio: Duration::from_secs(60),
            audio_sha256: None,
            bundle: None,
            voices: None,
        }
    }

    fn failure(class: FailureClass, code: FailureCode) -> Failure {
        Failure { code, stage: Stage::Fetch, class, detail: "x".into() }
    }

    #[test]
    fn a_job_completes_once() {
        let (mut record, key) = running();
        assert_eq!(
            record.settle(&key, &Transition::complete(result()), at(20)),
            Settled::Applied(JobState::Completed)
        );
        assert_eq!(record.completed_at, Some(at(20)));
        assert_eq!(
            record.settle(&key, &Transition::interrupt(), at(21)),
            Settled::Already(JobState::Completed)
        );
        assert_eq!(record.request_cancel(at(22)), Cancel::Final(JobState::Completed));
        assert_eq!(record.retry(at(23)), Retried::Not(JobState::Completed));
    }

    #[test]
    fn another_token_or_nonce_settles_nothing() {
        let (mut record, key) = running();
        let before = record.clone();
        for wrong in [
            LeaseKey { token: key.token + 1, ..key },
            LeaseKey { token: key.token - 1, ..key },
            LeaseKey { nonce: Nonce::new([2; 16]), ..key },
        ] {
            assert_eq!(record.settle(&wrong, &Transition::complete(result()), at(20)), Settled::Lost);
            assert!(!record.extend(&wrong, LEASE, at(20)));
            assert!(!record.report(&wrong, Progress { stage: Stage::Decode, percent: 1 }));
            assert_eq!(record.end_lease(&wrong, AfterCrash::Again, true, at(90)), Ended::NotExpired);
        }
        assert_eq!(record, before);
    }

    #[test]
    fn a_cancelled_job_never_completes() {
        for transition in [
            Transition::complete(result()),
            Transition::retry(failure(FailureClass::Retryable, FailureCode::Internal), LEASE),
            Transition::discard(failure(FailureClass::Permanent, FailureCode::Internal)),
            Transition::cancel(),
            Transition::interrupt(),
        ] {
            let (mut record, key) = running();
            assert_eq!(record.request_cancel(at(11)), Cancel::Requested);
            assert_eq!(record.settle(&key, &transition, at(12)), Settled::Applied(JobState::Cancelled));
            assert_eq!((record.result, record.attempts), (None, 0));
        }
        let (mut record, key) = running();
        record.request_cancel(at(11));
        assert_eq!(record.end_lease(&key, AfterCrash::Again, true, at(40)), Ended::Now(JobState::Cancelled));
    }

    #[test]
    fn rescue_ends_only_what_ran_out_and_ends_its_token() {
        let (mut record, key) = running();
        assert_eq!(record.end_lease(&key, AfterCrash::Again, true, at(39)), Ended::NotExpired);
        assert!(record.extend(&key, LEASE, at(39)));
        assert_eq!(record.end_lease(&key, AfterCrash::Again, true, at(40)), Ended::NotExpired);
        assert!(!record.extend(&key, LEASE, at(69)), "a lease that ran out is not extended");
        assert_eq!(record.end_lease(&key, AfterCrash::Again, true, at(69)), Ended::Now(JobState::Available));
        assert_eq!(record.settle(&key, &Transition::complete(result()), at(70)), Settled::Lost);
        assert_eq!((record.crashes, record.crashes_alone, record.token), (1, 1, 2));
        let next = record.lease(&worker(), Nonce::new([3; 16]), LEASE, at(71));
        assert_eq!(next.token, 3);
    }

    #[test]
    fn counts_stay_apart() {
        let (mut record, key) = running();
        record.settle(&key, &Transition::interrupt(), at(11));
        assert_eq!((record.attempts, record.crashes, record.interruptions), (0, 0, 1));
        let key = record.lease(&worker(), Nonce::new([2; 16]), LEASE, at(12));
        let retryable = failure(FailureClass::Retryable, FailureCode::StoreUnavailable);
        record.settle(&key, &Transition::retry(retryable, Duration::from_secs(2)), at(13));
        assert_eq!((record.attempts, record.crashes, record.interruptions), (1, 0, 1));
        assert_eq!((record.state, record.available_at), (JobState::Retryable, at(15)));
        record.promote(at(16));
        let key = record.lease(&worker(), Nonce::new([3; 16]), LEASE, at(17));
        let last = failure(FailureClass::Permanent, FailureCode::AttemptsExhausted);
        record.settle(&key, &Transition::discard(last), at(18));
        assert_eq!((record.attempts, record.state), (2, JobState::Discarded));
        assert_eq!(record.retry(at(19)), Retried::Done);
        assert_eq!((record.attempts, record.crashes, record.interruptions, record.token), (0, 0, 0, 3));
        assert_eq!((record.state, record.failure, record.completed_at), (JobState::Available, None, None));
    }

    #[test]
    fn only_lonely_crashes_make_poison() {
        for company_in in 0..=5 {
            let (mut record, mut key) = running();
            for crash in 1..=5 {
                let after = retry::after_crash(record.crashes, &record.spec.limits);
                record.end_lease(&key, after, crash != company_in, at(crash * 100));
                if record.state == JobState::Available {
                    key = record.lease(&worker(), Nonce::new([9; 16]), LEASE, at(crash * 100 + 1));
                }
            }
            assert_eq!(record.state, JobState::Discarded);
            assert_eq!(record.failure.as_ref().unwrap().code, FailureCode::WorkerLost);
            assert_eq!(record.is_poison(), company_in == 0);
        }
    }
}
