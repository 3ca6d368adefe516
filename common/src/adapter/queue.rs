//! The queue that `ROLLCALL_QUEUE_URL` names, chosen at run time.

use crate::adapter::amqp::{self, AmqpBroker, AmqpConsumer, AmqpDelivery};
use crate::adapter::endpoint::endpoint;
use crate::adapter::redis_streams::{
    RedisStreamsBroker, RedisStreamsConsumer, RedisStreamsDelivery, RedisStreamsOptions,
};
use crate::job::lane::Lane;
use crate::port::broker::{Broker, BrokerError, BrokerHealth, Consumer, Delivery};

/// One of the queues.
#[derive(Debug, Clone)]
pub enum QueueBroker {
    /// `amqp://`, `amqps://`
    Amqp(AmqpBroker),
    /// `redis://`, `rediss://`
    RedisStreams(RedisStreamsBroker),
}

impl QueueBroker {
    /// The queue at an address. Nothing is sent yet.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when the address is none.
    pub fn new(url: &str) -> Result<Self, BrokerError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("amqp" | "amqps") => AmqpBroker::new(url, amqp::NAMESPACE).map(Self::Amqp),
            Some("redis" | "rediss") => {
                RedisStreamsBroker::new(url, RedisStreamsOptions::default()).map(Self::RedisStreams)
            }
            _ => Err(BrokerError::Refused {
                endpoint: endpoint(url),
                detail: "a queue's address starts with `amqp://`, `amqps://`, `redis://` or `rediss://`"
                    .to_owned(),
            }),
        }
    }
}

impl Broker for QueueBroker {
    type Consumer = QueueConsumer;

    async fn assert_topology(&self) -> Result<(), BrokerError> {
        match self {
            Self::Amqp(broker) => broker.assert_topology().await,
            Self::RedisStreams(broker) => broker.assert_topology().await,
        }
    }

    async fn publish(&self, lane: Lane, notice: &[u8]) -> Result<(), BrokerError> {
        match self {
            Self::Amqp(broker) => broker.publish(lane, notice).await,
            Self::RedisStreams(broker) => broker.publish(lane, notice).await,
        }
    }

    async fn consume(&self, lanes: &[Lane]) -> Result<QueueConsumer, BrokerError> {
        match self {
            Self::Amqp(broker) => broker.consume(lanes).await.map(QueueConsumer::Amqp),
            Self::RedisStreams(broker) => broker.consume(lanes).await.map(QueueConsumer::RedisStreams),
        }
    }

    async fn ready(&self, lane: Lane) -> Result<u64, BrokerError> {
        match self {
            Self::Amqp(broker) => broker.ready(lane).await,
            Self::RedisStreams(broker) => broker.ready(lane).await,
        }
    }

    async fn health(&self) -> Result<BrokerHealth, BrokerError> {
        match self {
            Self::Amqp(broker) => broker.health().await,
            Self::RedisStreams(broker) => broker.health().await,
        }
    }
}

/// A consumer of one of the queues.
#[derive(Debug)]
pub enum QueueConsumer {
    /// Of RabbitMQ.
    Amqp(AmqpConsumer),
    /// Of Redis Streams.
    RedisStreams(RedisStreamsConsumer),
}

impl Consumer for QueueConsumer {
    type Delivery = QueueDelivery;

    async fn next(&mut self) -> Result<QueueDelivery, BrokerError> {
        match self {
            Self::Amqp(consumer) => {
                consumer.next().await.map(|delivery| QueueDelivery::Amqp(Box::new(delivery)))
            }
            Self::RedisStreams(consumer) => consumer.next().await.map(QueueDelivery::RedisStreams),
        }
    }

    async fn close(self) {
        match self {
            Self::Amqp(consumer) => consumer.close().await,
            Self::RedisStreams(consumer) => consumer.close().await,
        }
    }
}

/// A notice of one of the queues.
#[derive(Debug)]
pub enum QueueDelivery {
    /// Of RabbitMQ; its message is large.
    Amqp(Box<AmqpDelivery>),
    /// Of Redis Streams.
    RedisStreams(RedisStreamsDelivery),
}

impl Delivery for QueueDelivery {
    fn lane(&self) -> Lane {
        match self {
            Self::Amqp(delivery) => delivery.lane(),
            Self::RedisStreams(delivery) => delivery.lane(),
        }
    }

    fn notice(&self) -> &[u8] {
        match self {
            Self::Amqp(delivery) => delivery.notice(),
            Self::RedisStreams(delivery) => delivery.notice(),
        }
    }

    fn redelivered(&self) -> bool {
        match self {
            Self::Amqp(delivery) => delivery.redelivered(),
            Self::RedisStreams(delivery) => delivery.redelivered(),
        }
    }

    async fn ack(self) -> Result<(), BrokerError> {
        match self {
            Self::Amqp(delivery) => delivery.ack().await,
            Self::RedisStreams(delivery) => delivery.ack().await,
        }
    }

    async fn hand_back(self) -> Result<(), BrokerError> {
        match self {
            Self::Amqp(delivery) => delivery.hand_back().await,
            Self::RedisStreams(delivery) => delivery.hand_back().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_scheme_decides() {
        assert!(matches!(QueueBroker::new("amqp://h:1/v"), Ok(QueueBroker::Amqp(_))));
        assert!(matches!(QueueBroker::new("amqps://h"), Ok(QueueBroker::Amqp(_))));
        assert!(matches!(QueueBroker::new("redis://h:1"), Ok(QueueBroker::RedisStreams(_))));
        assert!(matches!(QueueBroker::new("rediss://h:1"), Ok(QueueBroker::RedisStreams(_))));
        for url in ["http://user:secret@h", "redis", ""] {
            let error = QueueBroker::new(url).unwrap_err();
            assert!(!error.is_transient() && !error.to_string().contains("secret"), "{error}");
        }
    }
}
