//! Publishing with confirms, many at a time, over connections that are replaced at any error.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use crate::adapter::jitter::jitter;
use crate::adapter::reconnect::Reconnect;
use crate::job::lane::Lane;
use crate::port::broker::BrokerError;

use super::connection::Address;
use super::{ANSWER, topology};

/// Notices of a lane that wait for their confirm at a time. Measured on RabbitMQ 3.10: above 256 nothing is gained.
const WINDOW: usize = 256;
/// Bound on waiting for a place in the window: two rounds of confirms that come as late as they may.
const WINDOW_WAIT: Duration = Duration::from_secs(20);
/// How long a confirm may take. A quorum queue that has lost its leader takes seconds.
const CONFIRM: Duration = Duration::from_secs(10);

/// One connection and its channel; dropped, it closes in the background.
struct Session {
    connection: Connection,
    channel: Channel,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    reconnect: Reconnect,
    /// Until when the last failure is repeated instead of trying anew.
    failed: Option<(Instant, BrokerError)>,
}

/// A connection for some lanes that is opened at its first use, and anew after an error.
struct Line {
    lanes: &'static [Lane],
    state: Mutex<State>,
}

impl Line {
    fn of(lanes: &'static [Lane]) -> Self {
        Self { lanes, state: Mutex::default() }
    }

    /// The connection at hand, or a new one. All callers wait for the same attempt, which is bounded.
    async fn session(&self, address: &Address) -> Result<Arc<Session>, BrokerError> {
        let mut state = self.state.lock().await;
        if let Some(session) = &state.session
            && session.connection.status().connected()
        {
            return Ok(Arc::clone(session));
        }
        state.session = None;
        if let Some((until, error)) = &state.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match self.open(address).await {
            Ok(session) => {
                let session = Arc::new(session);
                (state.session, state.failed) = (Some(Arc::clone(&session)), None);
                state.reconnect.succeeded();
                Ok(session)
            }
            Err(error) => {
                let delay = state.reconnect.failed(jitter());
                state.failed = Some((Instant::now() + delay, error.clone()));
                Err(error)
            }
        }
    }

    async fn open(&self, address: &Address) -> Result<Session, BrokerError> {
        let connection = address.connect("rollcall publisher", self.lanes).await?;
        let channel = address.channel(&connection).await?;
        address.bounded("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Session { connection, channel })
    }

    /// Gives a connection up, unless somebody has replaced it already. Everything on it fails at once.
    async fn discard(&self, session: &Arc<Session>) {
        let mut state = self.state.lock().await;
        if state.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            state.session = None;
        }
        drop(state);
        // In the background: a server that does not answer must not hold the caller up.
        let session = Arc::clone(session);
        tokio::spawn(async move {
            let _ = timeout(ANSWER, session.connection.close(200, "given up".into())).await;
        });
    }
}

/// Publishes and counts. Each lane has a connection of its own: RabbitMQ stops reading from one on which too much waits for
/// a queue that says nothing.
pub(super) struct Publisher {
    address: Arc<Address>,
    lanes: [Line; Lane::ALL.len()],
    windows: [Semaphore; Lane::ALL.len()],
    /// For everything but publishing; it declares nothing by itself.
    aside: Line,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Publisher {
    pub(super) fn new(address: Arc<Address>) -> Self {
        let lanes = Lane::ALL.each_ref().map(|lane| Line::of(slice::from_ref(lane)));
        let windows = Lane::ALL.map(|_| Semaphore::new(WINDOW));
        Self { address, lanes, windows, aside: Line::of(&[]) }
    }

    pub(super) async fn publish(&self, lane: Lane, notice: &[u8]) -> Result<(), BrokerError> {
        let _place = match timeout(WINDOW_WAIT, self.windows[lane.index()].acquire()).await {
            Ok(Ok(place)) => place,
            _ => return Err(self.address.unavailable("too many notices wait for their confirm")),
        };
        let line = &self.lanes[lane.index()];
        let session = line.session(&self.address).await?;
        let sent = self.send(&session, lane, notice).await;
        if sent.is_err() {
            line.discard(&session).await;
        }
        sent
    }

    async fn send(&self, session: &Session, lane: Lane, notice: &[u8]) -> Result<(), BrokerError> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let queue = topology::queue(&self.address, lane);
        let publish = session.channel.basic_publish("".into(), queue, options, notice, properties);
        // From here on the notice may be on its way, whatever the error says.
        let unconfirmed = |error: &lapin::Error| match self.address.classify(error) {
            BrokerError::Refused { endpoint, detail } => BrokerError::Refused { endpoint, detail },
            other => self.address.unconfirmed(other.to_string()),
        };
        let waited = timeout(CONFIRM, async { publish.await?.await }).await;
        match waited {
            Err(_) => Err(self.address.unconfirmed(format!("no confirm for {} s", CONFIRM.as_secs()))),
            Ok(Err(error)) => Err(unconfirmed(&error)),
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            // Somebody deleted the queue; the next connection declares it.
            Ok(Ok(Confirmation::Ack(Some(_)))) => Err(self.address.unavailable("the queue is gone")),
            Ok(Ok(Confirmation::Nack(_))) => {
                Err(self.address.unavailable("the queue did not take the notice"))
            }
            Ok(Ok(Confirmation::NotRequested)) => {
                Err(self.address.unconfirmed("the channel gives no confirms"))
            }
        }
    }

    pub(super) async fn ready(&self, lane: Lane) -> Result<u64, BrokerError> {
        let session = self.aside.session(&self.address).await?;
        let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let asked = session.channel.queue_declare(
            topology::queue(&self.address, lane),
            options,
            FieldTable::default(),
        );
        let counted = self.address.bounded("queue.declare", asked).await;
        if counted.is_err() {
            self.aside.discard(&session).await;
        }
        match counted {
            Ok(queue) => Ok(u64::from(queue.message_count())),
            // Whoever publishes or consumes declares it.
            Err(BrokerError::Refused { detail, .. }) if detail.contains("(404)") => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn assert_topology(&self) -> Result<(), BrokerError> {
        let session = self.aside.session(&self.address).await?;
        let asserted = topology::assert(&self.address, &session.connection, &Lane::ALL).await;
        if asserted.is_err() {
            self.aside.discard(&session).await;
        }
        asserted.map_err(BrokerError::from)
    }
}
