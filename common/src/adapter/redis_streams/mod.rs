//! The queue in Redis Streams, Redis 6.2 and later: `redis://`, `rediss://`.
//!
//! One stream per lane with one consumer group. A settled notice is deleted from its stream, so that a stream holds what
//! is ready or held and nothing else. Handing back writes the notice anew at the end of its lane. What a dead consumer
//! held is found by its idle time: each consumer sweeps now and then, and takes its own losses back when it reconnects.

mod connection;
mod consumer;

pub use consumer::{RedisStreamsConsumer, RedisStreamsDelivery};

use std::sync::Arc;
use std::time::Duration;

use redis::Script;

use crate::job::lane::Lane;
use crate::port::broker::{Broker, BrokerError, BrokerHealth, check_notice};

use connection::Link;

/// What stands before the names of the streams unless a test says otherwise.
pub const NAMESPACE: &str = "rollcall";

/// The consumer group that all workers share.
const GROUP: &str = "workers";

/// Most notices of a lane. A bound against a runaway publisher: at about 100 bytes each, 200 MB. Beyond it the oldest go,
/// which delays their jobs until rescue rings again.
const STREAM_NOTICES_MAX: u64 = 1_000_000;

/// How the adapter works.
#[derive(Debug, Clone)]
pub struct RedisStreamsOptions {
    /// What stands before the names of the streams.
    pub namespace: String,
    /// A notice that was held this long was held by the dead: no live consumer holds one longer than an acquire.
    pub claim_after: Duration,
}

impl Default for RedisStreamsOptions {
    fn default() -> Self {
        Self { namespace: NAMESPACE.to_owned(), claim_after: Duration::from_secs(15) }
    }
}

/// A queue in Redis Streams; clones share the connection that publishes and settles.
#[derive(Debug, Clone)]
pub struct RedisStreamsBroker {
    link: Arc<Link>,
}

/// The name of a lane's stream.
#[must_use]
pub fn stream_name(namespace: &str, lane: Lane) -> String {
    format!("{namespace}:notices:{lane}")
}

impl RedisStreamsBroker {
    /// A queue at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when the address is none.
    pub fn new(url: &str, options: RedisStreamsOptions) -> Result<Self, BrokerError> {
        Ok(Self { link: Arc::new(Link::new(url, options)?) })
    }
}

impl Broker for RedisStreamsBroker {
    type Consumer = RedisStreamsConsumer;

    async fn assert_topology(&self) -> Result<(), BrokerError> {
        self.link.assert_groups().await
    }

    async fn publish(&self, lane: Lane, notice: &[u8]) -> Result<(), BrokerError> {
        check_notice(&self.link.endpoint, notice)?;
        let mut add = redis::cmd("XADD");
        add.arg(self.link.stream(lane))
            .arg("MAXLEN")
            .arg("~")
            .arg(STREAM_NOTICES_MAX)
            .arg("*")
            .arg("n")
            .arg(notice);
        self.link.send::<String>(&add).await.map(|_| ())
    }

    async fn consume(&self, lanes: &[Lane]) -> Result<RedisStreamsConsumer, BrokerError> {
        Ok(RedisStreamsConsumer::start(Arc::clone(&self.link), lanes))
    }

    async fn ready(&self, lane: Lane) -> Result<u64, BrokerError> {
        let script = Script::new(include_str!("ready.lua"));
        self.link.run(script.key(self.link.stream(lane)).arg(GROUP)).await
    }

    async fn health(&self) -> Result<BrokerHealth, BrokerError> {
        let info: String = self.link.send(redis::cmd("INFO").arg("server")).await?;
        let version =
            info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("of unknown version");
        Ok(BrokerHealth { server: format!("Redis {}", version.trim()) })
    }
}
