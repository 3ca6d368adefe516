//! The port's steps: arguments in, script, answer out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Script, Value};

use super::answer::{
    Answer, Claimed, left_out, length, parse, read_acquired, read_attempt, read_claimed, read_expired,
    read_id, read_outbox_entry, read_status, read_workers, write_attempt, write_worker,
};
use super::codec::{Raw, read_record, write_progress, write_result, write_spec};
use super::delivery::{read_delivery, write_delivery};
use super::link::{Link, Question, RedisOptions};
use super::script::Scripts;
use crate::clock::{Monotonic, Timestamp, millis};
use crate::job::failure::{Failure, FailureCode};
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::LeaseKey;
use crate::job::record::{JobRecord, Progress};
use crate::job::retry::AfterCrash;
use crate::job::spec::CacheKey;
use crate::job::transition::{Cancel, Ended, Ending, Retried, Settled, Transition};
use crate::job::worker::{WorkerId, WorkerInfo, WorkerSeen};
use crate::port::job_store::{
    AcquireRequest, Acquired, DELIVERIES_MAX, Delivery, ExpiredLease, Extension, Inserted, JobFilter,
    JobPage, JobStore, LIST_MAX, NewJob, OutboxEntry, QueueStatus, Reported, StoreResult, StoreRules,
    WebhookAnswer, WebhookClaim, WebhookDue, WebhookOutcome,
};
use crate::scaling::CAPACITY_WEIGHT;

/// Records that a listing looks at in one step.
const PAGE: usize = 256;
/// Most cancels told at once.
const CANCELS: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not 0");

/// A job store on Redis; clones share its connections.
#[derive(Clone)]
pub struct RedisJobStore {
    link: Link,
    /// Waits for cancels on the server's side, so it must not hold up the shared connection.
    waiting: Link,
    pub(super) scripts: Arc<Scripts>,
}

impl RedisJobStore {
    /// Checks the address; connects with the first step.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(options: RedisOptions, rules: &StoreRules) -> StoreResult<Self> {
        let link = Link::new(options)?;
        let waiting = link.apart();
        Ok(Self { link, waiting, scripts: Arc::new(Scripts::new(rules)) })
    }

    pub(super) async fn run(&self, script: &Script, args: &[&str]) -> StoreResult<Value> {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        self.link.ask(Question::Script(script, &args)).await
    }

    /// Runs a script about a running job: id, token, nonce, then `more`.
    async fn held(&self, script: &Script, key: &LeaseKey, more: &[&str]) -> StoreResult<Value> {
        let (job, token, nonce) = (key.job.to_string(), key.token.to_string(), key.nonce.to_string());
        let mut args = vec![job.as_str(), &token, &nonce];
        args.extend(more);
        self.run(script, &args).await
    }

    /// The records that are there, each read for itself.
    async fn records(&self, ids: &[String]) -> StoreResult<Vec<StoreResult<JobRecord>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let args: Vec<&str> = ids.iter().map(String::as_str).collect();
        let raws: Vec<Raw> = parse("records", self.run(&self.scripts.get, &args).await?)?;
        Ok(raws.iter().map(read_record).collect())
    }

    async fn claim(&self, index: &str, n: usize, claim: Duration, with: &str) -> StoreResult<Value> {
        self.run(&self.scripts.claim, &[index, &n.to_string(), &length(claim), with]).await
    }
}

/// The claimed records that can be read, with what was asked for and the end of the claim.
fn readable(claimed: Vec<Claimed>) -> impl Iterator<Item = (JobRecord, u32, Timestamp)> {
    claimed.into_iter().filter_map(|(raw, count, until)| {
        let record = read_record(&raw).inspect_err(left_out).ok()?;
        Some((record, count, Timestamp::from_millis(until)))
    })
}

impl std::fmt::Debug for RedisJobStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisJobStore")
    }
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

fn failure_text(failure: &Failure) -> String {
    serde_json::to_string(failure).expect("words and texts always have a JSON form")
}

