//! What relay, rescue and onlookers ask for.

use std::time::Duration;

use super::state::State;
use crate::clock::Timestamp;
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::LeaseKey;
use crate::job::record::{JobRecord, JobState};
use crate::job::worker::{WorkerId, WorkerSeen};
use crate::port::job_store::{
    DELIVERIES_MAX, Delivery, ExpiredLease, LaneDepth, OutboxEntry, QueueStatus, WebhookAnswer, WebhookClaim,
    WebhookDue, WebhookOutcome, rates,
};
use crate::scaling::Load;

impl State {
    pub fn claim_outbox(
        &mut self,
        lane: Lane,
        n: usize,
        claim: Duration,
        now: Timestamp,
    ) -> Vec<OutboxEntry> {
        let jobs = &self.jobs;
        let wanted = |entry: &OutboxEntry| {
            jobs.get(&entry.job).is_some_and(|job| job.record.state == JobState::Available)
        };
        let is_due = |from: Timestamp, entry: &OutboxEntry| from <= now && entry.lane == lane;
        self.outbox.retain(|(from, entry)| !is_due(*from, entry) || wanted(entry));
        let mut due: Vec<&mut (Timestamp, OutboxEntry)> =
            self.outbox.iter_mut().filter(|(from, entry)| is_due(*from, entry)).collect();
        due.sort_by_key(|(from, entry)| (*from, entry.serial));
        let taken = due.into_iter().take(n);
        taken.map(|slot| (slot.0 = now.plus(claim), slot.1).1).collect()
    }

    pub fn claim_unheard(
        &mut self,
        lanes: &[Lane],
        waited: Duration,
        claim: Duration,
        now: Timestamp,
    ) -> Option<JobId> {
        let unheard = self.jobs.values_mut().filter(|job| {
            let record = &job.record;
            record.state == JobState::Available
                && lanes.contains(&record.spec.lane)
                && record.available_at.plus(waited) <= now
                && job.unheard_until <= now
        });
        let first =
            unheard.min_by_key(|job| (job.record.spec.lane, job.record.available_at, job.record.id))?;
        first.unheard_until = now.plus(claim);
        Some(first.record.id)
    }

    pub fn promote_due(&mut self, n: usize, now: Timestamp) -> usize {
        let due = self.due(n, |record| {
            let waits = matches!(record.state, JobState::Scheduled | JobState::Retryable);
            (waits && record.available_at <= now).then_some(record.available_at)
        });
        for id in &due {
            if let Some(job) = self.jobs.get_mut(id) {
                job.record.promote(now);
            }
            self.entered(*id, now);
        }
        due.len()
    }

    pub fn expired_leases(&self, n: usize, now: Timestamp) -> Vec<ExpiredLease> {
        let due = self.due(n, |record| record.lease_expires_at.filter(|expiry| *expiry <= now));
        let records = due.iter().filter_map(|id| self.jobs.get(id)).map(|job| &job.record);
        let expired = |record: &JobRecord| {
            let key = record.lease_key()?;
            Some(ExpiredLease { key, crashes: record.crashes, limits: record.spec.limits })
        };
        records.filter_map(expired).collect()
    }

    pub fn rescue_turn(&mut self, owner: &WorkerId, lasts: Duration, now: Timestamp) -> bool {
        let free = self.turn.as_ref().is_none_or(|(holder, until)| holder == owner || *until <= now);
        if free {
            self.turn = Some((owner.clone(), now.plus(lasts)));
        }
        free
    }

    pub fn ring(&mut self, owner: &WorkerId, lane: Lane, n: usize, now: Timestamp) -> usize {
        if !self.turn.as_ref().is_some_and(|(holder, until)| holder == owner && *until > now) {
            return 0;
        }
        let mut due: Vec<(Timestamp, JobId)> = self
            .jobs
            .values()
            .filter(|job| job.record.state == JobState::Available && job.record.spec.lane == lane)
            .filter(|job| job.bell_due <= now)
            .map(|job| (job.bell_due, job.record.id))
            .collect();
        due.sort_unstable();
        due.truncate(n);
        for (_, id) in &due {
            if let Some(job) = self.jobs.get_mut(id) {
                job.bells += 1;
                // 2^16 times any first interval is past any longest one.
                let interval = self.rules.bell_first.saturating_mul(1 << job.bells.min(16));
                job.bell_due = now.plus(interval.min(self.rules.bell_max));
            }
            self.bell(lane, *id, now);
        }
        due.len()
    }

    pub fn claim_exports(&mut self, n: usize, claim: Duration, now: Timestamp) -> Vec<JobRecord> {
        let mut due: Vec<_> = self.jobs.values_mut().filter(|job| job.export_due <= Some(now)).collect();
        due.retain(|job| job.export_due.is_some());
        due.sort_by_key(|job| (job.export_due, job.record.id));
        let taken = due.into_iter().take(n);
        taken
            .map(|job| {
                job.export_due = Some(now.plus(claim));
                job.record.clone()
            })
            .collect()
    }

    pub fn claim_webhooks(&mut self, n: usize, claim: Duration, now: Timestamp) -> Vec<WebhookDue> {
        let mut due: Vec<_> = self
            .jobs
            .values_mut()
            .filter_map(|job| {
                let (from, tries) = job.webhook.as_mut()?;
                (*from <= now).then_some((from, *tries, &job.record))
            })
            .collect();
        due.sort_by_key(|(from, _, record)| (**from, record.id));
        let taken = due.into_iter().take(n);
        taken
            .map(|(from, tries, record)| {
                *from = now.plus(claim);
                let claim = WebhookClaim { job: record.id, until: *from };
                WebhookDue { claim, record: record.clone(), tries }
            })
            .collect()
    }

