//! Queues behind a proxy that drops connections and loses answers, deaths of consumers and servers, refusals.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::adapter::amqp::AmqpBroker;
use common::job::lane::Lane;
use common::port::broker::{Broker, BrokerError, Consumer as _, Delivery as _};
use tests::conformance::broker::{PATIENCE, publish, ready_becomes, take, text};
use tests::proxy::Proxy;
use tests::servers::{Fsync, Rabbit, RabbitOptions, Redis, ScopedFolder, free_ports, shared};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::{namespace, redis_streams};

/// Host and port of an address.
pub fn address(url: &str) -> SocketAddr {
    let rest = url.split_once("://").unwrap().1;
    rest.rsplit_once('@').map_or(rest, |(_, host)| host).split('/').next().unwrap().parse().unwrap()
}

/// The same address by way of a proxy.
pub fn by_way_of(url: &str, proxy: &Proxy) -> String {
    url.replace(&address(url).to_string(), &proxy.address().to_string())
}

/// A queue by way of a proxy, and the same queue directly.
struct Pair<B> {
    hurt: B,
    direct: B,
    proxy: Proxy,
}

async fn amqp() -> Pair<AmqpBroker> {
    let (url, name) = (&shared().amqp_url, namespace());
    let proxy = Proxy::start(address(url)).await.unwrap();
    let hurt = AmqpBroker::new(&by_way_of(url, &proxy), &name).unwrap();
    Pair { hurt, direct: AmqpBroker::new(url, &name).unwrap(), proxy }
}

async fn redis() -> Pair<common::adapter::redis_streams::RedisStreamsBroker> {
    let (url, name) = (&shared().redis_url, namespace());
    let proxy = Proxy::start(address(url)).await.unwrap();
    let hurt = redis_streams(&by_way_of(url, &proxy), &name);
    Pair { hurt, direct: redis_streams(url, &name), proxy }
}