impl JobStore for RedisJobStore {
    async fn insert(&self, job: NewJob) -> StoreResult<Inserted> {
        let spec = write_spec(&job.spec);
        let audio = job.spec.audio.length_estimate().map(length).unwrap_or_default();
        let cache = job.cache.map(CacheKey::to_text).unwrap_or_default();
        let idempotency = job.idempotency.as_ref().map_or("", |key| key.as_str());
        let (id, delay) = (job.id.to_string(), length(job.delay));
        let content = job.spec.audio.content().to_string();
        let args: [&[u8]; 10] = [
            id.as_bytes(),
            job.spec.lane.as_str().as_bytes(),
            delay.as_bytes(),
            &spec,
            audio.as_bytes(),
            flag(job.spec.callback_url.is_some()).as_bytes(),
            idempotency.as_bytes(),
            cache.as_bytes(),
            content.as_bytes(),
            flag(job.force).as_bytes(),
        ];
        let mut answer =
            Answer::read("insert", self.link.ask(Question::Script(&self.scripts.insert, &args)).await?)?;
        match answer.word.as_str() {
            "accepted" => {
                let now = Timestamp::from_millis(answer.next()?);
                Ok(Inserted::Accepted(JobRecord::accepted(job.id, job.spec, job.delay, now)))
            }
            "cached" => Ok(Inserted::Cached(read_record(&answer.next()?)?)),
            "same" => Ok(Inserted::Same(read_record(&answer.next()?)?)),
            "again" => {
                let record = read_record(&answer.next()?)?;
                let cached = record.cached_from.is_some();
                Ok(if cached { Inserted::Cached(record) } else { Inserted::Accepted(record) })
            }
            "poison" => Ok(Inserted::Poison { job: read_id(&answer.next::<String>()?)? }),
            _ => answer.unknown(),
        }
    }

    async fn get(&self, job: JobId) -> StoreResult<Option<JobRecord>> {
        self.records(&[job.to_string()]).await?.pop().transpose()
    }

    async fn list(&self, filter: JobFilter) -> StoreResult<JobPage> {
        let limit = filter.limit.min(LIST_MAX);
        let state = match filter.state {
            Some(state) => state.as_str(),
            None if filter.unfinished => "unfinished",
            None => "",
        };
        let (mut page, mut left) = (JobPage::default(), filter.looks());
        let mut before = filter.before;
        while limit > 0 && left > 0 {
            let looks = left.min(PAGE);
            let below = before.map(|job| job.to_string()).unwrap_or_default();
            let args = [state, &below, &looks.to_string()];
            let (all, last, ids): (u8, String, Vec<String>) =
                parse("list", self.run(&self.scripts.list, &args).await?)?;
            left -= looks;
            for record in self.records(&ids).await? {
                match record {
                    Ok(record) if filter.passes(&record) => page.jobs.push(record),
                    Ok(_) => {}
                    Err(error) => {
                        left_out(&error);
                        page.unreadable += 1;
                    }
                }
                if page.jobs.len() == limit {
                    page.next = page.jobs.last().map(|record| record.id);
                    return Ok(page);
                }
            }
            if all == 1 {
                return Ok(page);
            }
            before = Some(read_id(&last)?);
        }
        page.next = before.filter(|_| limit > 0);
        Ok(page)
    }

    async fn acquire(&self, request: AcquireRequest) -> StoreResult<Acquired> {
        let (job, nonce) = (request.job.to_string(), request.nonce.to_string());
        let args = [job.as_str(), request.worker.as_str(), &nonce, &length(request.lasts)];
        read_acquired(self.run(&self.scripts.acquire, &args).await?, &request)
    }

