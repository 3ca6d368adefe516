//! Consuming on demand, over a connection of its own that is replaced at any error.
//!
//! All lanes share that connection as long as each of their queues answers. One that does not (a quorum queue without a
//! leader) ends the connection with it; it gets one of its own from then on, for as long as the consumer lives, so that the
//! others are heard.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{Fuse, SelectAll, Stream, StreamExt as _, once, select_all};
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Event};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::adapter::consuming::{Shared, Source};
use crate::adapter::jitter::jitter;
use crate::adapter::reconnect::Reconnect;
use crate::job::lane::Lane;
use crate::port::broker::{BrokerError, Consumer, Delivery, HOLD};

use super::connection::{Address, QueueError};
use super::{ANSWER, topology};

/// How long closing waits for the server.
const CLOSE: Duration = Duration::from_secs(5);

/// Takes notices from RabbitMQ.
#[derive(Debug)]
pub struct AmqpConsumer {
    address: Arc<Address>,
    shared: Arc<Shared<Message>>,
    task: Option<JoinHandle<()>>,
}

impl AmqpConsumer {
    pub(super) fn start(address: Arc<Address>, lanes: &[Lane]) -> Self {
        let shared = Arc::new(Shared::new(Source::Pushed));
        let mut lanes = lanes.to_vec();
        lanes.sort_unstable();
        lanes.dedup();
        let task = Task { address: Arc::clone(&address), shared: Arc::clone(&shared), lanes };
        Self { address, shared, task: Some(tokio::spawn(task.run())) }
    }
}

impl Consumer for AmqpConsumer {
    type Delivery = AmqpDelivery;

    async fn next(&mut self) -> Result<AmqpDelivery, BrokerError> {
        let (lane, message) = self.shared.next().await?;
        let (address, shared) = (Arc::clone(&self.address), Arc::clone(&self.shared));
        Ok(AmqpDelivery { address, shared, lane, message: Some(message), runtime: Handle::current() })
    }

    async fn close(mut self) {
        self.shared.close();
        if let Some(mut task) = self.task.take()
            && timeout(CLOSE, &mut task).await.is_err()
        {
            // The server hands back what is left once it misses the heartbeats.
            task.abort();
        }
    }
}

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// One notice from RabbitMQ.
#[derive(Debug)]
pub struct AmqpDelivery {
    address: Arc<Address>,
    shared: Arc<Shared<Message>>,
    lane: Lane,
    /// `None` once it is settled.
    message: Option<Message>,
    runtime: Handle,
}

impl AmqpDelivery {
    async fn settle(
        &mut self,
        what: &'static str,
        send: impl AsyncFnOnce(&Message) -> lapin::Result<bool>,
    ) -> Result<(), BrokerError> {
        let Some(message) = self.message.take() else {
            return Ok(());
        };
        match self.address.bounded(what, send(&message)).await {
            Ok(true) => {
                self.shared.expect(self.lane);
                Ok(())
            }
            // The connection is gone, and the server has made the notice ready again.
            Ok(false) => Err(self.address.unconfirmed(format!("`{what}` on a lost connection"))),
            Err(error) => Err(self.address.unconfirmed(error.to_string())),
        }
    }
}

impl Delivery for AmqpDelivery {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn notice(&self) -> &[u8] {
        self.message.as_ref().map_or(&[], |message| &message.data)
    }

    fn redelivered(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.redelivered)
    }

    async fn ack(mut self) -> Result<(), BrokerError> {
        self.settle("basic.ack", async |message| message.ack(BasicAckOptions::default()).await).await
    }

    async fn hand_back(mut self) -> Result<(), BrokerError> {
        self.settle("basic.nack", async |message| message.nack(requeue()).await).await
    }
}

impl Drop for AmqpDelivery {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            // If it fails, the connection is gone and the server has handed the notice back itself.
            self.runtime.spawn(async move { timeout(ANSWER, message.nack(requeue())).await });
        }
    }
}

/// The library's default throws the message away.
fn requeue() -> BasicNackOptions {
    BasicNackOptions { multiple: false, requeue: true }
}

type Pushes = Pin<Box<dyn Stream<Item = (Lane, Push)> + Send>>;

