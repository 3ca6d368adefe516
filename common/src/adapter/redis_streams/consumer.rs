//! Consuming on demand, over a connection of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadReply};
use redis::{RedisError, Script};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::adapter::consuming::{Shared, Source};
use crate::adapter::jitter::jitter;
use crate::adapter::reconnect::Reconnect;
use crate::job::lane::Lane;
use crate::port::broker::{BrokerError, Consumer, Delivery};

use super::GROUP;
use super::connection::Link;

/// How long one read waits for a notice. A notice that comes after the caller has gone is handed back, so this is also
/// how long a full worker may still take one by mistake.
const BLOCK: Duration = Duration::from_secs(1);
/// How long closing waits for the server.
const CLOSE: Duration = Duration::from_secs(5);
/// Most notices that one sweep moves.
const SWEEP_NOTICES_MAX: u32 = 100;
/// After this time a consumer that holds nothing is forgotten; one that lives is known again with its next read.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Takes notices from Redis Streams.
#[derive(Debug)]
pub struct RedisStreamsConsumer {
    link: Arc<Link>,
    shared: Arc<Shared<Entry>>,
    task: Option<JoinHandle<()>>,
}

impl RedisStreamsConsumer {
    pub(super) fn start(link: Arc<Link>, lanes: &[Lane]) -> Self {
        let shared = Arc::new(Shared::new(Source::Pulled));
        let mut lanes = lanes.to_vec();
        lanes.sort_unstable();
        lanes.dedup();
        let name = format!("c-{:013x}{:x}", (jitter() * (1_u64 << 52) as f64) as u64, std::process::id());
        let task = Task { link: Arc::clone(&link), shared: Arc::clone(&shared), lanes, name };
        Self { link, shared, task: Some(tokio::spawn(task.run())) }
    }
}

impl Consumer for RedisStreamsConsumer {
    type Delivery = RedisStreamsDelivery;

    async fn next(&mut self) -> Result<RedisStreamsDelivery, BrokerError> {
        let (_, entry) = self.shared.next().await?;
        Ok(RedisStreamsDelivery {
            link: Arc::clone(&self.link),
            entry: Some(entry),
            runtime: Handle::current(),
        })
    }

    async fn close(mut self) {
        self.shared.close();
        if let Some(mut task) = self.task.take()
            && timeout(CLOSE + BLOCK, &mut task).await.is_err()
        {
            // Somebody's sweep finds what is left.
            task.abort();
        }
    }
}

impl Drop for RedisStreamsConsumer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A notice in a stream.
#[derive(Debug, Clone)]
struct Entry {
    lane: Lane,
    id: String,
    notice: Vec<u8>,
    redelivered: bool,
}

impl Entry {
    /// `None` when the fields are not those that a publisher writes: such an entry is nobody's notice.
    fn new(lane: Lane, id: &str, fields: &[(String, Vec<u8>)]) -> Option<Self> {
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let notice = field("n")?.clone();
        Some(Self { lane, id: id.to_owned(), notice, redelivered: field("r").is_some() })
    }
}

async fn hand_back(link: &Link, entry: &Entry) -> Result<(), BrokerError> {
    let script = Script::new(include_str!("hand_back.lua"));
    link.run::<u64>(script.key(link.stream(entry.lane)).arg(GROUP).arg(&entry.id)).await.map(|_| ())
}

/// One notice from Redis Streams.
#[derive(Debug)]
pub struct RedisStreamsDelivery {
    link: Arc<Link>,
    /// `None` once it is settled.
    entry: Option<Entry>,
    runtime: Handle,
}

impl Delivery for RedisStreamsDelivery {
    fn lane(&self) -> Lane {
        // Only settling takes the entry, and that consumes the delivery.
        self.entry.as_ref().map_or(Lane::Normal, |entry| entry.lane)
    }

    fn notice(&self) -> &[u8] {
        self.entry.as_ref().map_or(&[], |entry| &entry.notice)
    }

    fn redelivered(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.redelivered)
    }

    async fn ack(mut self) -> Result<(), BrokerError> {
        let Some(entry) = self.entry.take() else {
            return Ok(());
        };
        let script = Script::new(include_str!("ack.lua"));
        // 0 means that a sweep took it for a dead consumer's: it rings once more, which does no harm.
        self.link
            .run::<u64>(script.key(self.link.stream(entry.lane)).arg(GROUP).arg(&entry.id))
            .await
            .map(|_| ())
    }

    async fn hand_back(mut self) -> Result<(), BrokerError> {
        match self.entry.take() {
            Some(entry) => hand_back(&self.link, &entry).await,
            None => Ok(()),
        }
    }
}

impl Drop for RedisStreamsDelivery {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            let link = Arc::clone(&self.link);
            // If it fails, a sweep finds the notice.
            self.runtime.spawn(async move { hand_back(&link, &entry).await });
        }
    }
}

struct Task {
    link: Arc<Link>,
    shared: Arc<Shared<Entry>>,
    lanes: Vec<Lane>,
    /// The consumer's name in the groups.
    name: String,
}

