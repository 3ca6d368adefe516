//! How fast a queue is: `cargo run --release -p tests --example queue_rates -- URL [NOTICES]`, on an idle server.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use common::adapter::amqp::AmqpBroker;
use common::adapter::redis_streams::{RedisStreamsBroker, RedisStreamsOptions};
use common::job::lane::Lane;
use common::port::broker::{Broker, Consumer, Delivery};
use futures::StreamExt as _;
use tokio::time::timeout;

/// Publishers at work at the same time, as a relay has them.
const WINDOWS: [usize; 3] = [1, 64, 256];
const BODY: &[u8] = br#"{"v":1,"job":"01980000-0000-7000-8000-000000000000","lane":"normal"}"#;

fn say(what: &str, count: usize, took: Duration) -> anyhow::Result<()> {
    let rate = count as f64 / took.as_secs_f64();
    writeln!(std::io::stdout(), "{what}: {count} in {:.2} s, {rate:.0}/s", took.as_secs_f64())?;
    Ok(())
}

async fn publish<B: Broker>(broker: &B, count: usize, window: usize) -> anyhow::Result<()> {
    let mut publishing =
        futures::stream::iter(0..count).map(|_| broker.publish(Lane::Normal, BODY)).buffer_unordered(window);
    while let Some(published) = publishing.next().await {
        published?;
    }
    Ok(())
}

/// Takes and settles until nothing comes; how many, and how long until the last.
async fn consume<B: Broker>(broker: B) -> anyhow::Result<(usize, Duration)> {
    let mut consumer = broker.consume(&Lane::ALL).await?;
    let (started, mut last, mut count) = (Instant::now(), Duration::ZERO, 0);
    while let Ok(delivery) = timeout(Duration::from_secs(1), consumer.next()).await {
        delivery?.ack().await?;
        (count, last) = (count + 1, started.elapsed());
    }
    consumer.close().await;
    Ok((count, last))
}

async fn latency<B: Broker>(broker: B, per_second: u64, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut consumer = broker.consume(&Lane::ALL).await?;
    let epoch = Instant::now();
    let publisher = broker.clone();
    let publishing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
        for _ in 0..count {
            tick.tick().await;
            let body = epoch.elapsed().as_nanos().to_string();
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish(Lane::Normal, body.as_bytes()).await });
        }
    });
    let mut latencies = Vec::with_capacity(count);
    while latencies.len() < count {
        let delivery =
            timeout(Duration::from_secs(10), consumer.next()).await.context("a notice is lost")??;
        let sent: u128 = std::str::from_utf8(delivery.notice())?.parse()?;
        latencies.push(Duration::from_nanos(epoch.elapsed().as_nanos().saturating_sub(sent) as u64));
        delivery.ack().await?;
    }
    publishing.await?;
    latencies.sort_unstable();
    Ok(latencies)
}

async fn measure<B: Broker>(broker: B, count: usize) -> anyhow::Result<()> {
    broker.assert_topology().await?;
    for window in WINDOWS {
        let count = if window == 1 { count.min(2000) } else { count };
        let started = Instant::now();
        publish(&broker, count, window).await?;
        say(&format!("publish with confirm, window {window}"), count, started.elapsed())?;
    }
    let (taken, took) = consume(broker.clone()).await?;
    say("take and ack, 1 consumer", taken, took)?;
    for consumers in [2, 8] {
        publish(&broker, count, 256).await?;
        let work: Vec<_> = (0..consumers).map(|_| tokio::spawn(consume(broker.clone()))).collect();
        let (mut taken, mut took) = (0, Duration::ZERO);
        for one in work {
            let (count, last) = one.await??;
            (taken, took) = (taken + count, took.max(last));
        }
        say(&format!("take and ack, {consumers} consumers"), taken, took)?;
    }
    for (count, per_second) in [(2000, 200), (5000, 1000)] {
        let sorted = latency(broker.clone(), per_second, count).await?;
        let at = |share: f64| sorted[((count - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        writeln!(
            std::io::stdout(),
            "from publish to delivery at {per_second}/s: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
        )?;
    }
    broker.publish(Lane::Normal, BODY).await?;
    let mut consumer = broker.consume(&Lane::ALL).await?;
    let started = Instant::now();
    for _ in 0..1000 {
        consumer.next().await?.hand_back().await?;
    }
    say("hand back and take again", 1000, started.elapsed())?;
    consumer.next().await?.ack().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: queue_rates URL [NOTICES]")?;
    let count = arguments.next().map_or(Ok(20_000), |count| count.parse())?;
    let namespace = format!("rates-{}", std::process::id());
    if url.starts_with("amqp") {
        measure(AmqpBroker::new(&url, &namespace)?, count).await
    } else {
        let options = RedisStreamsOptions { namespace, ..RedisStreamsOptions::default() };
        measure(RedisStreamsBroker::new(&url, options)?, count).await
    }
}
