//! The scripts' answers as values.

use std::time::Duration;

use ::redis::{FromRedisValue, Value};
use serde::{Deserialize, Serialize};

use super::codec::{Raw, read_spec, unreadable};
use crate::clock::{Timestamp, millis};
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::{Lease, LeaseKey};
use crate::job::record::JobState;
use crate::job::worker::{WorkerId, WorkerInfo, WorkerSeen};
use crate::port::job_store::{
    AcquireRequest, Acquired, ExpiredLease, JobStoreError, LaneDepth, OutboxEntry, QueueStatus, StoreResult,
    Unready, rates,
};
use crate::scaling::{Arriving, Load};

/// A value of the wanted type.
pub fn parse<T: FromRedisValue>(what: &str, value: Value) -> StoreResult<T> {
    let shown = format!("{value:?}");
    T::from_redis_value(value).map_err(|_| unreadable(what, &shown))
}

/// An answer whose first part is a word.
pub struct Answer {
    what: &'static str,
    pub word: String,
    rest: std::vec::IntoIter<Value>,
}

impl Answer {
    pub fn read(what: &'static str, value: Value) -> StoreResult<Self> {
        let mut rest = parse::<Vec<Value>>(what, value)?.into_iter();
        let word = parse(what, rest.next().unwrap_or(Value::Nil))?;
        Ok(Self { what, word, rest })
    }

    /// The next part.
    pub fn next<T: FromRedisValue>(&mut self) -> StoreResult<T> {
        parse(self.what, self.rest.next().unwrap_or(Value::Nil))
    }

    /// The next part, a state.
    pub fn state(&mut self) -> StoreResult<JobState> {
        let text: String = self.next()?;
        JobState::parse(&text).ok_or_else(|| unreadable(self.what, &text))
    }

    /// The answer is one that this version does not know.
    pub fn unknown<T>(&self) -> StoreResult<T> {
        Err(unreadable(self.what, &self.word))
    }
}

pub fn read_id(text: &str) -> StoreResult<JobId> {
    text.parse().map_err(|_| unreadable("job id", text))
}

fn read_lane(text: &str) -> StoreResult<Lane> {
    text.parse().map_err(|_| unreadable("lane", text))
}

pub fn read_acquired(value: Value, request: &AcquireRequest) -> StoreResult<Acquired> {
    let mut answer = Answer::read("acquire", value)?;
    let unready = match answer.word.as_str() {
        "granted" => {
            let (token, attempts, crashes) = (answer.next()?, answer.next()?, answer.next()?);
            let (lane, spec): (String, String) = (answer.next()?, answer.next()?);
            let spec = read_spec(&spec, read_lane(&lane)?)?;
            let key = LeaseKey { job: request.job, token, nonce: request.nonce };
            let lease = Lease::granted(key, spec, request.called_at, request.lasts, (attempts, crashes));
            let lease = lease.after(Duration::from_millis(answer.next()?));
            return Ok(Acquired::Granted(Box::new(lease)));
        }
        "not_due" => Unready::NotDue { due: Timestamp::from_millis(answer.next()?) },
        "running" => Unready::Running,
        "final" => Unready::Final(answer.state()?),
        "unknown" => Unready::Unknown,
        _ => return answer.unknown(),
    };
    Ok(Acquired::Refused(unready))
}

/// `{serial}:{id}`.
pub fn read_outbox_entry(lane: Lane, text: &str) -> StoreResult<OutboxEntry> {
    let wrong = || unreadable("outbox entry", text);
    let (serial, job) = text.split_once(':').ok_or_else(wrong)?;
    Ok(OutboxEntry {
        serial: serial.parse().map_err(|_| wrong())?,
        lane,
        job: job.parse().map_err(|_| wrong())?,
    })
}

/// `{id}:{token}:{nonce}`.
pub fn read_attempt(text: &str) -> StoreResult<LeaseKey> {
    let wrong = || unreadable("attempt", text);
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().ok_or_else(wrong);
    let (job, token, nonce) = (part()?, part()?, part()?);
    Ok(LeaseKey {
        job: job.parse().map_err(|_| wrong())?,
        token: token.parse().map_err(|_| wrong())?,
        nonce: nonce.parse().map_err(|_| wrong())?,
    })
}

pub fn write_attempt(key: &LeaseKey) -> String {
    format!("{}:{}:{}", key.job, key.token, key.nonce)
}

/// Id, token, nonce, crashes, specification.
type ExpiredRow = (String, u64, Option<String>, u32, Option<String>);

pub fn read_expired(value: Value) -> StoreResult<Vec<ExpiredLease>> {
    let rows: Vec<ExpiredRow> = parse("expired leases", value)?;
    let row = |(id, token, nonce, crashes, spec): ExpiredRow| -> StoreResult<ExpiredLease> {
        let nonce = nonce.unwrap_or_default().parse().map_err(|_| unreadable("nonce of a lease", &id))?;
        let key = LeaseKey { job: read_id(&id)?, token, nonce };
        // The lane is not needed for the limits.
        let limits = read_spec(&spec.unwrap_or_default(), Lane::Normal)?.limits;
        Ok(ExpiredLease { key, crashes, limits })
    };
    Ok(rows.into_iter().filter_map(|one| row(one).inspect_err(left_out).ok()).collect())
}

/// Says that an entry cannot be read: it must not stop what is done about the others.
pub fn left_out(error: &JobStoreError) {
    tracing::warn!(%error, "an entry of the job store is left out");
}

