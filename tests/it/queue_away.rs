//! A queue that is away, or says nothing, while everything else is well.

use std::time::Duration;

use common::adapter::amqp::queue_name;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::spec::{JobSpec, SourceRef};
use common::port::broker::Broker as _;
use common::port::job_store::{Inserted, JobStore as _, NewJob};
use tests::fleet::{Fleet, PATIENCE, Queue, job_id, namespace};
use tests::noop::WORK_MS;
use tests::proxy::Proxy;
use tests::servers::{Rabbit, RabbitOptions, ScopedFolder, shared};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::broker_faults::{address, by_way_of, publish_surely};

/// A fleet whose queue is behind a proxy.
async fn fleet(queue: Queue) -> (Fleet, Proxy) {
    let servers = shared();
    let url = if queue == Queue::Amqp { &servers.amqp_url } else { &servers.redis_url };
    let proxy = Proxy::start(address(url)).await.unwrap();
    let fleet = Fleet::at(servers.redis_url.clone(), by_way_of(url, &proxy), None, namespace()).await;
    (fleet, proxy)
}

fn spec(fleet: &Fleet, lane: Lane) -> JobSpec {
    let mut spec = JobSpec::diarize(SourceRef::at(format!("{}/inbox/none", fleet.deployment.store_url)));
    spec.lane = lane;
    spec
}

/// Records a job and leaves its bell to whoever relays.
async fn record(fleet: &Fleet, lane: Lane) -> JobId {
    let new = NewJob { force: true, ..NewJob::new(job_id(), spec(fleet, lane)) };
    let id = new.id;
    let inserted = fleet.store.insert(new).await.unwrap();
    assert!(matches!(inserted, Inserted::Accepted(_)), "{inserted:?}");
    id
}

/// One job whose notice the queue has, and one whose bell it does not get, in other lanes.
async fn work_goes_on(queue: Queue, away: impl FnOnce(&Proxy), back: impl FnOnce(&Proxy)) {
    let (fleet, proxy) = fleet(queue).await;
    let told = fleet.submit(spec(&fleet, Lane::Low)).await;
    assert_eq!(fleet.broker.ready(Lane::Low).await.unwrap(), 1);
    away(&proxy);
    let untold = record(&fleet, Lane::High).await;
    let worker = fleet.worker("worker", &[]);
    for job in [told, untold] {
        let record = fleet.ended(job).await;
        assert_eq!((record.state, record.token), (JobState::Completed, 1), "{}", worker.said());
    }
    back(&proxy);
    // The bell goes to the queue again, and what the queue says of the first job changes nothing.
    let later = record(&fleet, Lane::Low).await;
    assert_eq!(fleet.ended(later).await.state, JobState::Completed);
    let emptied = async || fleet.broker.ready(Lane::Low).await.is_ok_and(|ready| ready == 0);
    let until = Instant::now() + PATIENCE;
    while !emptied().await {
        assert!(Instant::now() < until, "{}", worker.said());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fleet.record(told).await.token, 1);
}

fn refuses(refuse: bool) -> impl FnOnce(&Proxy) {
    move |proxy| {
        proxy.refuse(refuse);
        proxy.drop_all();
    }
}