impl Task {
    async fn run(self) {
        let mut reconnect = Reconnect::default();
        while self.lanes.is_empty() && !self.shared.closing() {
            self.shared.woken(&self.lanes).await;
        }
        while !self.shared.closing() {
            let Err(error) = self.serve(&mut reconnect).await else {
                break;
            };
            let delay = reconnect.failed(jitter());
            tracing::debug!(%error, delay_ms = delay.as_millis() as u64, "the queue is tried again");
            if !error.is_transient() {
                self.shared.refuse(error);
            }
            self.shared.closed_within(&self.lanes, delay).await;
        }
        for entry in self.shared.take_all(&self.lanes) {
            let _ = hand_back(&self.link, &entry).await;
        }
    }

    /// Works with one connection until it fails or nobody needs it any more.
    async fn serve(&self, reconnect: &mut Reconnect) -> Result<(), BrokerError> {
        let mut connection = self.link.own(BLOCK).await?;
        self.link.assert_groups().await?;
        // What the lost connection took with it.
        self.sweep(Duration::ZERO, Some(&self.name)).await?;
        reconnect.succeeded();
        self.shared.accepted();
        let mut sweep_at = Instant::now() + self.sweep_pause();
        while !self.shared.closing() {
            for entry in self.shared.take_stale(&self.lanes) {
                hand_back(&self.link, &entry).await?;
            }
            let now = Instant::now();
            if now >= sweep_at {
                self.sweep(self.link.options.claim_after, None).await?;
                sweep_at = now + self.sweep_pause();
            }
            if self.shared.starves() {
                self.read(&mut connection).await?;
            } else {
                let until = self.shared.next_stale().map_or(sweep_at, |stale| stale.min(sweep_at));
                let _ =
                    timeout(until.saturating_duration_since(Instant::now()), self.shared.woken(&self.lanes))
                        .await;
            }
        }
        Ok(())
    }

    /// The time between two sweeps: so that of many consumers one sweeps soon after a death, and not all at once.
    fn sweep_pause(&self) -> Duration {
        self.link.options.claim_after.mul_f64(0.2 + 0.4 * jitter())
    }

    /// Makes ready what was held for `idle`, by `consumer` or by anybody.
    async fn sweep(&self, idle: Duration, consumer: Option<&str>) -> Result<(), BrokerError> {
        let script = Script::new(include_str!("sweep.lua"));
        let forget_ms = if consumer.is_none() { FORGET_AFTER.as_millis().to_string() } else { String::new() };
        for lane in Lane::ALL {
            let mut call = script.key(self.link.stream(lane));
            call.arg(GROUP)
                .arg(idle.as_millis() as u64)
                .arg(SWEEP_NOTICES_MAX)
                .arg(consumer.unwrap_or_default());
            let moved: u64 = self.link.run(call.arg(&forget_ms)).await?;
            if moved > 0 {
                tracing::info!(lane = lane.as_str(), moved, "notices of lost consumers are ready again");
            }
        }
        Ok(())
    }

    /// Takes one notice from the highest lane that has one, or waits for the next of any lane.
    async fn read(&self, connection: &mut MultiplexedConnection) -> Result<(), BrokerError> {
        let entries = match self.take(connection).await {
            Ok(Some(entry)) => vec![entry],
            Ok(None) => self.wait(connection).await.map_err(|error| self.link.classify(&error))?,
            Err(error) => return Err(self.link.classify(&error)),
        };
        for entry in entries {
            // Nothing was held, and a read gives one per lane at most.
            if let Some(earlier) = self.shared.put(entry.lane, entry) {
                hand_back(&self.link, &earlier).await?;
            }
        }
        Ok(())
    }

    async fn take(&self, connection: &mut MultiplexedConnection) -> Result<Option<Entry>, RedisError> {
        let script = Script::new(include_str!("take.lua"));
        let mut call = script.prepare_invoke();
        for &lane in &self.lanes {
            call.key(self.link.stream(lane));
        }
        type Taken = Option<(usize, String, Vec<(String, Vec<u8>)>)>;
        let taken: Taken = call.arg(GROUP).arg(&self.name).invoke_async(connection).await?;
        Ok(taken.and_then(|(index, id, fields)| Entry::new(*self.lanes.get(index)?, &id, &fields)))
    }

    async fn wait(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Entry>, RedisError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(GROUP)
            .arg(&self.name)
            .arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS");
        let streams: Vec<_> = self.lanes.iter().map(|&lane| self.link.stream(lane)).collect();
        read.arg(&streams).arg(vec![">"; streams.len()]);
        let reply: Option<StreamReadReply> = read.query_async(connection).await?;
        let mut entries = Vec::new();
        for key in reply.map(|reply| reply.keys).unwrap_or_default() {
            let lane = streams.iter().position(|stream| *stream == key.key).map(|index| self.lanes[index]);
            for id in &key.ids {
                entries.extend(lane.and_then(|lane| entry(lane, id)));
            }
        }
        Ok(entries)
    }
}

fn entry(lane: Lane, id: &StreamId) -> Option<Entry> {
    let notice: Vec<u8> = id.get("n")?;
    Some(Entry { lane, id: id.id.clone(), notice, redelivered: id.map.contains_key("r") })
}
