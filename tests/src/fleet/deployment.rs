//! Where the servers of a fleet are, under names of its own.

use std::time::Duration;

use clap::Args;
use common::adapter::amqp::AmqpBroker;
use common::adapter::folder::Durability;
use common::adapter::queue::QueueBroker;
use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::adapter::redis_streams::{RedisStreamsBroker, RedisStreamsOptions};
use common::adapter::s3::S3Access;
use common::adapter::store::UrlStore;
use common::port::broker::Broker;
use common::port::job_store::StoreRules;
use worker::supervise::Ports;

/// The servers, and names that no other fleet on them has.
#[derive(Debug, Clone, Args)]
pub struct Deployment {
    /// Redis.
    #[arg(long, env = "ROLLCALL_REDIS_URL")]
    pub redis_url: String,
    /// RabbitMQ or Redis.
    #[arg(long, env = "ROLLCALL_QUEUE_URL")]
    pub queue_url: String,
    /// S3 or a folder.
    #[arg(long, env = "ROLLCALL_STORE_URL")]
    pub store_url: String,
    /// What stands before every name.
    #[arg(long, default_value = "rollcall")]
    pub namespace: String,
    /// Bells, exports and sweeping after seconds instead of minutes.
    #[arg(long)]
    pub quick: bool,
}

/// Longest time for one step, repetitions included: servers are away for seconds in these tests.
const BUDGET: Duration = Duration::from_secs(5);

impl Deployment {
    /// Its lengths of time.
    #[must_use]
    pub fn rules(&self) -> StoreRules {
        if !self.quick {
            return StoreRules::default();
        }
        let seconds = Duration::from_secs;
        StoreRules {
            bell_first: seconds(2),
            bell_max: seconds(8),
            export_grace: seconds(3),
            sweep_delay: seconds(10),
            ..StoreRules::default()
        }
    }

    /// A job store with a connection of its own.
    ///
    /// # Errors
    /// When the address is none.
    pub fn job_store(&self) -> anyhow::Result<RedisJobStore> {
        let prefix = format!("{}:", self.namespace);
        let options = RedisOptions { prefix, budget: BUDGET, ..RedisOptions::new(&self.redis_url) };
        Ok(RedisJobStore::new(options, &self.rules())?)
    }

    /// The queue.
    ///
    /// # Errors
    /// When the address is none.
    pub fn broker(&self) -> anyhow::Result<QueueBroker> {
        let namespace = self.namespace.clone();
        Ok(if self.queue_url.starts_with("amqp") {
            QueueBroker::Amqp(AmqpBroker::new(&self.queue_url, &namespace)?)
        } else {
            let claim_after = Duration::from_secs(if self.quick { 3 } else { 15 });
            let options = RedisStreamsOptions { namespace, claim_after };
            QueueBroker::RedisStreams(RedisStreamsBroker::new(&self.queue_url, options)?)
        })
    }

    /// The object store.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn objects(&self, durability: Durability) -> anyhow::Result<UrlStore> {
        Ok(UrlStore::open(&self.store_url, durability, &S3Access::default()).await?)
    }

    /// All of them. The queue has answered, or is not there yet.
    ///
    /// # Errors
    /// When an address is none.
    pub async fn connect(
        &self,
        durability: Durability,
    ) -> anyhow::Result<Ports<RedisJobStore, QueueBroker, UrlStore>> {
        let (store, broker, objects) = (self.job_store()?, self.broker()?, self.objects(durability).await?);
        // Servers come and go in these tests; both adapters assert again when they reconnect.
        let _ = broker.assert_topology().await;
        Ok(Ports { store, broker, objects })
    }

    /// The same as flags.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        for (name, value) in [
            ("--redis-url", &self.redis_url),
            ("--queue-url", &self.queue_url),
            ("--store-url", &self.store_url),
            ("--namespace", &self.namespace),
        ] {
            flags.extend([name.to_owned(), value.clone()]);
        }
        flags.extend(self.quick.then(|| "--quick".to_owned()));
        flags
    }
}
