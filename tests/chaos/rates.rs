//! How fast a fleet is on this machine: jobs per second from submission to export, the time from submission to lease,
//! what a finished job costs on Redis, and how workers share the jobs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use common::adapter::redis::RedisJobStore;
use common::fleet::relay::{self, RelayRules};
use common::job::record::JobState;
use common::job::spec::{JobSpec, SourceRef};
use common::port::job_store::{JobFilter, JobStore, LIST_MAX, NewJob};
use tests::fleet::job_id;
use tests::servers::Fsync;

use crate::Queue;
use crate::world::{World, WorldOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Disk {
    Always,
    Everysec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    File,
    S3,
}

#[derive(Debug, Args)]
pub struct Rates {
    /// Jobs in all.
    #[arg(long, default_value_t = 50_000)]
    jobs: usize,
    /// Jobs submitted per second; without it, as fast as they are accepted.
    #[arg(long)]
    per_second: Option<u32>,
    /// The queue.
    #[arg(long, value_enum, default_value_t = Queue::Amqp)]
    queue: Queue,
    /// When Redis waits for the disk.
    #[arg(long, value_enum, default_value_t = Disk::Everysec)]
    fsync: Disk,
    /// Where documents go.
    #[arg(long, value_enum, default_value_t = Store::File)]
    store: Store,
    /// Worker processes.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Tasks of a worker that take notices.
    #[arg(long, default_value_t = 8)]
    takers: usize,
    /// Jobs at once in a worker.
    #[arg(long, default_value_t = 64)]
    max_jobs: usize,
    /// Submissions under way at once.
    #[arg(long, default_value_t = 32)]
    submitters: usize,
}

/// How long a run may take at most.
const PATIENCE: Duration = Duration::from_secs(1800);

pub async fn measure(options: &Rates) {
    let flags = [("--takers", options.takers), ("--max-jobs", options.max_jobs)];
    let world = WorldOptions {
        amqp: options.queue == Queue::Amqp,
        fsync: if options.fsync == Disk::Always { Fsync::Always } else { Fsync::EverySecond },
        s3: options.store == Store::S3,
        quick: false,
        workers: options.workers,
        worker_flags: flags.iter().flat_map(|(flag, n)| [(*flag).to_owned(), n.to_string()]).collect(),
        log: "warn",
        ..WorldOptions::default()
    };
    let mut world = World::start(&world).await;
    let store = world.deployment.job_store().unwrap();
    ready(&store, options.workers).await;
    let before = used_memory(&world);
    let began = Instant::now();
    let submitted = submit(&world, options).await;
    let done = drained(&store, &mut world).await;
    let took = began.elapsed();
    let (jobs, bytes) = (options.jobs, used_memory(&world).saturating_sub(before));
    println!(
        "rates: {:?}, {:?}, {:?} store, {} workers: {jobs} jobs, submitted in {:.1} s, done in {:.1} s: {:.0} jobs/s; \
         {} bytes of Redis a job",
        options.queue,
        options.fsync,
        options.store,
        options.workers,
        submitted.as_secs_f64(),
        took.as_secs_f64(),
        jobs as f64 / took.as_secs_f64(),
        bytes / jobs as u64,
    );
    shares(&store, jobs).await;
    assert!(done, "not everything was done within {PATIENCE:?}");
}

async fn ready(store: &RedisJobStore, workers: usize) {
    let began = Instant::now();
    while store.workers().await.unwrap().len() < workers {
        assert!(began.elapsed() < Duration::from_secs(60), "the workers did not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Submits and relays, as `rollcall submit` does.
async fn submit(world: &World, options: &Rates) -> Duration {
    let (store, broker) = (world.deployment.job_store().unwrap(), world.deployment.broker().unwrap());
    let uri = format!("{}/inbox/none", world.deployment.store_url);
    let (began, next, jobs) = (Instant::now(), Arc::new(AtomicUsize::new(0)), options.jobs);
    let relaying = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                let relayed = relay::pass_all(&store, &broker, &RelayRules::default()).await;
                // Half-empty batches cost as much as full ones.
                if !relayed.is_ok_and(|relayed| relayed.published > 64) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    });
    let mut submitting = tokio::task::JoinSet::new();
    for _ in 0..options.submitters {
        let (store, uri, next, per_second) =
            (store.clone(), uri.clone(), Arc::clone(&next), options.per_second);
        submitting.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= jobs {
                    return;
                }
                if let Some(per_second) = per_second {
                    let due = Duration::from_secs_f64(index as f64 / f64::from(per_second));
                    tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                }
                let spec = JobSpec::diarize(SourceRef::at(uri.clone()));
                store.insert(NewJob::new(job_id(), spec)).await.unwrap();
            }
        });
    }
    while let Some(done) = submitting.join_next().await {
        done.unwrap();
    }
    let took = began.elapsed();
    while store.status().await.unwrap().outbox() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    relaying.abort();
    took
}

/// Until nothing waits, runs or is left to export; whether that came in time.
async fn drained(store: &RedisJobStore, world: &mut World) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let status = store.status().await.unwrap();
        let left: u64 =
            status.depth.iter().map(|lane| lane.ready + lane.scheduled + lane.retryable + lane.running).sum();
        if left + status.exports == 0 {
            return true;
        }
        assert!(world.workers.iter_mut().all(tests::fleet::Process::alive), "a worker ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Latencies and shares, from the newest records.
async fn shares(store: &RedisJobStore, jobs: usize) {
    let records =
        store.list(JobFilter { limit: jobs.min(LIST_MAX), ..JobFilter::default() }).await.unwrap().jobs;
    let mut by_worker: BTreeMap<String, usize> = BTreeMap::new();
    let mut waits = Vec::new();
    for record in &records {
        assert_eq!((record.state, record.token), (JobState::Completed, 1), "worked on once: {record:?}");
        let worker = record.worker.as_ref().map_or("", |worker| worker.as_str()).to_owned();
        *by_worker.entry(worker).or_default() += 1;
        waits.extend(record.started_at.map(|started| started.since(record.created_at)));
    }
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_millis();
    println!(
        "rates: newest {} jobs, each leased once; submit to lease: p50 {} ms, p99 {} ms, max {} ms; by worker: {:?}",
        records.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        by_worker.values().collect::<Vec<_>>()
    );
}

/// One field of `INFO memory`, asked without a client library.
fn used_memory(world: &World) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", world.redis.port())).unwrap();
    stream.write_all(b"INFO memory\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}
