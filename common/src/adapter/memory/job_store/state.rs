//! What the store knows, and the steps of a job's life.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use crate::job::id::JobId;
use crate::job::lease::{Lease, LeaseKey};
use crate::job::record::{JobRecord, JobState, Progress};
use crate::job::retry::AfterCrash;
use crate::job::spec::{CacheKey, ContentDigest};
use crate::job::transition::{Cancel, Ended, Retried, Settled, Transition};
use crate::job::worker::{WorkerId, WorkerInfo};
use crate::port::job_store::{
    AcquireRequest, Acquired, Delivery, Extension, Idempotency, Inserted, JobFilter, JobPage, LIST_MAX,
    NewJob, OutboxEntry, Reported, StoreRules, Unready, rates,
};
use crate::port::key_store::{ApiKey, KeyId};
use crate::scaling::{Arrivals, MEAN_WEIGHT, moved};

/// A job and what the store keeps beside its record.
pub(super) struct Job {
    pub record: JobRecord,
    /// When its bell may be rung again; meaningful while it is available.
    pub bell_due: Timestamp,
    /// Until when nobody else is told that it waits unheard.
    pub unheard_until: Timestamp,
    /// Bells rung by rescue since it became available.
    pub bells: u32,
    /// When its export is due, while it is completed and not exported.
    pub export_due: Option<Timestamp>,
    /// When its webhook is due, and deliveries tried.
    pub webhook: Option<(Timestamp, u32)>,
    /// Whether its worker was found to have vanished while holding other jobs too.
    pub in_company: bool,
    idempotency: Option<Idempotency>,
}

pub(super) struct State {
    pub rules: StoreRules,
    pub jobs: BTreeMap<JobId, Job>,
    /// Bells to publish, each with the time from which it may be claimed.
    pub outbox: Vec<(Timestamp, OutboxEntry)>,
    /// Attempts to sweep, each with the time from which it may be claimed.
    pub sweeps: Vec<(Timestamp, LeaseKey)>,
    /// Tries to deliver webhooks, the newest first.
    pub deliveries: VecDeque<Delivery>,
    /// API keys.
    pub keys: BTreeMap<KeyId, ApiKey>,
    pub turn: Option<(WorkerId, Timestamp)>,
    pub cancels: BTreeMap<WorkerId, Vec<JobId>>,
    /// What each worker said last, when, and until when it counts as alive.
    pub workers: BTreeMap<WorkerId, (WorkerInfo, Timestamp, Timestamp)>,
    /// Arrived, completed, milliseconds of audio completed, by bucket.
    pub rates: BTreeMap<u64, [u64; 3]>,
    pub arrivals: Arrivals,
    /// What a busy worker does, as the workers say; 0 until one has.
    pub capacity: f64,
    /// Mean length of what was completed, milliseconds.
    pub mean_ms: Option<f64>,
    serial: u64,
    idempotency: BTreeMap<Idempotency, JobId>,
    cache: BTreeMap<CacheKey, JobId>,
    poison: BTreeMap<ContentDigest, (Timestamp, JobId)>,
}

impl State {
    pub fn new(rules: StoreRules) -> Self {
        Self {
            rules,
            jobs: BTreeMap::new(),
            outbox: Vec::new(),
            sweeps: Vec::new(),
            deliveries: VecDeque::new(),
            keys: BTreeMap::new(),
            turn: None,
            cancels: BTreeMap::new(),
            workers: BTreeMap::new(),
            rates: BTreeMap::new(),
            arrivals: Arrivals::default(),
            capacity: 0.0,
            mean_ms: None,
            serial: 0,
            idempotency: BTreeMap::new(),
            cache: BTreeMap::new(),
            poison: BTreeMap::new(),
        }
    }