/// Connections stand and nothing comes through them; afterwards new ones do.
fn is_mute(mute: bool) -> impl FnOnce(&Proxy) {
    move |proxy| {
        proxy.hold_answers(mute);
        if !mute {
            proxy.drop_all();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_without_rabbitmq() {
    work_goes_on(Queue::Amqp, refuses(true), refuses(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_beside_a_mute_rabbitmq() {
    work_goes_on(Queue::Amqp, is_mute(true), is_mute(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_without_redis_streams() {
    work_goes_on(Queue::Redis, refuses(true), refuses(false)).await;
}

/// Notices of a lower lane without end do not keep a worker from seeing that a higher one says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_lane_beside_a_busy_one_is_served() {
    let fleet = Fleet::start(Queue::Amqp).await;
    let silent = record(&fleet, Lane::High).await;
    // A relay that never publishes it; rescue does not ring for what lies in the outbox.
    let hour = Duration::from_secs(3600);
    assert_eq!(fleet.store.claim_outbox(Lane::High, 10, hour).await.unwrap().len(), 1);
    for _ in 0..300 {
        let mut low = spec(&fleet, Lane::Low);
        low.tags.insert(WORK_MS.to_owned(), "100".to_owned());
        fleet.submit(low).await;
    }
    let worker = fleet.worker("worker", &["--max-jobs", "1"]);
    let record = fleet.ended(silent).await;
    assert_eq!((record.state, record.token), (JobState::Completed, 1), "{}", worker.said());
    let waiting = fleet.store.status().await.unwrap().lane(Lane::Low).ready;
    assert!(waiting > 0, "the lower lane had come to its end before: {}", worker.said());
}

/// A backlog is always old: it must not keep a worker from listening to a queue that is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_back_is_heard_under_a_backlog() {
    const JOBS: u64 = 150;
    let (fleet, proxy) = fleet(Queue::Amqp).await;
    for _ in 0..JOBS {
        let mut spec = spec(&fleet, Lane::Low);
        spec.tags.insert(WORK_MS.to_owned(), "200".to_owned());
        fleet.submit(spec).await;
    }
    refuses(true)(&proxy);
    let worker = fleet.worker("worker", &["--max-jobs", "1"]);
    let until = Instant::now() + PATIENCE;
    let waiting = async || fleet.store.status().await.unwrap().lane(Lane::Low).ready;
    while waiting().await > JOBS - 5 {
        assert!(Instant::now() < until, "{}", worker.said());
        sleep(Duration::from_millis(100)).await;
    }
    refuses(false)(&proxy);
    // Notices of jobs that are over by now stand in front; they go, and those of waiting jobs are followed.
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "{}", worker.said());
        let (waiting, told) = (waiting().await, fleet.broker.ready(Lane::Low).await);
        assert!(waiting > 0, "heard only when nothing was left: {told:?}, {}", worker.said());
        if told.is_ok_and(|told| told <= waiting) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Makes the queue of a lane anew and kills the server before it is whole: RabbitMQ 3.10 keeps it without a leader then.
async fn silence(server: &mut Rabbit, fleet: &Fleet, lane: Lane) {
    let url = server.url();
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default());
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    let queue = queue_name(&fleet.deployment.namespace, lane);
    channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    fleet.broker.assert_topology().await.unwrap();
    server.crash_and_restart().unwrap();
}

/// One queue that says nothing takes neither bells nor ears from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_without_a_leader_holds_up_no_other() {
    let folder = ScopedFolder::new().unwrap();
    let mut server = Rabbit::start(folder.path(), &RabbitOptions::default()).unwrap();
    let fleet = Fleet::at(shared().redis_url.clone(), server.url(), None, namespace()).await;
    for lane in [Lane::High, Lane::Normal] {
        fleet.broker.publish(lane, b"whole").await.unwrap();
    }
    // These queues are to outlive the kill, and RabbitMQ 3.10 takes some seconds until they do. There is nothing to wait
    // for: that their names are in its tables on disk is not enough (2 of 5 times they had no leader all the same).
    sleep(Duration::from_secs(12)).await;
    silence(&mut server, &fleet, Lane::Low).await;
    for lane in [Lane::High, Lane::Normal] {
        publish_surely(&fleet.broker, lane, "whole").await;
    }
    // Each waits for its confirm; a server that was late with the first is not with the second.
    for _ in 0..2 {
        if fleet.broker.publish(Lane::Low, b"none").await.is_ok() {
            eprintln!("SKIPPED: this RabbitMQ gives every queue a leader");
            return;
        }
    }
    // More than may wait for their confirm at a time, and than a relay claims at once.
    let mut silent = JoinSet::new();
    for _ in 0..600 {
        record(&fleet, Lane::Low).await;
        let broker = fleet.broker.clone();
        silent.spawn(async move { broker.publish(Lane::Low, b"none").await });
    }
    let worker = fleet.worker("worker", &["--max-jobs", "1"]);
    let until = Instant::now() + PATIENCE;
    while !worker.said().contains("listened to apart") {
        assert!(Instant::now() < until, "{}", worker.said());
        sleep(Duration::from_millis(100)).await;
    }
    for n in 0..10 {
        fleet.broker.publish(Lane::Normal, b"beside").await.unwrap();
        let job = record(&fleet, Lane::High).await;
        let record = fleet.ended(job).await;
        assert_eq!((record.state, record.token), (JobState::Completed, 1), "{}", worker.said());
        let unheard = worker
            .said()
            .lines()
            .any(|line| line.contains("gave no notice") && line.contains(&job.to_string()));
        assert!(!unheard, "{n}: {}", worker.said());
    }
    while let Some(answer) = silent.try_join_next() {
        answer.unwrap().expect_err("it was not silent");
    }
    server.stop().unwrap();
}

/// RabbitMQ 3.10 may keep a queue without a leader for ever then: it takes notices, or not, and gives none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_after_rabbitmq_was_killed_while_its_queues_were_made() {
    let folder = ScopedFolder::new().unwrap();
    let mut server = Rabbit::start(folder.path(), &RabbitOptions::default()).unwrap();
    let fleet = Fleet::at(shared().redis_url.clone(), server.url(), None, namespace()).await;
    server.crash_and_restart().unwrap();
    let worker = fleet.worker("worker", &[]);
    let mut jobs = Vec::new();
    for n in 0..30 {
        jobs.push(record(&fleet, Lane::ALL[n % 3]).await);
    }
    for job in jobs {
        let record = fleet.ended(job).await;
        assert_eq!((record.state, record.token), (JobState::Completed, 1), "{}", worker.said());
    }
    eprintln!("{} of 30 without a notice", worker.said().matches("gave no notice").count());
    server.stop().unwrap();
}