    async fn extend(&self, key: LeaseKey, lasts: Duration, called_at: Monotonic) -> StoreResult<Extension> {
        let value = self.held(&self.scripts.extend, &key, &[&length(lasts)]).await?;
        let mut answer = Answer::read("extend", value)?;
        match answer.word.as_str() {
            "held" => {
                let cancel_requested = answer.next::<u8>()? == 1;
                Ok(Extension::Held { deadline: called_at.plus(lasts), cancel_requested })
            }
            "lost" => Ok(Extension::Lost),
            _ => answer.unknown(),
        }
    }

    async fn report(&self, key: LeaseKey, progress: Progress) -> StoreResult<Reported> {
        let value = self.held(&self.scripts.report, &key, &[&write_progress(progress)]).await?;
        let mut answer = Answer::read("report", value)?;
        match answer.word.as_str() {
            "held" => Ok(Reported::Held { cancel_requested: answer.next::<u8>()? == 1 }),
            "lost" => Ok(Reported::Lost),
            _ => answer.unknown(),
        }
    }

    async fn settle(&self, key: LeaseKey, transition: Transition) -> StoreResult<Settled> {
        let (ending, payload, wait, attempts, audio) = match transition.ending() {
            Ending::Completed(result) => {
                let text = String::from_utf8(write_result(result)).expect("JSON is text");
                ("completed", text, Duration::ZERO, "0", millis(result.audio))
            }
            Ending::Retryable { failure, after } => ("retryable", failure_text(failure), *after, "1", 0),
            Ending::Discarded(failure) => {
                let attempts = flag(failure.code == FailureCode::AttemptsExhausted);
                ("discarded", failure_text(failure), Duration::ZERO, attempts, 0)
            }
            Ending::Cancelled => ("cancelled", String::new(), Duration::ZERO, "0", 0),
            Ending::Interrupted => ("interrupted", String::new(), Duration::ZERO, "0", 0),
        };
        let more = [ending, &payload, &length(wait), attempts, &audio.to_string()];
        let mut answer = Answer::read("settle", self.held(&self.scripts.settle, &key, &more).await?)?;
        match answer.word.as_str() {
            "applied" => Ok(Settled::Applied(answer.state()?)),
            "already" => Ok(Settled::Already(answer.state()?)),
            "lost" => Ok(Settled::Lost),
            _ => answer.unknown(),
        }
    }

    async fn request_cancel(&self, job: JobId) -> StoreResult<Option<Cancel>> {
        let value = self.run(&self.scripts.cancel, &[&job.to_string()]).await?;
        let mut answer = Answer::read("cancel", value)?;
        match answer.word.as_str() {
            "unknown" => Ok(None),
            "done" => Ok(Some(Cancel::Done)),
            "requested" => Ok(Some(Cancel::Requested)),
            "final" => Ok(Some(Cancel::Final(answer.state()?))),
            _ => answer.unknown(),
        }
    }

    async fn next_cancels(&self, worker: &WorkerId, wait: Duration) -> StoreResult<Vec<JobId>> {
        let key = format!("{}cancels:{worker}", self.link.prefix());
        let question = Question::Drain { list: &key, n: CANCELS, wait };
        let ids: Vec<String> = parse("cancels", self.waiting.ask(question).await?)?;
        ids.iter().map(|id| read_id(id)).collect()
    }

    async fn retry(&self, job: JobId) -> StoreResult<Option<Retried>> {
        let value = self.run(&self.scripts.retry, &[&job.to_string()]).await?;
        let mut answer = Answer::read("retry", value)?;
        match answer.word.as_str() {
            "unknown" => Ok(None),
            "done" => Ok(Some(Retried::Done)),
            "not" => Ok(Some(Retried::Not(answer.state()?))),
            _ => answer.unknown(),
        }
    }

    async fn purge(&self, job: JobId) -> StoreResult<Option<bool>> {
        let value = self.run(&self.scripts.purge, &[&job.to_string()]).await?;
        let word: String = parse("purge", value)?;
        Ok(match word.as_str() {
            "unknown" => None,
            word => Some(word == "purged"),
        })
    }