/// A message, an error, or `None` once when the consumer has ended.
type Push = Option<lapin::Result<Message>>;

struct Task {
    address: Arc<Address>,
    shared: Arc<Shared<Message>>,
    lanes: Vec<Lane>,
}

/// Why a connection is given up.
enum Leave {
    Closing,
    Failed(BrokerError),
    /// The queues of these lanes did not answer; others did, or were behind them.
    Silent(Vec<Lane>, BrokerError),
}

impl From<BrokerError> for Leave {
    fn from(error: BrokerError) -> Self {
        Self::Failed(error)
    }
}

impl From<QueueError> for Leave {
    fn from(QueueError { error, silent }: QueueError) -> Self {
        match silent {
            Some(lane) => Self::Silent(vec![lane], error),
            None => Self::Failed(error),
        }
    }
}

impl Task {
    async fn run(mut self) {
        let mut apart = JoinSet::new();
        let mut reconnect = Reconnect::default();
        while !self.shared.closing() && !self.lanes.is_empty() {
            if !self.shared.wants() {
                self.shared.woken(&self.lanes).await;
                continue;
            }
            let left = match Link::open(&self.address, &self.lanes).await {
                Ok(mut link) => {
                    self.shared.accepted();
                    let left = self.serve(&mut link, &mut reconnect).await;
                    // Whatever is not acked becomes ready with this. A connection that is gone answers at once.
                    let _ = timeout(CLOSE, link.connection.close(200, "done".into())).await;
                    left
                }
                Err(error) => error.into(),
            };
            // What is still held belongs to the lost connection: the server has made it ready again.
            drop(self.shared.take_all(&self.lanes));
            match left {
                Leave::Closing => {}
                Leave::Silent(lanes, error) if self.lanes.len() > 1 => {
                    for lane in lanes {
                        tracing::warn!(%lane, %error, "the queue of this lane does not answer; it is listened to apart");
                        self.lanes.retain(|own| *own != lane);
                        apart.spawn(self.of(lane).run_apart());
                    }
                }
                Leave::Failed(error) | Leave::Silent(_, error) => {
                    let delay = reconnect.failed(jitter());
                    tracing::debug!(%error, delay_ms = delay.as_millis() as u64, "the queue is tried again");
                    if !error.is_transient() {
                        self.shared.refuse(error);
                    }
                    self.shared.closed_within(&self.lanes, delay).await;
                }
            }
        }
        while apart.join_next().await.is_some() {}
    }

    /// The same for one lane.
    fn of(&self, lane: Lane) -> Self {
        Self { address: Arc::clone(&self.address), shared: Arc::clone(&self.shared), lanes: vec![lane] }
    }

    /// [`Self::run`] as a type that it may itself spawn.
    fn run_apart(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.run())
    }

    /// Works with one connection until it fails or nobody needs it any more.
    async fn serve(&self, link: &mut Link, reconnect: &mut Reconnect) -> Leave {
        loop {
            let wants = self.shared.wants();
            let done = match (wants, link.pushes.is_some()) {
                (true, false) => {
                    let subscribed = link.subscribe(&self.address, &self.lanes).await;
                    self.lanes.iter().for_each(|&lane| self.shared.expect(lane));
                    if subscribed.is_ok() {
                        reconnect.succeeded();
                    }
                    subscribed
                }
                (false, true) => {
                    link.leave(&self.address, self.shared.take_all(&self.lanes)).await.map_err(Leave::from)
                }
                _ => hand_back(&self.address, self.shared.take_stale(&self.lanes)).await.map_err(Leave::from),
            };
            if let Err(leave) = done {
                return leave;
            }
            if self.shared.closing() {
                return Leave::Closing;
            }
            tokio::select! {
                heard = link.heard() => match heard {
                    Ok((lane, message)) => {
                        let earlier = self.shared.put(lane, message);
                        if let Err(error) = hand_back(&self.address, earlier.into_iter().collect()).await {
                            return Leave::Failed(error);
                        }
                    }
                    Err(Some(error)) => return Leave::Failed(self.address.classify(&error)),
                    // Somebody deleted the queue; the next connection declares it.
                    Err(None) => return Leave::Failed(self.address.unavailable("the queue is gone")),
                },
                () = self.shared.woken(&self.lanes) => {}
                () = sleep(HOLD), if link.pushes.is_some() => {}
            }
        }
    }
}

