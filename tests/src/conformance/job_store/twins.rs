//! Two stores given the same random steps must answer alike: the reference in memory and another adapter.

use std::time::Duration;

use common::clock::{Monotonic, Timestamp};
use common::job::failure::{FailureClass, Stage};
use common::job::lane::Lane;
use common::job::record::{JobRecord, Progress};
use common::job::retry::after_crash;
use common::job::spec::{CacheKey, Limits};
use common::job::transition::Transition;
use common::port::job_store::{
    Acquired, Extension, Idempotency, Inserted, JobFilter, JobStore, NewJob, QueueStatus, StoreRules,
    Unready, WebhookAnswer, WebhookOutcome,
};
use common::scaling::Load;

use super::*;

/// Deterministic random numbers (the constants of Knuth's MMIX generator, high half of the state).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One step, with everything that chance decided.
#[derive(Debug, Clone)]
enum Step {
    Insert(Box<NewJob>),
    Acquire { job: u8, worker: u8, nonce: u8, short: bool },
    Extend { job: u8, short: bool },
    Report { job: u8, percent: u8 },
    Settle { job: u8, ending: u64 },
    Cancel(u8),
    NextCancels(u8),
    Retry(u8),
    Purge(u8),
    Outbox { n: usize, delete: bool },
    Promote,
    Rescue,
    Ring(Lane),
    Exports,
    Webhooks { again: bool },
    Sweeps,
    Pass,
}

fn step(dice: &mut Dice, nth: u8) -> Step {
    let job = u8::try_from(dice.below(8)).expect("eight jobs");
    let short = dice.below(3) == 0;
    match dice.below(26) {
        0..=3 => Step::Insert(Box::new(new_job(dice))),
        4..=7 => Step::Acquire { job, worker: nth % 2, nonce: nth % 16, short },
        8 => Step::Extend { job, short },
        9 => Step::Report { job, percent: nth % 101 },
        10..=13 => Step::Settle { job, ending: dice.below(6) },
        14 => Step::Cancel(job),
        15 => Step::NextCancels(nth % 2),
        16 => Step::Retry(job),
        17 => Step::Purge(job),
        18 => Step::Outbox { n: usize::from(nth % 4), delete: short },
        19 => Step::Promote,
        20 => Step::Rescue,
        21 => Step::Ring(Lane::ALL[usize::from(nth % 3)]),
        22 => Step::Exports,
        23 => Step::Webhooks { again: short },
        24 => Step::Sweeps,
        _ => Step::Pass,
    }
}

fn new_job(dice: &mut Dice) -> NewJob {
    let mut spec = spec();
    spec.audio.uri = format!("s3://bucket/{}.wav", dice.below(3));
    spec.audio.duration = (dice.below(2) == 0).then_some(Duration::from_secs(10 * dice.below(3)));
    spec.lane = Lane::ALL[usize::try_from(dice.below(3)).expect("three lanes")];
    spec.limits = Limits { attempts_max: 2, crashes_max: 2, ..Limits::default() };
    spec.callback_url = (dice.below(3) == 0).then(|| "https://example.org/".to_owned());
    let cache = CacheKey::of(&spec, ContentDigest::of(spec.audio.uri.as_bytes()), "starter@1");
    NewJob {
        delay: [Duration::ZERO, Duration::ZERO, MOMENT, HOUR][usize::try_from(dice.below(4)).expect("four")],
        idempotency: (dice.below(5) == 0).then(|| Idempotency::new("the one key").expect("it is short")),
        cache: cache.filter(|_| dice.below(3) == 0),
        force: dice.below(4) == 0,
        ..NewJob::new(id(u8::try_from(dice.below(8)).expect("eight jobs")), spec)
    }
}

fn timeless(mut record: JobRecord) -> JobRecord {
    let zero = Timestamp::default();
    (record.created_at, record.available_at) = (zero, zero);
    for time in [
        &mut record.started_at,
        &mut record.lease_expires_at,
        &mut record.completed_at,
        &mut record.exported_at,
    ] {
        *time = time.map(|_| zero);
    }
    record
}