    pub fn finish_webhook(
        &mut self,
        claim: WebhookClaim,
        outcome: WebhookOutcome,
        answer: WebhookAnswer,
        now: Timestamp,
    ) {
        let Some(job) = self.jobs.get_mut(&claim.job) else { return };
        let Some((_, tries)) = job.webhook.filter(|(until, _)| *until == claim.until) else { return };
        job.webhook = match outcome {
            WebhookOutcome::Done | WebhookOutcome::GivenUp => None,
            WebhookOutcome::Again { after } => Some((now.plus(after), tries + 1)),
        };
        self.deliveries.push_front(Delivery { job: claim.job, at: now, tries: tries + 1, outcome, answer });
        self.deliveries.truncate(DELIVERIES_MAX);
    }

    pub fn redeliver(&mut self, id: JobId, now: Timestamp) -> Option<bool> {
        let job = self.jobs.get_mut(&id)?;
        let record = &job.record;
        let due = record.is_over() && record.spec.callback_url.is_some();
        if due {
            job.webhook = Some((now, 0));
        }
        Some(due)
    }

    pub fn claim_sweeps(&mut self, n: usize, claim: Duration, now: Timestamp) -> Vec<LeaseKey> {
        let mut due: Vec<_> = self.sweeps.iter_mut().filter(|(from, _)| *from <= now).collect();
        due.sort();
        let taken = due.into_iter().take(n);
        taken.map(|slot| (slot.0 = now.plus(claim), slot.1).1).collect()
    }

    pub fn prune(&mut self, n: usize, now: Timestamp) -> usize {
        let before = now.minus(self.rules.retention);
        let over = self.due(n, |record| record.completed_at.filter(|at| *at <= before));
        over.iter().filter(|id| self.purge(**id) == Some(true)).count()
    }

    pub fn status(&self, now: Timestamp) -> QueueStatus {
        let mut depth = [LaneDepth::default(); 3];
        let (mut dead, mut audio_waiting, mut oldest) = (0, Duration::ZERO, None);
        let mut load = Load {
            arriving: self.arrivals.at(now),
            capacity: self.capacity,
            draining: self.workers(now).iter().filter(|seen| seen.info.draining).count() as u64,
            mean_audio: self.mean_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
            ..Load::default()
        };
        for record in self.jobs.values().map(|job| &job.record) {
            let lane = &mut depth[record.spec.lane.index()];
            match record.state {
                JobState::Available => {
                    lane.ready += 1;
                    oldest = oldest.max(Some(now.since(record.available_at)));
                }
                JobState::Scheduled => lane.scheduled += 1,
                JobState::Retryable => lane.retryable += 1,
                JobState::Running => lane.running += 1,
                JobState::Discarded => dead += 1,
                JobState::Completed | JobState::Cancelled => {}
            }
            let Some(audio) = record.spec.audio.length_estimate().filter(|_| !record.state.is_final()) else {
                continue;
            };
            if record.state == JobState::Running {
                (load.running_timed, load.running_audio) =
                    (load.running_timed + 1, load.running_audio + audio);
                continue;
            }
            (load.waiting_timed, audio_waiting) = (load.waiting_timed + 1, audio_waiting + audio);
            if record.state == JobState::Available {
                (load.ready_timed, load.ready_audio) = (load.ready_timed + 1, load.ready_audio + audio);
            }
        }
        for (_, entry) in &self.outbox {
            depth[entry.lane.index()].outbox += 1;
        }
        let waits =
            |entry: &OutboxEntry| self.jobs.get(&entry.job).map(|job| now.since(job.record.available_at));
        let outbox_oldest = self.outbox.iter().filter_map(|(_, entry)| waits(entry)).max();
        let bucket = now.as_millis() / rates::BUCKET_MS;
        let recent = self.rates.iter().filter(|(old, _)| **old + rates::BUCKETS > bucket);
        let sums = recent.fold([0; 3], |sum, (_, by)| [sum[0] + by[0], sum[1] + by[1], sum[2] + by[2]]);
        let rate = |sum| rates::per_second(sum, now.as_millis());
        QueueStatus {
            at: now,
            depth,
            dead,
            exports: self.jobs.values().filter(|job| job.export_due.is_some()).count() as u64,
            exports_overdue: self
                .jobs
                .values()
                .filter(|job| job.export_due.is_some_and(|due| due <= now))
                .count() as u64,
            webhooks: self.jobs.values().filter(|job| job.webhook.is_some()).count() as u64,
            audio_waiting,
            arrived_per_s: rate(sums[0]),
            completed_per_s: rate(sums[1]),
            audio_s_per_s: rate(sums[2]) / 1000.0,
            oldest,
            workers_alive: self.workers(now).len() as u64,
            outbox_oldest,
            load,
        }
    }

    pub fn workers(&self, now: Timestamp) -> Vec<WorkerSeen> {
        let alive = self.workers.values().filter(|(_, _, until)| *until > now);
        alive.map(|(info, seen, _)| WorkerSeen { info: info.clone(), last_seen: now.since(*seen) }).collect()
    }

    /// The first `n` jobs for which `when` gives a time, by that time.
    fn due(&self, n: usize, when: impl Fn(&JobRecord) -> Option<Timestamp>) -> Vec<JobId> {
        let records = self.jobs.values().map(|job| &job.record);
        let mut due: Vec<_> = records.filter_map(|record| Some((when(record)?, record.id))).collect();
        due.sort_unstable();
        due.into_iter().take(n).map(|(_, id)| id).collect()
    }
}