/// Hands messages back, for anybody.
async fn hand_back(address: &Address, messages: Vec<Message>) -> Result<(), BrokerError> {
    for message in messages {
        address.bounded("basic.nack", message.nack(requeue())).await?;
    }
    Ok(())
}

/// One connection with its consumers.
struct Link {
    connection: Connection,
    channel: Channel,
    events: Fuse<Pin<Box<dyn Stream<Item = Event> + Send>>>,
    /// What the consumers give; `None` while there are none.
    pushes: Option<SelectAll<Pushes>>,
    tags: Vec<ShortString>,
}

impl Link {
    async fn open(address: &Address, lanes: &[Lane]) -> Result<Self, QueueError> {
        let connection = address.connect("rollcall consumer", lanes).await?;
        let events: Pin<Box<dyn Stream<Item = Event> + Send>> = Box::pin(connection.events_listener());
        let channel = address.channel(&connection).await?;
        // Counts for each consumer that is started later on this channel, alone.
        address.bounded("basic.qos", channel.basic_qos(1, BasicQosOptions { global: false })).await?;
        Ok(Self { connection, channel, events: events.fuse(), pushes: None, tags: Vec::new() })
    }

    async fn subscribe(&mut self, address: &Address, lanes: &[Lane]) -> Result<(), Leave> {
        let started = lanes.iter().map(|&lane| {
            let (channel, queue) = (&self.channel, topology::queue(address, lane));
            async move {
                let options = BasicConsumeOptions::default();
                let consumer =
                    channel.basic_consume(queue, ShortString::default(), options, FieldTable::default());
                address.of_queue(lane, "basic.consume", consumer).await.map(|consumer| (lane, consumer))
            }
        });
        let (mut consumers, mut silent, mut failed) = (Vec::new(), Vec::new(), None);
        for started in futures::future::join_all(started).await {
            match started {
                Ok(consumer) => consumers.push(consumer),
                Err(QueueError { error, silent: lane }) => {
                    silent.extend(lane);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if silent.is_empty() => return Err(error.into()),
            Some(error) => return Err(Leave::Silent(silent, error)),
            None => {}
        }
        self.tags = consumers.iter().map(|(_, consumer)| consumer.tag()).collect();
        self.pushes = Some(select_all(consumers.into_iter().map(|(lane, consumer)| {
            let pushes = consumer.map(move |item| (lane, Some(item)));
            Box::pin(pushes.chain(once(std::future::ready((lane, None))))) as Pushes
        })));
        Ok(())
    }

    /// Cancels the consumers and hands back what they had pushed, with what is held.
    async fn leave(&mut self, address: &Address, held: Vec<Message>) -> Result<(), BrokerError> {
        let tags = std::mem::take(&mut self.tags);
        let mut pushes = self.pushes.take();
        let cancels =
            tags.into_iter().map(|tag| self.channel.basic_cancel(tag, BasicCancelOptions::default()));
        address.bounded("basic.cancel", futures::future::try_join_all(cancels)).await?;
        let drained = async {
            let mut pushed = held;
            // Each consumer's stream ends after what was pushed before the server confirmed the cancelling.
            while let Some(pushes) = &mut pushes
                && let Some((_, push)) = pushes.next().await
            {
                if let Some(message) = push {
                    pushed.push(message?);
                }
            }
            Ok(pushed)
        };
        let pushed = address.bounded("basic.cancel", drained).await?;
        hand_back(address, pushed).await
    }

    /// The next message, or the error that ends the connection; `None` when it ended without one.
    async fn heard(&mut self) -> Result<(Lane, Message), Option<lapin::Error>> {
        loop {
            let pushes = async {
                match &mut self.pushes {
                    Some(pushes) => pushes.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                push = pushes => return match push {
                    Some((lane, Some(message))) => message.map(|message| (lane, message)).map_err(Some),
                    Some((_, None)) | None => Err(None),
                },
                event = self.events.next() => match event {
                    Some(Event::Error(error)) => return Err(Some(error)),
                    Some(_) => {}
                    None => return Err(None),
                },
            }
        }
    }
}