fn timeless_status(status: &QueueStatus) -> String {
    let depth: Vec<_> = status.depth.iter().map(|d| (d.ready, d.scheduled, d.retryable, d.running)).collect();
    let left = (status.dead, status.exports, status.webhooks, status.audio_waiting, status.oldest.is_some());
    let Load { waiting_timed, ready_timed, ready_audio, running_timed, running_audio, .. } = status.load;
    let load = (waiting_timed, ready_timed, ready_audio, running_timed, running_audio);
    format!("{depth:?} {left:?} {load:?} {}", status.outbox_oldest.is_some())
}

/// Carries out a step and gives what can be compared: the answer, then every record, then the counts.
async fn run<B: Bench>(bench: &B, store: &B::Store, step: &Step) -> Vec<String> {
    let mut told = vec![answer(bench, store, step).await];
    let all = store.list(JobFilter { limit: 100, ..JobFilter::default() }).await.unwrap().jobs;
    let mut all: Vec<_> = all.into_iter().map(timeless).collect();
    all.sort_by_key(|record| record.id);
    told.extend(all.iter().map(|record| format!("{record:?}")));
    told.push(timeless_status(&store.status().await.unwrap()));
    told
}

async fn answer<B: Bench>(bench: &B, store: &B::Store, step: &Step) -> String {
    let short = |short: bool| if short { MOMENT } else { HOUR };
    let key = async |job: u8| match store.get(id(job)).await.unwrap() {
        // What the last lease of a job was called, right or wrong by now.
        Some(record) => LeaseKey {
            job: record.id,
            token: record.token,
            nonce: record.nonce.unwrap_or(Nonce::new([0xee; 16])),
        },
        None => LeaseKey { job: id(job), token: 1, nonce: Nonce::new([0; 16]) },
    };
    match step.clone() {
        Step::Insert(job) => {
            let told = match store.insert(*job).await.unwrap() {
                Inserted::Accepted(record) => format!("accepted {:?}", timeless(record)),
                Inserted::Cached(record) => format!("cached {:?}", timeless(record)),
                Inserted::Same(record) => format!("same {:?}", timeless(record)),
                Inserted::Poison { job } => format!("poison {job}"),
            };
            // A delay of a moment is over in both stores before the next step.
            bench.pass(store, MOMENT * 2).await;
            told
        }
        Step::Acquire { job, worker, nonce, short: is_short } => {
            let request = request(id(job), &format!("w{worker}"), nonce, short(is_short));
            let told = match store.acquire(request).await.unwrap() {
                // The stores' clocks do not stand still together.
                Acquired::Granted(mut lease) => format!("{:?} {lease:?}", lease.waited.take().is_some()),
                Acquired::Refused(Unready::NotDue { .. }) => "not due".to_owned(),
                Acquired::Refused(why) => format!("{why:?}"),
            };
            if is_short {
                bench.pass(store, MOMENT * 2).await;
            }
            told
        }
        Step::Extend { job, short: is_short } => {
            let extended = store.extend(key(job).await, short(is_short), Monotonic::default()).await.unwrap();
            if is_short && extended != Extension::Lost {
                bench.pass(store, MOMENT * 2).await;
            }
            format!("{extended:?}")
        }
        Step::Report { job, percent } => {
            let progress = Progress { stage: Stage::Clustering, percent };
            format!("{:?}", store.report(key(job).await, progress).await.unwrap())
        }
        Step::Settle { job, ending } => {
            let transition = match ending {
                0 | 1 => Transition::complete(result()),
                2 => {
                    let attempts = store.get(id(job)).await.unwrap().map_or(0, |record| record.attempts);
                    let limits = Limits { attempts_max: 2, ..Limits::default() };
                    Transition::after_failure(failure(FailureClass::Retryable), attempts, &limits, 0.0)
                }
                3 => Transition::discard(failure(FailureClass::Permanent)),
                4 => Transition::cancel(),
                _ => Transition::interrupt(),
            };
            format!("{:?}", store.settle(key(job).await, transition).await.unwrap())
        }
        Step::Cancel(job) => format!("{:?}", store.request_cancel(id(job)).await.unwrap()),
        Step::NextCancels(worker_number) => {
            let name = worker(&format!("w{worker_number}"));
            format!("{:?}", store.next_cancels(&name, Duration::ZERO).await.unwrap())
        }
        Step::Retry(job) => format!("{:?}", store.retry(id(job)).await.unwrap()),
        Step::Purge(job) => format!("{:?}", store.purge(id(job)).await.unwrap()),
        other => upkeep(bench, store, other).await,
    }
}

