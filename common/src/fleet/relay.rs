//! From the outbox to the broker.

use std::time::Duration;

use super::side_by_side;
use crate::job::lane::Lane;
use crate::port::broker::{Broker, BrokerError};
use crate::port::job_store::{JobStore, OutboxEntry, StoreResult};

/// How a relay works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayRules {
    /// Bells claimed at once; they are published side by side.
    pub batch: usize,
    /// How long they are hidden from other relays: longer than publishing takes, else they ring twice. Where a queue says
    /// nothing they may.
    pub claim: Duration,
}

impl Default for RelayRules {
    fn default() -> Self {
        Self { batch: 256, claim: Duration::from_secs(10) }
    }
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relayed {
    /// Bells that the broker confirmed and that are gone from the outbox.
    pub published: usize,
    /// Bells that it did not confirm; they come back when the claim lapses.
    pub unconfirmed: usize,
    /// Why the last of those was not confirmed.
    pub error: Option<BrokerError>,
}

impl Relayed {
    /// Whether another pass at once may find more.
    #[must_use]
    pub fn is_full(&self, rules: &RelayRules) -> bool {
        self.error.is_none() && self.published >= rules.batch
    }
}

/// Claims bells of a lane, publishes them, and removes those that are confirmed. Dying in between, or losing an answer,
/// rings a bell twice at worst.
///
/// A lane at a time: a lane whose queue says nothing takes a pass as long as a confirm may take, and others must not wait
/// for that.
///
/// # Errors
/// When the job store does not answer.
pub async fn pass(
    store: &impl JobStore,
    broker: &impl Broker,
    lane: Lane,
    rules: &RelayRules,
) -> StoreResult<Relayed> {
    let claimed = store.claim_outbox(lane, rules.batch, rules.claim).await?;
    if claimed.is_empty() {
        return Ok(Relayed::default());
    }
    let answers = side_by_side(claimed.iter().map(|entry| publish(broker, *entry)).collect()).await;
    let (mut confirmed, mut relayed) = (Vec::with_capacity(claimed.len()), Relayed::default());
    for (entry, answer) in claimed.into_iter().zip(answers) {
        match answer {
            Ok(()) => confirmed.push(entry),
            Err(error) => {
                relayed.unconfirmed += 1;
                relayed.error = Some(error);
            }
        }
    }
    if !confirmed.is_empty() {
        store.delete_outbox(&confirmed).await?;
    }
    relayed.published = confirmed.len();
    Ok(relayed)
}

/// A pass over each lane, side by side: for whoever has nothing to do until all of them are through.
///
/// # Errors
/// When the job store does not answer.
pub async fn pass_all(
    store: &impl JobStore,
    broker: &impl Broker,
    rules: &RelayRules,
) -> StoreResult<Relayed> {
    let passes = Lane::ALL.map(|lane| pass(store, broker, lane, rules));
    let mut all = Relayed::default();
    for relayed in side_by_side(passes.into()).await {
        let relayed = relayed?;
        all.published += relayed.published;
        all.unconfirmed += relayed.unconfirmed;
        all.error = relayed.error.or(all.error);
    }
    Ok(all)
}

async fn publish(broker: &impl Broker, entry: OutboxEntry) -> Result<(), BrokerError> {
    broker.publish(entry.lane, &entry.notice().to_bytes()).await
}
