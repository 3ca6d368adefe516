//! The long-running program: relay, rescue, janitor, webhooks and HTTP, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::adapter::queue::QueueBroker;
use common::adapter::redis::RedisJobStore;
use common::adapter::store::UrlStore;
use common::clock::SystemClock;
use common::job::lane::Lane;
use common::job::worker::WorkerId;
use common::port::broker::Broker as _;
use common::port::key_store::KeyStore as _;
use common::random::{OsRandom, Random as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ExitStatus;
use super::error::FleetError;
use crate::http::{self, Door, Rules, Service};
use crate::settings::Secret;
use crate::submit::Terms;
use crate::webhook::{Post, Teller};
use crate::{janitor, relay, rescue};

/// How long everything may take to end once the process is told to stop: well within the 30 s after which the service
/// manager kills it (`deploy/systemd`), and longer than HTTP gives the requests under way.
const LAST: Duration = Duration::from_secs(20);

/// How to serve.
pub struct Plan {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What submissions go by.
    pub terms: Terms,
    /// Signs webhooks; without it none is sent.
    pub secret: Option<Secret>,
    /// Bounds of the API. The door is [`Door::Loopback`] only at a loopback address.
    pub rules: Rules,
}

/// Who is let in at an address: at a loopback address everybody on this machine, unless keys are asked for.
#[must_use]
pub fn door(listen: SocketAddr, keys_wanted: bool) -> Door {
    if listen.ip().is_loopback() && !keys_wanted { Door::Loopback } else { Door::Keys }
}

/// Serves until `stop`; `listening` hears the address, whose port the system may have chosen.
///
/// # Errors
/// When the address cannot be listened at, keys are needed and there are none, or a service is not there at the start: later
/// outages are waited out, and one of the queue always.
pub async fn run(
    (jobs, broker, objects): (RedisJobStore, QueueBroker, UrlStore),
    plan: Plan,
    stop: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<ExitStatus, FleetError> {
    let (keys, asserted) = futures::join!(jobs.keys(), broker.assert_topology());
    let some_good = keys?.iter().any(|key| key.revoked_at.is_none());
    match asserted {
        // What is submitted meanwhile waits in the outbox, and workers find it.
        Err(error) if error.is_transient() => tracing::warn!(%error, "the queue is away"),
        asserted => asserted?,
    }
    if plan.rules.door == Door::Keys && !some_good {
        return Err(FleetError::KeysNeeded { address: plan.listen });
    }
    let post = plan.secret.map(|secret| Ok((secret, Post::new()?))).transpose();
    let post = post.map_err(|source| FleetError::Webhooks { source })?;
    let unheard = |source| FleetError::Listen { address: plan.listen, source };
    let listener = TcpListener::bind(plan.listen).await.map_err(unheard)?;
    listening(listener.local_addr().map_err(unheard)?);
    let owner = WorkerId::new("dispatcher", OsRandom.bytes());
    let mut tasks = JoinSet::new();
    if let Some((secret, post)) = post {
        let reach = plan.terms.reach.clone();
        let teller =
            Teller { reach, secret, post, clock: Arc::new(SystemClock::new()), random: Arc::new(OsRandom) };
        tasks.spawn(teller.run(jobs.clone(), stop.clone()));
    }
    for lane in Lane::ALL {
        tasks.spawn(relay::run(jobs.clone(), broker.clone(), lane, stop.clone()));
    }
    tasks.spawn(rescue::run(jobs.clone(), broker.clone(), owner, stop.clone()));
    tasks.spawn(rescue::clear(jobs.clone(), objects.clone(), stop.clone()));
    let store = plan.terms.reach.store().clone();
    tasks.spawn(janitor::run(jobs.clone(), objects.clone(), store, stop.clone()));
    let service = Service::new((jobs, broker, objects), plan.terms, plan.rules, stop.clone());
    tasks.spawn(http::live::run(service.clone()));
    tasks.spawn(http::serve(listener, http::router(service), plan.rules, stop.clone()));
    // A task that ends unasked has panicked: the process must not go on with a part of itself missing.
    let mut status = ExitStatus::Done;
    let mut late = std::pin::pin!(late(stop.clone()));
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            () = &mut late => {
                tracing::warn!(tasks = tasks.len(), "still at work; it is cut off, and somebody repeats it");
                break;
            }
        };
        match ended {
            None => break,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(%error, "a task broke down; stopping");
                status = ExitStatus::Failed;
            }
        }
        stop.cancel();
    }
    // What is left is dropped, as if the process had been killed: everything it does may be.
    Ok(status)
}

/// Returns [`LAST`] after the process was told to stop.
async fn late(stop: CancellationToken) {
    stop.cancelled().await;
    sleep(LAST).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_address_goes_without_keys() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(door(at("127.0.0.1:1"), false), Door::Loopback);
        assert_eq!(door(at("[::1]:1"), false), Door::Loopback);
        assert_eq!(door(at("127.0.0.1:1"), true), Door::Keys);
        for address in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(door(at(address), false), Door::Keys, "{address}");
        }
    }
}
