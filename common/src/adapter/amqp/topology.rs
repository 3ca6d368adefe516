//! The queues: one durable quorum queue per lane.
//!
//! RabbitMQ 4 drops a message after 20 failed deliveries unless the queue says another limit, and up to 4.2 counts
//! hand-backs as such. Its word for "no limit", -1, is accepted by 3.10 and means there that the first hand-back already
//! drops the message. A limit that is never reached means the same to all of them.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection};

use crate::job::lane::Lane;
use crate::port::broker::BrokerError;

use super::connection::{Address, QueueError};

/// The name of a lane's queue.
#[must_use]
pub fn queue_name(namespace: &str, lane: Lane) -> String {
    format!("{namespace}.notices.{lane}")
}

/// The queue of a lane, as the client library names it.
pub(super) fn queue(address: &Address, lane: Lane) -> ShortString {
    queue_name(&address.namespace, lane).into()
}

/// How often a message may be handed back: about 2 billion times.
pub const DELIVERY_LIMIT: i32 = i32::MAX;

fn arguments() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    table.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    table
}

/// Declares the queues of these lanes. A queue that is there already must be a durable quorum queue.
pub(super) async fn assert(
    address: &Address,
    connection: &Connection,
    lanes: &[Lane],
) -> Result<(), QueueError> {
    let mut channel = address.channel(connection).await?;
    for &lane in lanes {
        let Err(failed) = declare(address, &channel, lane, Mode::Active).await else {
            continue;
        };
        // Whoever may use the queues need not have the right to create them, and somebody may have set a limit of their
        // own. Anything else that is wrong is told.
        let tolerable = matches!(&failed.error, BrokerError::Refused { detail, .. }
            if detail.contains("(403)") || detail.contains("inequivalent arg 'x-delivery-limit'"));
        if !tolerable {
            return Err(failed);
        }
        // The error has closed the channel.
        channel = address.channel(connection).await?;
        if declare(address, &channel, lane, Mode::Passive).await.is_err() {
            return Err(failed);
        }
        tracing::warn!(lane = lane.as_str(), error = %failed.error, "the queue is used as it is");
    }
    let _ = channel.close(200, "done".into()).await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Mode {
    /// Creates the queue, or compares its properties.
    Active,
    /// Whether it is there at all.
    Passive,
}

async fn declare(address: &Address, channel: &Channel, lane: Lane, mode: Mode) -> Result<(), QueueError> {
    let passive = matches!(mode, Mode::Passive);
    let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue(address, lane), options, arguments());
    address.of_queue(lane, "queue.declare", declared).await.map(|_| ())
}
