//! One connection to Redis that comes back by itself, with a bound on every wait.
//!
//! Every step of the job store may be repeated, so a lost answer is simply asked for again until the budget of the call
//! is used up. All callers share one pipelined connection; whoever first sees it fail throws it away.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, Value, cmd};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::port::job_store::{JobStoreError, StoreResult};

/// How to reach a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// `redis://` or `rediss://`.
    pub url: String,
    /// Put before every key: several deployments may share a server.
    pub prefix: String,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for one answer.
    pub answer: Duration,
    /// Longest time for one step, repetitions included.
    pub budget: Duration,
}

impl RedisOptions {
    /// The defaults: a step gives up after five seconds, well inside a lease.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "rollcall:".to_owned(),
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(2),
            budget: Duration::from_secs(5),
        }
    }
}

/// Wait before the first repetition; doubled up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A connection and its number, which tells whether somebody else has replaced it meanwhile.
#[derive(Default)]
struct Slot {
    number: u64,
    connection: Option<MultiplexedConnection>,
}

/// A connection that comes back by itself; clones share it.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    options: Arc<RedisOptions>,
    endpoint: Arc<str>,
    slot: Arc<Mutex<Slot>>,
}

/// What is asked of the server.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    /// Run a script with the prefix as its key.
    Script(&'a Script, &'a [&'a [u8]]),
    /// Take everything from a list, up to `n`; wait for the first if there is none.
    Drain { list: &'a str, n: NonZeroUsize, wait: Duration },
    /// What time it is.
    Time,
}

impl Question<'_> {
    /// How long the server may keep us waiting on purpose.
    fn waits(&self) -> Duration {
        match self {
            Self::Drain { wait, .. } => *wait,
            Self::Script(..) | Self::Time => Duration::ZERO,
        }
    }

    async fn put(&self, mut connection: MultiplexedConnection, prefix: &str) -> Result<Value, RedisError> {
        match self {
            Self::Script(script, args) => {
                let mut call = script.key(prefix);
                for arg in *args {
                    call.arg(*arg);
                }
                call.invoke_async(&mut connection).await
            }
            Self::Drain { list, n, wait } => {
                let mut taken = Vec::new();
                if !wait.is_zero() {
                    let first: Option<(Value, Value)> =
                        cmd("BLPOP").arg(list).arg(wait.as_secs_f64()).query_async(&mut connection).await?;
                    taken.extend(first.map(|(_, value)| value));
                }
                let more: Option<Vec<Value>> =
                    cmd("LPOP").arg(list).arg(n.get()).query_async(&mut connection).await?;
                taken.extend(more.unwrap_or_default());
                Ok(Value::Array(taken))
            }
            Self::Time => cmd("TIME").query_async(&mut connection).await,
        }
    }
}

/// What an error means for the call.
enum Verdict {
    /// The connection is of no use any more; ask again on another.
    Reconnect,
    /// The server is not ready; ask again later.
    Wait,
    /// Asking again changes nothing.
    Refused,
}

impl Link {
    /// Checks the address; connects with the first call.
    pub fn new(options: RedisOptions) -> StoreResult<Self> {
        let endpoint: Arc<str> = without_credentials(&options.url).into();
        let client = Client::open(options.url.as_str()).map_err(|error| JobStoreError::Refused {
            endpoint: endpoint.to_string(),
            detail: error.to_string(),
        })?;
        Ok(Self { client, options: Arc::new(options), endpoint, slot: Arc::default() })
    }

    /// A second link with a connection of its own, for calls that block on the server.
    pub fn apart(&self) -> Self {
        Self { slot: Arc::default(), ..self.clone() }
    }

    pub fn prefix(&self) -> &str {
        &self.options.prefix
    }

    /// Asks until there is an answer, a refusal, or no time left.
    pub async fn ask(&self, question: Question<'_>) -> StoreResult<Value> {
        let give_up = Instant::now() + self.options.budget + question.waits();
        let (mut pause, mut tries) = (PAUSE_FIRST, 0);
        loop {
            tries += 1;
            let (verdict, detail) = match self.connection(give_up).await {
                Err(error) => (verdict(&error), error.to_string()),
                Ok((number, connection)) => {
                    let asked = question.put(connection, self.prefix());
                    let failed = match timeout(self.options.answer + question.waits(), asked).await {
                        Ok(Ok(answer)) => return Ok(answer),
                        Ok(Err(error)) => (verdict(&error), error.to_string()),
                        Err(_) => (Verdict::Reconnect, "no answer in time".to_owned()),
                    };
                    if matches!(failed.0, Verdict::Reconnect) {
                        self.forget(number).await;
                    }
                    failed
                }
            };
            let endpoint = self.endpoint.to_string();
            if matches!(verdict, Verdict::Refused) {
                return Err(JobStoreError::Refused { endpoint, detail });
            }
            // Twice at least: where the whole machine stood still, all the time went by in the first try.
            if tries > 1 && Instant::now() + pause >= give_up {
                return Err(JobStoreError::Unavailable { endpoint, detail });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connection(&self, give_up: Instant) -> Result<(u64, MultiplexedConnection), RedisError> {
        let late = || RedisError::from((ErrorKind::Io, "no connection in time"));
        let mut slot = timeout_at(give_up, self.slot.lock()).await.map_err(|_| late())?;
        if let Some(connection) = &slot.connection {
            return Ok((slot.number, connection.clone()));
        }
        // The bounds are ours: how long an answer may take depends on the question.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(self.options.connect, connecting).await.map_err(|_| late())??;
        slot.number += 1;
        slot.connection = Some(connection.clone());
        Ok((slot.number, connection))
    }

    async fn forget(&self, number: u64) {
        let mut slot = self.slot.lock().await;
        if slot.number == number {
            slot.connection = None;
        }
    }
}

fn verdict(error: &RedisError) -> Verdict {
    const NOT_READY: [&str; 5] = ["LOADING", "BUSY", "TRYAGAIN", "OOM", "MISCONF"];
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => Verdict::Refused,
        _ => match error.code() {
            Some(code) if NOT_READY.contains(&code) => Verdict::Wait,
            // No master any more: the name may lead to another server by now, and this connection never will.
            Some("MASTERDOWN" | "READONLY") => Verdict::Reconnect,
            Some(_) => Verdict::Refused,
            None => Verdict::Reconnect,
        },
    }
}

/// The address without the part before `@`, which may hold a password.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    // A password may hold an `@` itself, but not after the path begins.
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path.filter(|path| !path.contains('@')) {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("rediss://user:pa@ss@host:1/2", "rediss://host:1/2"),
            ("redis://:secret@host", "redis://host"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
        assert!(!without_credentials("redis://:se/cret@host/0").contains("cret"));
    }
}
