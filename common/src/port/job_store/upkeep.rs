//! What relay and rescue work through.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::job::id::JobId;
use crate::job::lane::Lane;
use crate::job::lease::LeaseKey;
use crate::job::notice::JobNotice;
use crate::job::record::JobRecord;
use crate::job::spec::Limits;

/// The lengths of time that a job store goes by. Every process of a deployment uses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreRules {
    /// How long final records and their idempotency keys are kept.
    pub retention: Duration,
    /// How long poison is remembered.
    pub poison: Duration,
    /// How long a job waits for its first bell before it may be rung again; doubled with each further bell.
    pub bell_first: Duration,
    /// Longest interval between two bells of a job.
    pub bell_max: Duration,
    /// How long a worker has to export what it settled before rescue does.
    pub export_grace: Duration,
    /// How long after its end an attempt's folder is left alone: longer than any zombie can still write.
    pub sweep_delay: Duration,
}

impl Default for StoreRules {
    fn default() -> Self {
        let (day, minute) = (Duration::from_secs(24 * 3600), Duration::from_secs(60));
        Self {
            retention: 7 * day,
            poison: 30 * day,
            bell_first: Duration::from_secs(10),
            bell_max: 10 * minute,
            export_grace: Duration::from_secs(20),
            sweep_delay: 60 * minute,
        }
    }
}

/// A bell that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxEntry {
    /// Tells two bells of one job apart.
    pub serial: u64,
    /// The lane it goes to.
    pub lane: Lane,
    /// The job that is available.
    pub job: JobId,
}

impl OutboxEntry {
    /// What is to be published.
    #[must_use]
    pub fn notice(&self) -> JobNotice {
        JobNotice { job: self.job, lane: self.lane }
    }
}

/// A lease that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredLease {
    /// The attempt whose holder was not heard of.
    pub key: LeaseKey,
    /// Crashes of the job before this one.
    pub crashes: u32,
    /// When to give up.
    pub limits: Limits,
}

/// The right to say what became of one try to deliver a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookClaim {
    /// The job that ended.
    pub job: JobId,
    /// When the claim lapses, by the store's clock: what tells it from every other of this job.
    pub until: Timestamp,
}

/// A webhook that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDue {
    /// Who may say what became of it.
    pub claim: WebhookClaim,
    /// The job that ended.
    pub record: JobRecord,
    /// Deliveries tried before.
    pub tries: u32,
}

/// What became of a webhook's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It was taken.
    Done,
    /// It was not taken, and is not tried again.
    GivenUp,
    /// It was not taken; try again after this time.
    Again {
        /// The wait.
        after: Duration,
    },
}

/// Tries to deliver that are remembered.
pub const DELIVERIES_MAX: usize = 1000;

/// What the other side of a webhook said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookAnswer {
    /// Its HTTP status, when it answered.
    pub status: Option<u16>,
    /// Why there is none, or what is wrong with it; empty when all is well.
    pub detail: String,
}

/// One try to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The job that ended.
    pub job: JobId,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Which try it was, counted from 1.
    pub tries: u32,
    /// What became of it.
    pub outcome: WebhookOutcome,
    /// What was said.
    pub answer: WebhookAnswer,
}
