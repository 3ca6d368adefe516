//! The queues: one durable quorum queue per lane.
//!
//! RabbitMQ 4 drops a message after 20 failed deliveries unless told otherwise, and up to 4.2 counts hand-backs as such;
//! 3.10 does not know the word for "never". What the server has is found by asking for it.

use std::sync::atomic::{AtomicBool, Ordering};

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection};

use crate::job::lane::Lane;
use crate::port::broker::BrokerError;

use super::connection::Address;

/// The name of a lane's queue.
#[must_use]
pub fn queue_name(namespace: &str, lane: Lane) -> String {
    format!("{namespace}.notices.{lane}")
}

/// The queue of a lane, as the client library names it.
pub(super) fn queue(address: &Address, lane: Lane) -> ShortString {
    queue_name(&address.namespace, lane).into()
}

fn arguments(unlimited: bool) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    if unlimited {
        table.insert("x-delivery-limit".into(), AMQPValue::LongInt(-1));
    }
    table
}

/// What asking has shown of a server: whether it knows a delivery limit of "never".
#[derive(Debug)]
pub(super) struct Known {
    unlimited: AtomicBool,
}

impl Default for Known {
    fn default() -> Self {
        Self { unlimited: AtomicBool::new(true) }
    }
}

/// Declares every queue. A queue that is there already must be a durable quorum queue.
pub(super) async fn assert(address: &Address, connection: &Connection) -> Result<(), BrokerError> {
    let mut channel = address.channel(connection).await?;
    for lane in Lane::ALL {
        let unlimited = address.known.unlimited.load(Ordering::Relaxed);
        let Err(error) = declare(address, &channel, lane, Mode::Active { unlimited }).await else {
            continue;
        };
        if error.is_transient() {
            return Err(error);
        }
        // An error of the server has closed the channel.
        channel = address.channel(connection).await?;
        if unlimited && declare(address, &channel, lane, Mode::Active { unlimited: false }).await.is_ok() {
            // The server does not know the word, or somebody made the queue without it.
            address.known.unlimited.store(false, Ordering::Relaxed);
            continue;
        }
        channel = address.channel(connection).await?;
        // Whoever may use the queues need not have the right to create them. Anything else that is wrong is told.
        if !matches!(&error, BrokerError::Refused { detail, .. } if detail.contains("(403)"))
            || declare(address, &channel, lane, Mode::Passive).await.is_err()
        {
            return Err(error);
        }
    }
    let _ = channel.close(200, "done".into()).await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Mode {
    /// Creates the queue, or compares its properties.
    Active { unlimited: bool },
    /// Whether it is there at all.
    Passive,
}

async fn declare(address: &Address, channel: &Channel, lane: Lane, mode: Mode) -> Result<(), BrokerError> {
    let passive = matches!(mode, Mode::Passive);
    let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
    let arguments = arguments(matches!(mode, Mode::Active { unlimited: true }));
    let declared = channel.queue_declare(queue(address, lane), options, arguments);
    address.bounded("queue.declare", declared).await.map(|_| ())
}
