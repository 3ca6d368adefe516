//! Connections to Redis, and what the client library's errors mean.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation,
    ServerErrorKind,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::adapter::endpoint::endpoint;
use crate::job::lane::Lane;
use crate::port::broker::BrokerError;

use super::{GROUP, RedisStreamsOptions, stream_name};

/// Bound on opening a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Bound on one answer; `appendfsync always` on a busy disk takes its time.
const ANSWER: Duration = Duration::from_secs(10);

/// Where the server is; its shared connection comes back by itself.
pub(super) struct Link {
    client: Client,
    manager: Mutex<Option<ConnectionManager>>,
    /// Address without credentials.
    pub(super) endpoint: String,
    pub(super) options: RedisStreamsOptions,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("endpoint", &self.endpoint).field("options", &self.options).finish()
    }
}

impl Link {
    pub(super) fn new(url: &str, options: RedisStreamsOptions) -> Result<Self, BrokerError> {
        let endpoint = endpoint(url);
        let client = Client::open(url).map_err(|error| BrokerError::Refused {
            endpoint: endpoint.clone(),
            detail: format!("not an address of a queue: {error}"),
        })?;
        Ok(Self { client, manager: Mutex::default(), endpoint, options })
    }

    pub(super) fn stream(&self, lane: Lane) -> String {
        stream_name(&self.options.namespace, lane)
    }

    /// The shared connection, for everything that does not block.
    async fn manager(&self) -> Result<ConnectionManager, BrokerError> {
        // Bounded by its own timeouts, for whoever waits as well.
        let mut slot = self.manager.lock().await;
        if let Some(manager) = &*slot {
            return Ok(manager.clone());
        }
        // One try per call: whoever calls has a loop of their own, and a person wants to know at once.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1))
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let made = self.client.get_connection_manager_with_config(config).await;
        let manager = made.map_err(|error| self.unsent(&error))?;
        *slot = Some(manager.clone());
        Ok(manager)
    }

    /// What an error over the shared connection means. A server that is no master any more stays connected: its name may
    /// lead to another one by now, so the connection is given up.
    async fn failed(&self, error: &RedisError) -> BrokerError {
        if matches!(error.code(), Some("READONLY" | "MASTERDOWN")) {
            *self.manager.lock().await = None;
        }
        self.classify(error)
    }

    /// A connection of its own, whose answers may take `patience` longer than others.
    pub(super) async fn own(&self, patience: Duration) -> Result<MultiplexedConnection, BrokerError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER + patience));
        let made =
            timeout(CONNECT * 2, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        match made {
            Ok(made) => made.map_err(|error| self.unsent(&error)),
            Err(_) => Err(BrokerError::Unavailable {
                endpoint: self.endpoint.clone(),
                detail: format!("no connection within {} s", (CONNECT * 2).as_secs()),
            }),
        }
    }

    /// Sends one command over the shared connection.
    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        let mut manager = self.manager().await?;
        match command.query_async(&mut manager).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Runs one script over the shared connection.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, BrokerError> {
        let mut manager = self.manager().await?;
        match script.invoke_async(&mut manager).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// Makes sure that every lane has its stream and group.
    pub(super) async fn assert_groups(&self) -> Result<(), BrokerError> {
        for lane in Lane::ALL {
            let mut create = redis::cmd("XGROUP");
            create.arg("CREATE").arg(self.stream(lane)).arg(GROUP).arg("0").arg("MKSTREAM");
            let mut manager = self.manager().await?;
            match create.query_async::<()>(&mut manager).await {
                Ok(()) => {}
                Err(error) if error.code() == Some("BUSYGROUP") => {}
                Err(error) => return Err(self.failed(&error).await),
            }
        }
        Ok(())
    }

    /// What an error means when nothing can have been done: no connection was made.
    fn unsent(&self, error: &RedisError) -> BrokerError {
        match self.classify(error) {
            BrokerError::Unconfirmed { endpoint, detail } => BrokerError::Unavailable { endpoint, detail },
            other => other,
        }
    }

    /// What an error of the client library means.
    pub(super) fn classify(&self, error: &RedisError) -> BrokerError {
        let (endpoint, detail) = (self.endpoint.clone(), error.to_string());
        let refused = matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed
                | ErrorKind::InvalidClientConfig
                | ErrorKind::Server(ServerErrorKind::NoPerm)
        ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "WRONGTYPE" | "NOPERM"))
            || detail.contains("invalid peer certificate");
        if refused {
            BrokerError::Refused { endpoint, detail }
        } else if error.is_connection_refusal()
            || matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
        {
            // Loading, read-only, out of memory, busy: the server has said that it did nothing.
            BrokerError::Unavailable { endpoint, detail }
        } else {
            BrokerError::Unconfirmed { endpoint, detail }
        }
    }
}
