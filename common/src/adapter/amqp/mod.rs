//! The queue in RabbitMQ, 3.10 and later: `amqp://`, `amqps://`.
//!
//! One durable quorum queue per lane, published to through the default exchange with confirms. Nothing here uses retries,
//! delays, timeouts or dead letters of the server. A connection that shows any error is dropped and a new one made; every
//! wait has a bound. Consumers have a prefetch of 1 each, set before they start and never changed; they are cancelled
//! when nobody wants notices.

mod connection;
mod consumer;
mod publisher;
mod topology;

pub use consumer::{AmqpConsumer, AmqpDelivery};
pub use topology::{DELIVERY_LIMIT, queue_name};

use std::sync::Arc;
use std::time::Duration;

use crate::job::lane::Lane;
use crate::port::broker::{Broker, BrokerError, BrokerHealth, check_notice};

use connection::Address;
use publisher::Publisher;

/// Bound on one exchange with the server.
const ANSWER: Duration = Duration::from_secs(10);

/// What stands before the names of the queues unless a test says otherwise.
pub const NAMESPACE: &str = "rollcall";

/// A queue in RabbitMQ; clones share the publishing connections. Each consumer has a connection of its own, because the
/// server stops reading from connections that publish when it runs short of memory or disk.
#[derive(Debug, Clone)]
pub struct AmqpBroker {
    address: Arc<Address>,
    publisher: Arc<Publisher>,
}

impl AmqpBroker {
    /// A queue at `url`, whose queues start with `namespace`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when the address is none.
    pub fn new(url: &str, namespace: &str) -> Result<Self, BrokerError> {
        let address = Arc::new(Address::parse(url, namespace)?);
        let publisher = Arc::new(Publisher::new(Arc::clone(&address)));
        Ok(Self { address, publisher })
    }
}

impl Broker for AmqpBroker {
    type Consumer = AmqpConsumer;

    async fn assert_topology(&self) -> Result<(), BrokerError> {
        self.publisher.assert_topology().await
    }

    async fn publish(&self, lane: Lane, notice: &[u8]) -> Result<(), BrokerError> {
        check_notice(&self.address.endpoint, notice)?;
        self.publisher.publish(lane, notice).await
    }

    async fn consume(&self, lanes: &[Lane]) -> Result<AmqpConsumer, BrokerError> {
        Ok(AmqpConsumer::start(Arc::clone(&self.address), lanes))
    }

    async fn ready(&self, lane: Lane) -> Result<u64, BrokerError> {
        self.publisher.ready(lane).await
    }

    async fn health(&self) -> Result<BrokerHealth, BrokerError> {
        for lane in Lane::ALL {
            self.publisher.ready(lane).await?;
        }
        // The client library does not tell what the server says of itself.
        Ok(BrokerHealth { server: "RabbitMQ".to_owned() })
    }
}