    pub fn insert(&mut self, new: NewJob, now: Timestamp) -> Inserted {
        if let Some(known) = self.jobs.get(&new.id) {
            let record = known.record.clone();
            return if record.cached_from.is_some() {
                Inserted::Cached(record)
            } else {
                Inserted::Accepted(record)
            };
        }
        let same = new.idempotency.as_ref().and_then(|key| self.idempotency.get(key));
        if let Some(known) = same.and_then(|id| self.jobs.get(id)) {
            return Inserted::Same(known.record.clone());
        }
        let poison =
            self.poison.get(&new.spec.audio.content()).filter(|(until, _)| *until > now && !new.force);
        if let Some((_, job)) = poison {
            return Inserted::Poison { job: *job };
        }
        let source = new.cache.and_then(|key| self.cache.get(&key)).and_then(|id| self.jobs.get(id));
        let source = source.map(|job| &job.record).filter(|record| record.exported_at.is_some());
        let at_once = new.delay.is_zero();
        let mut record = JobRecord::accepted(new.id, new.spec, new.delay, now);
        if let Some(source) = source {
            record.complete_from(source, now);
        }
        let cached = record.cached_from.is_some();
        if at_once && !cached {
            self.arrivals.arrived(record.spec.audio.length_estimate(), now);
        }
        if let Some(key) = &new.idempotency {
            self.idempotency.insert(key.clone(), new.id);
        }
        let job = Job {
            record: record.clone(),
            bell_due: now,
            unheard_until: now,
            bells: 0,
            export_due: cached.then_some(now),
            webhook: None,
            in_company: false,
            idempotency: new.idempotency,
        };
        self.jobs.insert(new.id, job);
        self.count(now, [1, u64::from(cached), 0]);
        if !cached {
            self.entered(new.id, now);
        }
        if cached { Inserted::Cached(record) } else { Inserted::Accepted(record) }
    }

    pub fn list(&self, filter: &JobFilter) -> JobPage {
        let (limit, looks) = (filter.limit.min(LIST_MAX), filter.looks());
        let mut page = JobPage::default();
        let records = self.jobs.values().rev().map(|job| &job.record);
        let mut records = records.filter(|record| filter.before.is_none_or(|before| record.id < before));
        for record in records.by_ref().take(if limit == 0 { 0 } else { looks }) {
            page.next = Some(record.id);
            if filter.passes(record) {
                page.jobs.push(record.clone());
                if page.jobs.len() == limit {
                    break;
                }
            }
        }
        if records.next().is_none() {
            page.next = None;
        }
        page
    }

    pub fn acquire(&mut self, request: &AcquireRequest, now: Timestamp) -> Acquired {
        let Some(job) = self.jobs.get_mut(&request.job) else { return Acquired::Refused(Unready::Unknown) };
        let record = &mut job.record;
        match record.state {
            JobState::Scheduled | JobState::Retryable if record.available_at > now => {
                return Acquired::Refused(Unready::NotDue { due: record.available_at });
            }
            JobState::Scheduled | JobState::Retryable => record.promote(now),
            JobState::Available => {}
            JobState::Running => {
                let same = record.nonce == Some(request.nonce) && record.lease_expires_at > Some(now);
                if !same {
                    return Acquired::Refused(Unready::Running);
                }
            }
            state => return Acquired::Refused(Unready::Final(state)),
        }
        let key = match record.lease_key() {
            Some(key) if record.state == JobState::Running => key,
            _ => {
                job.in_company = false;
                record.lease(&request.worker, request.nonce, request.lasts, now)
            }
        };
        let counts = (record.attempts, record.crashes);
        let lease = Lease::granted(key, record.spec.clone(), request.called_at, request.lasts, counts);
        Acquired::Granted(Box::new(lease.after(record.started_at.unwrap_or(now).since(record.available_at))))
    }

    pub fn extend(
        &mut self,
        key: &LeaseKey,
        lasts: Duration,
        called_at: Monotonic,
        now: Timestamp,
    ) -> Extension {
        let Some(job) = self.jobs.get_mut(&key.job) else { return Extension::Lost };
        if !job.record.extend(key, lasts, now) {
            return Extension::Lost;
        }
        Extension::Held { deadline: called_at.plus(lasts), cancel_requested: job.record.cancel_requested }
    }

    pub fn report(&mut self, key: &LeaseKey, progress: Progress) -> Reported {
        let Some(job) = self.jobs.get_mut(&key.job) else { return Reported::Lost };
        if !job.record.report(key, progress) {
            return Reported::Lost;
        }
        Reported::Held { cancel_requested: job.record.cancel_requested }
    }

    pub fn settle(&mut self, key: &LeaseKey, transition: &Transition, now: Timestamp) -> Settled {
        let Some(job) = self.jobs.get_mut(&key.job) else { return Settled::Lost };
        let settled = job.record.settle(key, transition, now);
        if let Settled::Applied(state) = settled {
            match (&job.record.result, state) {
                (Some(result), JobState::Completed) => {
                    let audio = crate::clock::millis(result.audio);
                    self.mean_ms =
                        Some(moved(self.mean_ms, result.audio.as_secs_f64() * 1000.0, MEAN_WEIGHT));
                    self.count(now, [0, 1, audio]);
                }
                _ => self.sweeps.push((now.plus(self.rules.sweep_delay), *key)),
            }
            self.entered(key.job, now);
        }
        settled
    }

