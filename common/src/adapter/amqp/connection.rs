//! Opening connections, and what the client library's errors mean.

use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

use crate::adapter::endpoint::endpoint;
use crate::job::lane::Lane;
use crate::port::broker::BrokerError;

use super::{ANSWER, topology};

/// Heartbeat in seconds unless the address says another: the server ends a silent connection after two.
const HEARTBEAT_S: u16 = 5;
/// Bound on opening a connection: name, TCP, TLS and the protocol's greeting.
const CONNECT: Duration = Duration::from_secs(10);

/// Where the server is and how the queues are named.
pub(super) struct Address {
    uri: AMQPUri,
    /// Address without credentials.
    pub(super) endpoint: String,
    /// What stands before the names of the queues.
    pub(super) namespace: String,
}

/// Why a step about a queue failed.
#[derive(Debug)]
pub(super) struct QueueError {
    pub(super) error: BrokerError,
    /// The lane whose queue does not answer, though the server does: other lanes may be well.
    pub(super) silent: Option<Lane>,
}

impl From<BrokerError> for QueueError {
    fn from(error: BrokerError) -> Self {
        Self { error, silent: None }
    }
}

impl From<QueueError> for BrokerError {
    fn from(error: QueueError) -> Self {
        error.error
    }
}

/// Whether the server broke down over a request, as RabbitMQ does over a queue without a leader.
fn is_internal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 541)
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("endpoint", &self.endpoint)
            .field("namespace", &self.namespace)
            .finish()
    }
}

impl Address {
    pub(super) fn parse(url: &str, namespace: &str) -> Result<Self, BrokerError> {
        let endpoint = endpoint(url);
        let mut uri: AMQPUri = url.parse().map_err(|reason: String| BrokerError::Refused {
            endpoint: endpoint.clone(),
            detail: format!("not an address of a queue: {reason}"),
        })?;
        if uri.vhost.is_empty() {
            // A trailing `/` names the default virtual host for every other client.
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.connection_timeout.get_or_insert(CONNECT.as_millis() as u64);
        Ok(Self { uri, endpoint, namespace: namespace.to_owned() })
    }

    pub(super) fn unavailable(&self, detail: impl Into<String>) -> BrokerError {
        BrokerError::Unavailable { endpoint: self.endpoint.clone(), detail: detail.into() }
    }

    pub(super) fn unconfirmed(&self, detail: impl Into<String>) -> BrokerError {
        BrokerError::Unconfirmed { endpoint: self.endpoint.clone(), detail: detail.into() }
    }

    pub(super) fn refused(&self, detail: impl Into<String>) -> BrokerError {
        BrokerError::Refused { endpoint: self.endpoint.clone(), detail: detail.into() }
    }

    /// What an error of the client library means.
    pub(super) fn classify(&self, error: &lapin::Error) -> BrokerError {
        match error.kind() {
            ErrorKind::ProtocolError(protocol) => {
                let text = format!("{} ({})", protocol.get_message(), protocol.get_id());
                match protocol.get_id() {
                    // access refused, not found, precondition failed, not allowed (virtual host), not implemented
                    403 | 404 | 406 | 530 | 540 => self.refused(text),
                    _ => self.unavailable(text),
                }
            }
            ErrorKind::InvalidProtocolVersion(_)
            | ErrorKind::AuthProviderError(_)
            | ErrorKind::NoDefaultRuntime => self.refused(error.to_string()),
            // The library wraps it in an error of the system.
            _ if error.to_string().contains("invalid peer certificate") => self.refused(error.to_string()),
            _ => self.unavailable(error.to_string()),
        }
    }

    /// A step that is bounded and whose failure is told.
    pub(super) async fn bounded<T>(
        &self,
        what: &'static str,
        step: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, BrokerError> {
        match timeout(ANSWER, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.classify(&error)),
            Err(_) => Err(self.late(what)),
        }
    }

    /// A step about the queue of a lane.
    pub(super) async fn of_queue<T>(
        &self,
        lane: Lane,
        what: &'static str,
        step: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, QueueError> {
        match timeout(ANSWER, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let silent = is_internal(&error).then_some(lane);
                Err(QueueError { error: self.classify(&error), silent })
            }
            Err(_) => Err(QueueError { error: self.late(what), silent: Some(lane) }),
        }
    }

    fn late(&self, what: &str) -> BrokerError {
        self.unavailable(format!("no answer to `{what}` for {} s", ANSWER.as_secs()))
    }

    /// A connection whose server has the queues of these lanes. Only those it is for: a queue without a leader answers late.
    pub(super) async fn connect(&self, name: &str, lanes: &[Lane]) -> Result<Connection, QueueError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = match timeout(CONNECT, Connection::connect_uri(self.uri.clone(), properties)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(self.classify(&error).into()),
            Err(_) => {
                return Err(self.unavailable(format!("no connection within {} s", CONNECT.as_secs())).into());
            }
        };
        topology::assert(self, &connection, lanes).await?;
        Ok(connection)
    }

    pub(super) async fn channel(&self, connection: &Connection) -> Result<Channel, BrokerError> {
        self.bounded("channel.open", connection.create_channel()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_defaults_and_hide_credentials() {
        let address = Address::parse("amqp://me:secret@host:5673/", "n").unwrap();
        assert_eq!((address.uri.vhost.as_str(), address.uri.query.heartbeat), ("/", Some(HEARTBEAT_S)));
        assert!(!format!("{address:?}").contains("secret"));
        let address = Address::parse("amqps://host/team%2Fa?heartbeat=30", "n").unwrap();
        assert_eq!((address.uri.vhost.as_str(), address.uri.query.heartbeat), ("team/a", Some(30)));
        for url in ["http://host", "nonsense", ""] {
            assert!(!Address::parse(url, "n").unwrap_err().is_transient(), "{url}");
        }
    }
}
