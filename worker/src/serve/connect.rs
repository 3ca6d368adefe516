//! From addresses to servers that answered once.

use std::time::{Duration, Instant};

use common::adapter::folder::Durability;
use common::adapter::queue::QueueBroker;
use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::adapter::s3::{S3Access, S3Store};
use common::adapter::store::UrlStore;
use common::object_key;
use common::port::broker::Broker;
use common::port::job_store::{JobStore, JobStoreError, StoreRules};
use common::port::object_store::{ObjectStore, StoreError};

use super::error::ServeError;
use crate::supervise::Ports;

/// How long servers that start together with the worker are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Where the servers are.
#[derive(Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Redis.
    pub redis_url: String,
    /// RabbitMQ or Redis.
    pub queue_url: String,
    /// S3 or a folder.
    pub store_url: String,
    /// What a put into a folder waits for.
    pub durability: Durability,
    /// Lengths of time that the whole deployment goes by.
    pub rules: StoreRules,
}

impl Addresses {
    /// A job store with a connection of its own.
    ///
    /// # Errors
    /// When the address is none.
    pub fn job_store(&self) -> Result<RedisJobStore, JobStoreError> {
        RedisJobStore::new(RedisOptions::new(&self.redis_url), &self.rules)
    }

    /// Every server, each of which has answered; but for the queue, which may be away.
    ///
    /// # Errors
    /// The first that refuses, or does not answer in time.
    pub async fn connect(&self) -> Result<Ports<RedisJobStore, QueueBroker, UrlStore>, ServeError> {
        let store = self.job_store().map_err(ServeError::JobStore)?;
        let broker = QueueBroker::new(&self.queue_url).map_err(ServeError::Queue)?;
        let failed = |source| ServeError::Store { url: self.store_url.clone(), source };
        let objects = UrlStore::open(&self.store_url, self.durability, &S3Access::default()).await;
        let objects = objects.map_err(failed)?;
        let patient = Patience { until: Instant::now() + PATIENCE };
        patient.ask(JobStoreError::is_transient, || store.time()).await.map_err(ServeError::JobStore)?;
        match broker.assert_topology().await {
            // It works without, and the queue is asserted again with every connection.
            Err(error) if error.is_transient() => tracing::warn!(%error, "the queue is away"),
            asserted => asserted.map_err(ServeError::Queue)?,
        }
        let away = |error: &StoreError| matches!(error, StoreError::Unavailable { .. });
        patient.ask(away, || objects.list(object_key::RESULTS, None, 1)).await.map_err(failed)?;
        Ok(Ports { store, broker, objects })
    }
}

/// The client of a store in S3, for other buckets.
#[must_use]
pub fn s3_client(objects: &UrlStore) -> Option<S3Store> {
    match objects {
        UrlStore::S3(store) => Some(store.clone()),
        UrlStore::Folder(_) => None,
    }
}

struct Patience {
    until: Instant,
}

impl Patience {
    async fn ask<T, E, F>(&self, transient: impl Fn(&E) -> bool, question: impl Fn() -> F) -> Result<T, E>
    where
        E: std::error::Error,
        F: Future<Output = Result<T, E>>,
    {
        let mut told = false;
        loop {
            match question().await {
                Err(error) if transient(&error) && Instant::now() < self.until => {
                    if !told {
                        tracing::warn!(%error, "waiting");
                    }
                    told = true;
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}
