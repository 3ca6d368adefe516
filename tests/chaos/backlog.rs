//! A backlog that nobody works on for a while, and then a worker that is full for longer than RabbitMQ lets a consumer hold
//! a delivery: how many notices the broker holds against the jobs there are, and whether all of them are done once.

use std::time::{Duration, Instant};

use clap::Args;
use common::adapter::redis::RedisJobStore;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::spec::{JobSpec, SourceRef};
use common::port::broker::Broker;
use common::port::job_store::{JobStore, NewJob};
use futures::{StreamExt as _, TryStreamExt as _};
use tests::fleet::job_id;
use tests::noop::WORK_MS;
use tests::servers::{Fsync, RabbitOptions};

use crate::Queue;
use crate::world::{World, WorldOptions};

#[derive(Debug, Args)]
pub struct Backlog {
    /// Jobs in all.
    #[arg(long, default_value_t = 50_000)]
    jobs: usize,
    /// How long there is no worker.
    #[arg(long, default_value_t = 600)]
    idle_s: u64,
    /// How long the first jobs take, which fill the first worker: longer than the consumer timeout of 60 s and the minute
    /// in which RabbitMQ looks for it.
    #[arg(long, default_value_t = 150)]
    full_s: u64,
    /// The queue.
    #[arg(long, value_enum, default_value_t = Queue::Amqp)]
    queue: Queue,
}

const CONSUMER_TIMEOUT: Duration = Duration::from_secs(60);
/// Seats of a worker, and so how many jobs fill it.
const SEATS: usize = 8;
/// The most notices for an available job.
const FLOOD: f64 = 1.1;
/// How long the rest may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Whether every promise was kept.
pub async fn measure(options: &Backlog) -> bool {
    let world = WorldOptions {
        amqp: options.queue == Queue::Amqp,
        fsync: Fsync::EverySecond,
        quick: false,
        workers: 0,
        worker_flags: ["--max-jobs".to_owned(), SEATS.to_string()].to_vec(),
        rabbit: RabbitOptions { consumer_timeout: Some(CONSUMER_TIMEOUT) },
        log: "warn",
        ..WorldOptions::default()
    };
    let mut world = World::start(&world).await;
    let store = world.deployment.job_store().unwrap();
    let ids = submit(&world, &store, options).await;
    let (most, last) = watch(&world, &store, Duration::from_secs(options.idle_s)).await;

    // One worker takes the slow jobs, which are the oldest, and is full; the next one takes everything else.
    let first = world.worker();
    world.workers.push(first);
    running(&store, SEATS as u64).await;
    let full = Instant::now();
    let second = world.worker();
    world.workers.push(second);
    let mut left_when_free = None;
    let drained = loop {
        let running = left(&store).await;
        if left_when_free.is_none() && full.elapsed() > Duration::from_secs(options.full_s) {
            left_when_free = Some(running);
        }
        if running == 0 {
            break true;
        }
        if full.elapsed() > PATIENCE || !world.workers.iter_mut().all(tests::fleet::Process::alive) {
            break false;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let wrong = not_once(&store, &ids).await;
    println!(
        "backlog: {:?}, {} jobs, {} s without a worker: at most {most:.3} notices in the broker for an available job, {last:.3} \
         at the end; then a worker full for {} s with a consumer timeout of {} s: {} jobs left when it was free; all ended after \
         {:.0} s: {drained}; {} not completed by one lease",
        options.queue,
        options.jobs,
        options.idle_s,
        options.full_s,
        CONSUMER_TIMEOUT.as_secs(),
        left_when_free.unwrap_or(0),
        full.elapsed().as_secs_f64(),
        wrong.len(),
    );
    wrong.iter().take(20).for_each(|wrong| println!("WRONG: {wrong}"));
    drained && wrong.is_empty() && most < FLOOD
}

async fn submit(world: &World, store: &RedisJobStore, options: &Backlog) -> Vec<JobId> {
    let uri = format!("{}/inbox/none", world.deployment.store_url);
    let new = |index: usize| {
        let mut spec = JobSpec::diarize(SourceRef::at(uri.clone()));
        if index < SEATS {
            spec.tags.insert(WORK_MS.to_owned(), (options.full_s * 1000).to_string());
        }
        NewJob::new(job_id(), spec)
    };
    let jobs: Vec<NewJob> = (0..options.jobs).map(new).collect();
    let ids = jobs.iter().map(|job| job.id).collect();
    // The slow ones first and in order; the rest as it comes.
    let inserts =
        jobs.into_iter().enumerate().map(|(index, job)| async move { (index, store.insert(job).await) });
    let mut inserts = futures::stream::iter(inserts);
    for _ in 0..SEATS {
        if let Some(insert) = inserts.next().await {
            insert.await.1.unwrap();
        }
    }
    inserts.buffer_unordered(32).for_each(|(_, inserted)| async move { drop(inserted.unwrap()) }).await;
    ids
}

/// The largest number of notices for an available job over a while, and the last.
async fn watch(world: &World, store: &RedisJobStore, during: Duration) -> (f64, f64) {
    let broker = world.deployment.broker().unwrap();
    let (began, mut most, mut last) = (Instant::now(), 0.0_f64, 0.0);
    while began.elapsed() < during {
        let available = available(store).await;
        let mut notices = 0;
        for lane in Lane::ALL {
            notices += broker.ready(lane).await.unwrap();
        }
        last = notices as f64 / available.max(1) as f64;
        most = most.max(last);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    (most, last)
}

async fn available(store: &RedisJobStore) -> u64 {
    store.status().await.unwrap().depth.iter().map(|lane| lane.ready).sum()
}

async fn running(store: &RedisJobStore, wanted: u64) {
    let began = Instant::now();
    while store.status().await.unwrap().depth.iter().map(|lane| lane.running).sum::<u64>() < wanted {
        assert!(began.elapsed() < Duration::from_secs(60), "the worker did not fill");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn left(store: &RedisJobStore) -> u64 {
    let status = store.status().await.unwrap();
    let open = status.depth.iter().map(|lane| lane.ready + lane.scheduled + lane.retryable + lane.running);
    open.sum::<u64>() + status.exports
}

/// The jobs that were not completed by their first lease.
async fn not_once(store: &RedisJobStore, ids: &[JobId]) -> Vec<String> {
    let records = ids.iter().map(|id| async move { store.get(*id).await.map(|record| (*id, record)) });
    let records: Vec<_> = futures::stream::iter(records).buffered(32).try_collect().await.unwrap();
    let wrong = records.into_iter().filter_map(|(id, record)| match record {
        Some(record) if (record.state, record.token) == (JobState::Completed, 1) => None,
        other => Some(format!("{id}: {other:?}")),
    });
    wrong.collect()
}