async fn upkeep<B: Bench>(bench: &B, store: &B::Store, step: Step) -> String {
    bench.pass(store, MOMENT * 2).await;
    let told = match step {
        Step::Outbox { n, delete } => {
            // Which bells come first among equals is not promised, so all are taken; `n` only varies the walk.
            let entries = claim_bells(store, 100 + n, MOMENT).await;
            if delete {
                store.delete_outbox(&entries).await.unwrap();
            }
            sorted(entries.iter().map(|entry| (entry.lane, entry.job)))
        }
        Step::Promote => format!("{}", store.promote_due(100).await.unwrap()),
        Step::Rescue => {
            let expired = store.expired_leases(100).await.unwrap();
            let mut ends = Vec::new();
            for lease in &expired {
                let after = after_crash(lease.crashes, &lease.limits);
                ends.push((lease.key, format!("{:?}", store.end_lease(lease.key, after).await.unwrap())));
            }
            sorted(ends)
        }
        Step::Ring(lane) => {
            let rescuer = worker("r");
            assert!(store.rescue_turn(&rescuer, HOUR).await.unwrap());
            // How many are due depends on when they were rung last, by a clock that runs: only that none fails.
            store.ring(&rescuer, lane, 100).await.unwrap();
            String::new()
        }
        Step::Exports => {
            let left = store.claim_exports(100, MOMENT).await.unwrap();
            for record in &left {
                let audio = ContentDigest::of(record.spec.audio.uri.as_bytes());
                let cache = CacheKey::of(&record.spec, audio, "starter@1");
                let problem = (record.id == id(2)).then_some("gone");
                store.mark_exported(record.id, cache, problem).await.unwrap();
            }
            sorted(left.iter().map(|record| record.id))
        }
        Step::Webhooks { again } => {
            let due = store.claim_webhooks(100, MOMENT).await.unwrap();
            let outcome = if again { WebhookOutcome::Again { after: MOMENT } } else { WebhookOutcome::Done };
            for hook in &due {
                store.finish_webhook(hook.claim, outcome, WebhookAnswer::default()).await.unwrap();
            }
            sorted(due.iter().map(|hook| (hook.record.id, hook.tries)))
        }
        Step::Sweeps => {
            let lost = store.claim_sweeps(100, MOMENT).await.unwrap();
            store.delete_sweeps(&lost).await.unwrap();
            sorted(lost)
        }
        _ => String::new(),
    };
    bench.pass(store, MOMENT * 2).await;
    told
}

fn sorted<T: Ord + std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    format!("{items:?}")
}

/// Walks both benches through the same `steps` random steps.
///
/// # Panics
/// At the first answer in which they differ.
pub async fn twins_agree(one: &impl Bench, other: &impl Bench, seed: u64, steps: usize) {
    // Ringing makes bells at moments that differ between a clock that stands and one that runs; an hour keeps them out.
    let rules = StoreRules { retention: HOUR, bell_first: HOUR, ..hasty() };
    let (first, second) = (one.store(rules), other.store(rules));
    let mut dice = Dice(seed);
    let mut walked = Vec::new();
    for nth in 0..steps {
        let step = step(&mut dice, u8::try_from(nth % 251).expect("below 251"));
        let (a, b) = (run(one, &first, &step).await, run(other, &second, &step).await);
        walked.push(step);
        assert_eq!(a, b, "seed {seed}, after {:#?}", &walked[walked.len().saturating_sub(12)..]);
    }
}
