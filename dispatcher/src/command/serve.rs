//! The long-running program: relay, rescue, and HTTP, until told to stop.

use std::net::SocketAddr;

use common::job::worker::WorkerId;
use common::port::broker::Broker;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;
use common::random::Random;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ExitStatus;
use super::error::FleetError;
use crate::{http, relay, rescue};

/// Serves until `stop`; `listening` hears the address, whose port the system may have chosen.
///
/// # Errors
/// When the address cannot be listened at, or a service is not there at the start: later outages are waited out.
pub async fn run<J: JobStore, B: Broker, O: ObjectStore>(
    (jobs, broker, objects): (J, B, O),
    listen: SocketAddr,
    random: &dyn Random,
    stop: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<ExitStatus, FleetError> {
    let (answered, asserted) = futures::join!(jobs.time(), broker.assert_topology());
    answered?;
    asserted?;
    let unheard = |source| FleetError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(unheard)?;
    listening(listener.local_addr().map_err(unheard)?);
    let owner = WorkerId::new("dispatcher", random.bytes());
    let scraped = jobs.clone();
    let metrics = http::metrics(move || {
        let jobs = scraped.clone();
        async move { crate::metrics::scrape(&jobs).await }
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(relay::run(jobs.clone(), broker.clone(), stop.clone()));
    tasks.spawn(rescue::run(jobs, broker, objects, owner, stop.clone()));
    let router = http::router().merge(metrics);
    let http = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tasks.spawn(async move {
        // It ends only when it is told to; errors of single connections stay with them.
        let _ = http.await;
    });
    // A task that ends unasked has panicked: the process must not go on with a part of itself missing.
    let mut status = ExitStatus::Done;
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task broke down; stopping");
            status = ExitStatus::Failed;
        }
        stop.cancel();
    }
    Ok(status)
}
