//! What every handler goes by.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use common::adapter::queue::QueueBroker;
use common::adapter::redis::RedisJobStore;
use common::adapter::store::UrlStore;
use common::clock::{Clock, SystemClock};
use common::random::OsRandom;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::health::Readiness;
use super::live::Live;
use super::opened::Opened;
use super::rate::RateTable;
use crate::submit::Terms;
use crate::submit::error::AUDIO_BYTES_MAX;

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Whoever reaches the loopback address under a loopback name.
    Loopback,
    /// Whoever has a key.
    Keys,
}

/// Bounds of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who is let in.
    pub door: Door,
    /// Largest uploaded recording.
    pub upload_bytes_max: u64,
    /// Uploads at a time.
    pub uploads_max: usize,
    /// Documents that are rendered at a time.
    pub renders_max: usize,
    /// Event streams at a time.
    pub streams_max: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Requests a second that one key, or the loopback, may make in the long run; twice as many at once.
    pub requests_per_s: u32,
    /// Longest wait for the head of a request, and for the next bytes of its body.
    pub patience: Duration,
    /// Slowest body, bytes a second on average, once [`Self::patience`] is over.
    pub body_bytes_per_s: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            door: Door::Keys,
            upload_bytes_max: AUDIO_BYTES_MAX,
            uploads_max: 32,
            renders_max: 4,
            streams_max: 1024,
            connections_max: 4096,
            requests_per_s: 1000,
            patience: Duration::from_secs(20),
            body_bytes_per_s: 4096,
        }
    }
}

/// What a service is made of.
pub struct Parts {
    /// Job records and keys.
    pub jobs: RedisJobStore,
    /// The queue.
    pub broker: QueueBroker,
    /// Audio and results.
    pub objects: UrlStore,
    /// What submissions go by.
    pub terms: Terms,
    /// Bounds.
    pub rules: Rules,
    /// Ends the event streams.
    pub stop: CancellationToken,
    clock: SystemClock,
    pub(super) uploads: Semaphore,
    pub(super) renders: Semaphore,
    pub(super) streams: Arc<Semaphore>,
    pub(super) rates: RateTable,
    pub(super) opened: Opened,
    pub(super) readiness: Readiness,
    pub(super) live: Live,
}

/// The parts of a service; clones share them.
#[derive(Clone)]
pub struct Service(Arc<Parts>);

impl Service {
    /// A service of these parts.
    #[must_use]
    pub fn new(
        (jobs, broker, objects): (RedisJobStore, QueueBroker, UrlStore),
        terms: Terms,
        rules: Rules,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Parts {
            jobs,
            broker,
            objects,
            terms,
            rules,
            stop,
            clock: SystemClock::new(),
            uploads: Semaphore::new(rules.uploads_max),
            renders: Semaphore::new(rules.renders_max),
            streams: Arc::new(Semaphore::new(rules.streams_max)),
            rates: RateTable::new(rules.requests_per_s),
            opened: Opened::default(),
            readiness: Readiness::default(),
            live: Live::default(),
        }))
    }
}

impl Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Parts {
    /// Clock and monotonic time.
    pub fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    /// Where randomness comes from.
    pub fn random(&self) -> &OsRandom {
        &OsRandom
    }
}