    async fn claim_outbox(&self, lane: Lane, n: usize, claim: Duration) -> StoreResult<Vec<OutboxEntry>> {
        let args = [lane.as_str(), &n.to_string(), &length(claim)];
        let value = self.run(&self.scripts.claim_outbox, &args).await?;
        let entries: Vec<String> = parse("outbox", value)?;
        entries.iter().map(|entry| read_outbox_entry(lane, entry)).collect()
    }

    async fn delete_outbox(&self, entries: &[OutboxEntry]) -> StoreResult<()> {
        let mut args = Vec::with_capacity(entries.len() * 2);
        for entry in entries {
            args.push(entry.lane.as_str().to_owned());
            args.push(format!("{}:{}", entry.serial, entry.job));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.run(&self.scripts.delete_outbox, &args).await.map(drop)
    }

    async fn claim_unheard(
        &self,
        lanes: &[Lane],
        waited: Duration,
        claim: Duration,
    ) -> StoreResult<Option<JobId>> {
        // In the order in which the script looks through them.
        let lanes = Lane::ALL.iter().filter(|lane| lanes.contains(lane)).map(|lane| lane.as_str());
        let (waited, claim) = (length(waited), length(claim));
        let args: Vec<&str> = [waited.as_str(), &claim].into_iter().chain(lanes).collect();
        let id: Option<String> = parse("job id", self.run(&self.scripts.claim_unheard, &args).await?)?;
        id.map(|id| read_id(&id)).transpose()
    }

    async fn promote_due(&self, n: usize) -> StoreResult<usize> {
        parse("promote", self.run(&self.scripts.promote, &[&n.to_string()]).await?)
    }

    async fn expired_leases(&self, n: usize) -> StoreResult<Vec<ExpiredLease>> {
        read_expired(self.run(&self.scripts.expired, &[&n.to_string()]).await?)
    }

    async fn end_lease(&self, key: LeaseKey, after: AfterCrash) -> StoreResult<Ended> {
        // The content never changes, so it may be read in a step of its own.
        let content = match after {
            AfterCrash::Again => String::new(),
            AfterCrash::Discard => match self.get(key.job).await? {
                Some(record) => record.spec.audio.content().to_string(),
                None => return Ok(Ended::NotExpired),
            },
        };
        let more = [flag(after == AfterCrash::Discard), content.as_str()];
        let mut answer =
            Answer::read("end of a lease", self.held(&self.scripts.end_lease, &key, &more).await?)?;
        match answer.word.as_str() {
            "ended" => Ok(Ended::Now(answer.state()?)),
            "not_expired" => Ok(Ended::NotExpired),
            _ => answer.unknown(),
        }
    }

    async fn rescue_turn(&self, owner: &WorkerId, lasts: Duration) -> StoreResult<bool> {
        let value = self.run(&self.scripts.turn, &[owner.as_str(), &length(lasts)]).await?;
        Ok(parse::<u8>("turn", value)? == 1)
    }

    async fn ring(&self, owner: &WorkerId, lane: Lane, n: usize) -> StoreResult<usize> {
        let args = [owner.as_str(), lane.as_str(), &n.to_string()];
        parse("ring", self.run(&self.scripts.ring, &args).await?)
    }

    async fn claim_exports(&self, n: usize, claim: Duration) -> StoreResult<Vec<JobRecord>> {
        let claimed = read_claimed(self.claim("exports", n, claim, "wt").await?)?;
        Ok(readable(claimed).map(|(record, ..)| record).collect())
    }

    async fn mark_exported(
        &self,
        job: JobId,
        cache: Option<CacheKey>,
        output_problem: Option<&str>,
    ) -> StoreResult<()> {
        let cache = cache.map(CacheKey::to_text).unwrap_or_default();
        let args = [&job.to_string(), cache.as_str(), output_problem.unwrap_or_default()];
        self.run(&self.scripts.mark_exported, &args).await.map(drop)
    }

    async fn claim_webhooks(&self, n: usize, claim: Duration) -> StoreResult<Vec<WebhookDue>> {
        let claimed = read_claimed(self.claim("webhooks", n, claim, "wt").await?)?;
        let due = |(record, tries, until): (JobRecord, u32, Timestamp)| WebhookDue {
            claim: WebhookClaim { job: record.id, until },
            record,
            tries,
        };
        Ok(readable(claimed).map(due).collect())
    }

    async fn finish_webhook(
        &self,
        claim: WebhookClaim,
        outcome: WebhookOutcome,
        answer: WebhookAnswer,
    ) -> StoreResult<()> {
        let wait = match outcome {
            WebhookOutcome::Done | WebhookOutcome::GivenUp => String::new(),
            WebhookOutcome::Again { after } => length(after),
        };
        let told = write_delivery(claim.job, outcome, &answer);
        let (job, until) = (claim.job.to_string(), claim.until.as_millis().to_string());
        let args = [job.as_str(), &until, &wait, &told, &DELIVERIES_MAX.to_string()];
        self.run(&self.scripts.finish_webhook, &args).await.map(drop)
    }

    async fn deliveries(&self, n: usize) -> StoreResult<Vec<Delivery>> {
        let rows = self.run(&self.scripts.deliveries, &[&n.to_string()]).await?;
        let rows: Vec<String> = parse("deliveries", rows)?;
        rows.iter().map(|row| read_delivery(row)).collect()
    }

    async fn redeliver(&self, job: JobId) -> StoreResult<Option<bool>> {
        let answer =
            Answer::read("redeliver", self.run(&self.scripts.redeliver, &[&job.to_string()]).await?)?;
        match answer.word.as_str() {
            "due" => Ok(Some(true)),
            "nothing" => Ok(Some(false)),
            "unknown" => Ok(None),
            _ => answer.unknown(),
        }
    }

    async fn claim_sweeps(&self, n: usize, claim: Duration) -> StoreResult<Vec<LeaseKey>> {
        let attempts: Vec<String> = parse("sweeps", self.claim("sweeps", n, claim, "").await?)?;
        attempts.iter().map(|attempt| read_attempt(attempt)).collect()
    }

    async fn delete_sweeps(&self, attempts: &[LeaseKey]) -> StoreResult<()> {
        let attempts: Vec<String> = attempts.iter().map(write_attempt).collect();
        let args: Vec<&str> = attempts.iter().map(String::as_str).collect();
        self.run(&self.scripts.delete_sweeps, &args).await.map(drop)
    }

    async fn prune(&self, n: usize) -> StoreResult<usize> {
        parse("prune", self.run(&self.scripts.prune, &[&n.to_string()]).await?)
    }

    async fn status(&self) -> StoreResult<QueueStatus> {
        read_status(self.run(&self.scripts.status, &[]).await?)
    }

    async fn heartbeat(&self, worker: &WorkerInfo, lasts: Duration) -> StoreResult<()> {
        let info = String::from_utf8(write_worker(worker)).expect("JSON is text");
        let capacity = worker.capacity.map(|capacity| capacity.to_string()).unwrap_or_default();
        let weight = CAPACITY_WEIGHT.to_string();
        let draining = if worker.draining { "1" } else { "0" };
        let args = [worker.id.as_str(), &info, &length(lasts), &capacity, &weight, draining];
        self.run(&self.scripts.heartbeat, &args).await.map(drop)
    }

    async fn workers(&self) -> StoreResult<Vec<WorkerSeen>> {
        read_workers(self.run(&self.scripts.workers, &[]).await?)
    }

    async fn farewell(&self, worker: &WorkerId) -> StoreResult<()> {
        self.run(&self.scripts.farewell, &[worker.as_str()]).await.map(drop)
    }

    async fn time(&self) -> StoreResult<Timestamp> {
        let (seconds, micros): (u64, u64) = parse("time", self.link.ask(Question::Time).await?)?;
        Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
    }
}