type StatusRow = (u64, Vec<Vec<u64>>, u64, u64, u64, i64, Vec<u64>, i64, u64, i64, u64, Vec<f64>);

pub fn read_status(value: Value) -> StoreResult<QueueStatus> {
    let row: StatusRow = parse("status", value)?;
    #[rustfmt::skip]
    let (
        now, lanes, dead, exports, webhooks, audio_ms, sums, oldest, workers_alive, outbox_oldest, exports_overdue, load,
    ) = row;
    let mut depth = [LaneDepth::default(); 3];
    for (lane, numbers) in depth.iter_mut().zip(&lanes) {
        let [ready, scheduled, retryable, running, outbox] = numbers[..] else {
            return Err(unreadable("status", &format!("{numbers:?}")));
        };
        *lane = LaneDepth { ready, scheduled, retryable, running, outbox };
    }
    let rate = |i: usize| rates::per_second(sums.get(i).copied().unwrap_or(0), now);
    Ok(QueueStatus {
        at: Timestamp::from_millis(now),
        depth,
        dead,
        exports,
        exports_overdue,
        webhooks,
        audio_waiting: Duration::from_millis(u64::try_from(audio_ms).unwrap_or(0)),
        arrived_per_s: rate(0),
        completed_per_s: rate(1),
        audio_s_per_s: rate(2) / 1000.0,
        oldest: u64::try_from(oldest).ok().map(Duration::from_millis),
        workers_alive,
        outbox_oldest: u64::try_from(outbox_oldest).ok().map(Duration::from_millis),
        load: read_load(&load)?,
    })
}

/// What `status.lua` says of the load. Counts that went wrong are healed there; until then nothing is below 0.
fn read_load(numbers: &[f64]) -> StoreResult<Load> {
    let wrong = || unreadable("load", &format!("{numbers:?}"));
    let &[
        waiting,
        ready,
        ready_ms,
        running,
        running_ms,
        audio_s_per_s,
        untimed_per_s,
        capacity,
        mean_ms,
        draining,
    ] = numbers
    else {
        return Err(wrong());
    };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is at least 0"
    )]
    let jobs = |number: f64| number.max(0.0) as u64;
    let audio = |ms: f64| Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).map_err(|_| wrong());
    Ok(Load {
        waiting_timed: jobs(waiting),
        ready_timed: jobs(ready),
        ready_audio: audio(ready_ms)?,
        running_timed: jobs(running),
        running_audio: audio(running_ms)?,
        arriving: Arriving { audio_s_per_s, untimed_per_s },
        capacity,
        draining: jobs(draining),
        mean_audio: (mean_ms >= 0.0).then(|| audio(mean_ms)).transpose()?,
    })
}

#[derive(Serialize, Deserialize)]
struct WorkerWire {
    host: String,
    device: String,
    device_name: String,
    bundle: String,
    version: String,
    jobs: u32,
    slots: u32,
    audio_s_per_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<f64>,
    draining: bool,
}

pub fn write_worker(info: &WorkerInfo) -> Vec<u8> {
    let wire = WorkerWire {
        host: info.host.clone(),
        device: info.device.clone(),
        device_name: info.device_name.clone(),
        bundle: info.bundle.clone(),
        version: info.version.clone(),
        jobs: info.jobs,
        slots: info.slots,
        audio_s_per_s: info.audio_s_per_s,
        capacity: info.capacity,
        draining: info.draining,
    };
    serde_json::to_vec(&wire).expect("texts and numbers always have a JSON form")
}

/// The store's time, then worker and `{seen} {json}` in turn.
pub fn read_workers(value: Value) -> StoreResult<Vec<WorkerSeen>> {
    let mut rows = parse::<Vec<Value>>("workers", value)?.into_iter();
    let now: u64 = parse("workers", rows.next().unwrap_or(Value::Nil))?;
    let mut seen = Vec::new();
    while let (Some(id), Some(text)) = (rows.next(), rows.next()) {
        let (id, text): (String, String) = (parse("worker", id)?, parse("worker", text)?);
        seen.push(read_worker(&id, &text, now)?);
    }
    seen.sort_by(|a, b| a.info.id.cmp(&b.info.id));
    Ok(seen)
}

fn read_worker(id: &str, text: &str, now: u64) -> StoreResult<WorkerSeen> {
    let wrong = || unreadable("worker", text);
    let id: WorkerId = id.parse().map_err(|_| unreadable("worker id", id))?;
    let (seen, json) = text.split_once(' ').ok_or_else(wrong)?;
    let seen: u64 = seen.parse().map_err(|_| wrong())?;
    let wire: WorkerWire = serde_json::from_str(json).map_err(|_| wrong())?;
    let info = WorkerInfo {
        id,
        host: wire.host,
        device: wire.device,
        device_name: wire.device_name,
        bundle: wire.bundle,
        version: wire.version,
        jobs: wire.jobs,
        slots: wire.slots,
        audio_s_per_s: wire.audio_s_per_s,
        capacity: wire.capacity,
        draining: wire.draining,
    };
    Ok(WorkerSeen { info, last_seen: Duration::from_millis(now.saturating_sub(seen)) })
}

/// A record, the count that was asked for with it, and the end of the claim.
pub type Claimed = (Raw, u32, u64);

pub fn read_claimed(value: Value) -> StoreResult<Vec<Claimed>> {
    parse("claimed jobs", value)
}

/// A length as a script's argument.
pub fn length(length: Duration) -> String {
    millis(length).to_string()
}