/// Publishes until it is confirmed, as the relay does.
pub async fn publish_surely(broker: &impl Broker, lane: Lane, notice: &str) {
    let started = Instant::now();
    while let Err(error) = broker.publish(lane, notice.as_bytes()).await {
        assert!(error.is_transient() && started.elapsed() < 3 * PATIENCE, "{error}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn a_lost_confirm_is_told<B: Broker>(pair: Pair<B>) {
    pair.hurt.publish(Lane::Normal, b"before").await.unwrap();
    pair.proxy.hold_answers(true);
    let hurt = pair.hurt.clone();
    let publishing = tokio::spawn(async move { hurt.publish(Lane::Normal, b"lost").await });
    ready_becomes(&pair.direct, Lane::Normal, 2).await;
    assert!(!publishing.is_finished(), "not confirmed, not done");
    pair.proxy.drop_all();
    let error = timeout(PATIENCE, publishing).await.expect("bounded").unwrap().unwrap_err();
    assert!(matches!(error, BrokerError::Unconfirmed { .. }), "{error}");
    pair.proxy.hold_answers(false);
    publish_surely(&pair.hurt, Lane::Normal, "lost").await;
    ready_becomes(&pair.direct, Lane::Normal, 3).await;
}

/// Connections end all the time; every notice arrives all the same, and nobody hangs.
async fn drops_lose_nothing<B: Broker>(pair: Pair<B>, count: usize) {
    let Pair { hurt, direct, proxy } = pair;
    let progress = Arc::new(AtomicU64::new(0));
    let drops = Arc::new(AtomicU64::new(0));
    let dropping = tokio::spawn({
        let (progress, drops) = (Arc::clone(&progress), Arc::clone(&drops));
        async move {
            loop {
                // After a few steps, wherever they may be; or after a while, in the middle of connecting.
                let (before, started) = (progress.load(Ordering::SeqCst), Instant::now());
                let number = drops.fetch_add(1, Ordering::SeqCst);
                while progress.load(Ordering::SeqCst) < before + 5
                    && started.elapsed() < Duration::from_millis(2000)
                {
                    sleep(Duration::from_millis(1 + number % 7)).await;
                }
                proxy.drop_all();
            }
        }
    });
    let publishing = async {
        for number in 0..count {
            publish_surely(&hurt, Lane::ALL[number % 3], &number.to_string()).await;
            progress.fetch_add(1, Ordering::SeqCst);
        }
    };
    let mut consumer = hurt.consume(&Lane::ALL).await.unwrap();
    let consuming = async {
        let mut seen = BTreeSet::new();
        let mut deliveries = 0;
        let started = Instant::now();
        while seen.len() < count {
            assert!(started.elapsed() < 6 * PATIENCE, "{} of {count} arrived", seen.len());
            let Ok(delivery) = timeout(PATIENCE, consumer.next()).await else { continue };
            let delivery = delivery.unwrap();
            deliveries += 1;
            progress.fetch_add(1, Ordering::SeqCst);
            seen.insert(text(&delivery));
            // A lost ack rings again.
            let _ = delivery.ack().await;
        }
        deliveries
    };
    let ((), deliveries) = tokio::join!(publishing, consuming);
    dropping.abort();
    let drops = drops.load(Ordering::SeqCst);
    assert!(drops >= count as u64 / 10, "{count} notices, {deliveries} deliveries, {drops} drops");
    consumer.close().await;
    // What a dead connection held comes back and is all that is left.
    let mut last = direct.consume(&Lane::ALL).await.unwrap();
    while let Ok(delivery) = timeout(Duration::from_secs(3), last.next()).await {
        delivery.unwrap().ack().await.unwrap();
    }
    for lane in Lane::ALL {
        ready_becomes(&direct, lane, 0).await;
    }
}

/// A consumer whose machine is gone: what it held goes to another.
async fn the_dead_give_back<B: Broker>(pair: Pair<B>) {
    publish(&pair.direct, Lane::High, "n", 3).await;
    let mut dying = pair.hurt.consume(&Lane::ALL).await.unwrap();
    let held = take(&mut dying).await;
    let name = text(&held);
    // Neither acks nor hand-backs get through any more.
    pair.proxy.refuse(true);
    pair.proxy.drop_all();
    std::mem::forget(held);
    let mut living = pair.direct.consume(&Lane::ALL).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let delivery = take(&mut living).await;
        if text(&delivery) == name {
            assert!(delivery.redelivered());
        }
        seen.insert(text(&delivery));
        delivery.ack().await.unwrap();
    }
}

/// An ack on a connection that is gone fails as transient, and the notice rings again.
async fn a_lost_ack_rings_again<B: Broker>(pair: Pair<B>) {
    pair.direct.publish(Lane::Low, b"n").await.unwrap();
    let mut consumer = pair.hurt.consume(&[Lane::Low]).await.unwrap();
    let delivery = take(&mut consumer).await;
    pair.proxy.refuse(true);
    pair.proxy.drop_all();
    // Over AMQP nobody confirms an ack: it may have gone into a connection whose end was not noticed yet.
    if let Err(error) = timeout(PATIENCE, delivery.ack()).await.expect("bounded") {
        assert!(error.is_transient(), "{error}");
    }
    pair.proxy.refuse(false);
    let again = take(&mut consumer).await;
    assert_eq!((text(&again).as_str(), again.redelivered()), ("n", true));
    again.ack().await.unwrap();
    ready_becomes(&pair.direct, Lane::Low, 0).await;
}

macro_rules! for_both {
    ($($case:ident($($argument:expr),*);)+) => {
        $(mod $case {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn amqp() {
                super::$case(super::amqp().await, $($argument),*).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis() {
                super::$case(super::redis().await, $($argument),*).await;
            }
        })+
    };
}

for_both! {
    a_lost_confirm_is_told();
    drops_lose_nothing(300);
    the_dead_give_back();
    a_lost_ack_rings_again();
}

/// A server that is killed and comes back has every confirmed notice, and consumers and publishers find it again.
async fn survives_a_crash<B: Broker>(broker: B, crash: impl FnOnce() + Send + 'static) {
    publish(&broker, Lane::Normal, "before", 50).await;
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    take(&mut consumer).await.ack().await.unwrap();
    let mut held = vec![take(&mut consumer).await];
    let crashing = tokio::task::spawn_blocking(crash);
    // Asked while the server is down: the consumer waits, a publisher is told.
    let mut waiting = tokio::spawn(async move {
        let delivery =
            timeout(10 * PATIENCE, consumer.next()).await.expect("the consumer comes back").unwrap();
        (consumer, delivery)
    });
    crashing.await.unwrap();
    publish_surely(&broker, Lane::High, "after").await;
    let (mut consumer, delivery) = (&mut waiting).await.unwrap();
    held.push(delivery);
    let mut seen = BTreeSet::new();
    for delivery in held {
        seen.insert(text(&delivery));
        let _ = delivery.ack().await;
    }
    while seen.len() < 50 {
        let delivery = take(&mut consumer).await;
        seen.insert(text(&delivery));
        delivery.ack().await.unwrap();
    }
    assert!(seen.contains("after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_is_killed() {
    let folder = ScopedFolder::new().unwrap();
    let mut server = Rabbit::start(folder.path(), &RabbitOptions::default()).unwrap();
    let broker = AmqpBroker::new(&server.url(), "crash").unwrap();
    broker.assert_topology().await.unwrap();
    // RabbitMQ 3.10 that is killed within 3 s of creating a quorum queue comes back with a queue that takes notices and
    // answers no `basic.consume`: it keeps the queue's registration in memory for that long.
    sleep(Duration::from_secs(6)).await;
    let (sender, receiver) = std::sync::mpsc::channel();
    survives_a_crash(broker, move || {
        server.crash_and_restart().unwrap();
        sender.send(server).unwrap();
    })
    .await;
    receiver.recv().unwrap().stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed() {
    let folder = ScopedFolder::new().unwrap();
    let mut server = Redis::start(folder.path(), Fsync::Always).unwrap();
    let broker = redis_streams(&server.url(), "crash");
    let (sender, receiver) = std::sync::mpsc::channel();
    survives_a_crash(broker, move || {
        server.crash_and_restart().unwrap();
        sender.send(server).unwrap();
    })
    .await;
    receiver.recv().unwrap().stop().unwrap();
}

/// A worker that is full for longer than the server lets a consumer hold a delivery loses nothing: it holds none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_worker_outlasts_the_consumer_timeout() {
    let folder = ScopedFolder::new().unwrap();
    let options = RabbitOptions { consumer_timeout: Some(Duration::from_secs(2)) };
    let server = Rabbit::start(folder.path(), &options).unwrap();
    let broker = AmqpBroker::new(&server.url(), "timeout").unwrap();
    publish(&broker, Lane::Normal, "n", 4).await;
    let mut full = broker.consume(&Lane::ALL).await.unwrap();
    take(&mut full).await.ack().await.unwrap();
    ready_becomes(&broker, Lane::Normal, 3).await;
    // Longer than the timeout: nothing happens, that is what is tested.
    sleep(Duration::from_secs(6)).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let delivery = take(&mut full).await;
        seen.insert(text(&delivery));
        delivery.ack().await.unwrap();
    }
    ready_becomes(&broker, Lane::Normal, 0).await;
    full.close().await;
    server.stop().unwrap();
}

/// A queue that somebody deleted comes back with the next use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_declared_again() {
    let name = namespace();
    let broker = AmqpBroker::new(&shared().amqp_url, &name).unwrap();
    broker.assert_topology().await.unwrap();
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    assert!(timeout(Duration::from_millis(300), consumer.next()).await.is_err());
    let connection = lapin::Connection::connect(&shared().amqp_url, lapin::ConnectionProperties::default());
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    for lane in Lane::ALL {
        let queue = common::adapter::amqp::queue_name(&name, lane);
        channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    }
    publish_surely(&broker, Lane::Normal, "n").await;
    assert_eq!(text(&take(&mut consumer).await), "n");
}

/// A queue of another kind under our name is refused instead of used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_queue_is_refused() {
    let name = namespace();
    let connection = lapin::Connection::connect(&shared().amqp_url, lapin::ConnectionProperties::default());
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    let queue = common::adapter::amqp::queue_name(&name, Lane::High);
    let durable = lapin::options::QueueDeclareOptions::durable();
    channel.queue_declare(queue.clone().into(), durable, lapin::types::FieldTable::default()).await.unwrap();
    let broker = AmqpBroker::new(&shared().amqp_url, &name).unwrap();
    let error = broker.assert_topology().await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("x-queue-type"), "{error}");
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    let error = timeout(PATIENCE, consumer.next()).await.expect("bounded").unwrap_err();
    assert!(!error.is_transient(), "{error}");
    channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    assert!(timeout(Duration::from_secs(5), consumer.next()).await.is_err(), "the consumer goes on trying");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_addresses_are_told_apart() {
    let [dead] = free_ports().unwrap();
    let started = Instant::now();
    let (amqp_url, redis_url) = (&shared().amqp_url, &shared().redis_url);
    let amqp = |url: String| AmqpBroker::new(&url, "wrong").unwrap();
    let (host, redis_host) = (address(amqp_url), address(redis_url));

    let error = amqp(format!("amqp://guest:secret@{host}")).assert_topology().await.unwrap_err();
    assert!(!error.is_transient() && !error.to_string().contains("secret"), "{error}");
    let error =
        amqp(format!("amqp://guest:guest@{host}/missing")).publish(Lane::High, b"n").await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("missing"), "{error}");
    let mut consumer = amqp(format!("amqp://guest:guest@{host}/missing")).consume(&Lane::ALL).await.unwrap();
    let error = timeout(PATIENCE, consumer.next()).await.expect("bounded").unwrap_err();
    assert!(!error.is_transient(), "{error}");
    let error = amqp(format!("amqp://guest:guest@127.0.0.1:{dead}")).ready(Lane::High).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error}");

    let error = redis_streams(&format!("redis://:secret@{redis_host}"), "wrong").health().await.unwrap_err();
    assert!(!error.is_transient() && !error.to_string().contains("secret"), "{error}");
    let error = redis_streams(&format!("redis://127.0.0.1:{dead}"), "wrong").health().await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < 3 * PATIENCE, "{:?}", started.elapsed());
}
