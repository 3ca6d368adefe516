//! Connections: bounded in number, in how long their heads may take, and in how long a reader may stand still.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::{set_tcp_nodelay, set_tcp_user_timeout};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::patience::Patient;
use super::service::Rules;

/// Pause after an error of accepting, which is mostly a lack of files that ends when connections do.
const PAUSE: Duration = Duration::from_millis(100);
/// How long requests under way may go on once the process is told to stop.
const LAST: Duration = Duration::from_secs(10);

/// Serves until `stop`, then ends what is under way.
pub async fn serve(listener: TcpListener, router: Router, rules: Rules, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(rules.connections_max));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            // It is never closed.
            let slot = slots.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, slot))
        };
        let (accepted, slot) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, router.clone(), rules, slot, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
    // Whoever comes now hears at once that nobody is here, and may ask another process.
    drop(listener);
    let over = timeout(LAST, async { while connections.join_next().await.is_some() {} }).await;
    if over.is_err() {
        tracing::warn!("requests were still under way; they are cut off");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    rules: Rules,
    slot: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    // A reader that stands still fills the kernel's buffer; after this time the kernel ends the connection. Where these
    // are not to be had, the connection works without.
    let stands_still = u32::try_from(rules.patience.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, stands_still);
    let _ = set_tcp_nodelay(&stream, true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(|body| Body::new(Patient::new(Body::new(body), &rules)));
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready.
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(rules.patience).max_buf_size(64 << 10);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // How a connection ends is its own matter.
        _ = serving.as_mut() => {}
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
    drop(slot);
}