    pub fn end_lease(&mut self, key: &LeaseKey, after: AfterCrash, now: Timestamp) -> Ended {
        let Some(job) = self.jobs.get(&key.job) else { return Ended::NotExpired };
        let worker = job.record.worker.clone();
        let others: Vec<JobId> = self
            .jobs
            .values()
            .map(|job| &job.record)
            .filter(|other| other.state == JobState::Running && other.worker == worker && other.id != key.job)
            .map(|other| other.id)
            .collect();
        let alone = others.is_empty() && !job.in_company;
        let Some(job) = self.jobs.get_mut(&key.job) else { return Ended::NotExpired };
        let ended = job.record.end_lease(key, after, alone, now);
        let Ended::Now(_) = ended else { return ended };
        if job.record.is_poison() {
            let until = now.plus(self.rules.poison);
            self.poison.insert(job.record.spec.audio.content(), (until, key.job));
        }
        for other in others {
            if let Some(other) = self.jobs.get_mut(&other) {
                other.in_company = true;
            }
        }
        self.sweeps.push((now.plus(self.rules.sweep_delay), *key));
        self.entered(key.job, now);
        ended
    }

    pub fn request_cancel(&mut self, id: JobId, now: Timestamp) -> Option<Cancel> {
        let job = self.jobs.get_mut(&id)?;
        let cancel = job.record.request_cancel(now);
        match (cancel, &job.record.worker) {
            (Cancel::Requested, Some(worker)) => {
                self.cancels.entry(worker.clone()).or_default().push(id);
            }
            (Cancel::Done, _) => self.entered(id, now),
            _ => {}
        }
        Some(cancel)
    }

    pub fn retry(&mut self, id: JobId, now: Timestamp) -> Option<Retried> {
        let job = self.jobs.get_mut(&id)?;
        let retried = job.record.retry(now);
        if retried == Retried::Done {
            self.entered(id, now);
        }
        Some(retried)
    }

    pub fn purge(&mut self, id: JobId) -> Option<bool> {
        let job = self.jobs.get(&id)?;
        if !job.record.state.is_final() {
            return Some(false);
        }
        if let Some(key) = &job.idempotency {
            self.idempotency.remove(key);
        }
        self.cache.retain(|_, source| *source != id);
        self.jobs.remove(&id);
        Some(true)
    }

    pub fn mark_exported(
        &mut self,
        id: JobId,
        cache: Option<CacheKey>,
        output_problem: Option<&str>,
        now: Timestamp,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.record.state != JobState::Completed || job.record.exported_at.is_some() {
            return;
        }
        job.record.exported_at = Some(now);
        job.record.output_problem = output_problem.map(str::to_owned);
        job.export_due = None;
        job.webhook = job.record.spec.callback_url.as_ref().map(|_| (now, 0));
        if let (Some(key), None) = (cache, job.record.cached_from) {
            self.cache.insert(key, id);
        }
    }

    /// A job has just come into its state: what has to follow is made due.
    pub fn entered(&mut self, id: JobId, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.export_due, job.webhook) = (None, None);
        match job.record.state {
            JobState::Available => {
                (job.bell_due, job.bells) = (now.plus(self.rules.bell_first), 0);
                job.unheard_until = now;
                let lane = job.record.spec.lane;
                self.bell(lane, id, now);
            }
            JobState::Completed => job.export_due = Some(now.plus(self.rules.export_grace)),
            JobState::Discarded | JobState::Cancelled => {
                job.webhook = job.record.spec.callback_url.as_ref().map(|_| (now, 0));
            }
            JobState::Scheduled | JobState::Running | JobState::Retryable => {}
        }
    }

    pub fn bell(&mut self, lane: crate::job::lane::Lane, job: JobId, now: Timestamp) {
        self.serial += 1;
        self.outbox.push((now, OutboxEntry { serial: self.serial, lane, job }));
    }

    fn count(&mut self, now: Timestamp, by: [u64; 3]) {
        let bucket = now.as_millis() / rates::BUCKET_MS;
        let counts = self.rates.entry(bucket).or_default();
        for (count, by) in counts.iter_mut().zip(by) {
            *count += by;
        }
        self.rates.retain(|old, _| old + rates::BUCKETS > bucket);
    }
}
