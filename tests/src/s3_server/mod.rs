//! A small S3 server: for the tests, and for `deploy/local`.
//!
//! Objects are files in a folder, found again after a restart. Conditional puts are decided under one lock, checksums are
//! compared before an object becomes visible, and parts obey the protocol's bounds, so that a client that is wrong about
//! any of these is found out here. Faults are ordered by rules ([`fault::Rule`]). Path style only.

mod body;
mod disk;
pub mod fault;
mod ops;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use disk::Disk;
use fault::{Faults, FaultyService};

/// The keys that the server takes.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Access key.
    pub access: String,
    /// Secret key.
    pub secret: String,
}

/// Bounds of the protocol, smaller in tests.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Every part but the last has at least this size.
    pub part_bytes_min: u64,
    /// One request copies at most this much.
    pub copy_bytes_max: u64,
}

impl Default for Bounds {
    /// Amazon's.
    fn default() -> Self {
        Self { part_bytes_min: 5 << 20, copy_bytes_max: 5 << 30 }
    }
}

/// A running server; dropped, it stops.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

impl S3Server {
    /// Serves the buckets in a folder (each sub-folder one) at an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the folder cannot be read or the address not be bound.
    pub async fn start(root: &Path, listen: SocketAddr, keys: Keys, bounds: Bounds) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let mut builder = S3ServiceBuilder::new(ops::Ops { disk: Arc::new(Disk::open(root)?), bounds });
        builder.set_auth(SimpleAuth::from_single(keys.access, keys.secret));
        let faults = Arc::new(Faults::default());
        let service = FaultyService { inner: builder.build(), faults: Arc::clone(&faults) };
        Ok(Self { address, faults, task: tokio::spawn(accept(listener, service)) })
    }

    /// The address for `AWS_ENDPOINT_URL_S3`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Serves until the process ends.
    pub async fn run(mut self) {
        // An error means that somebody aborted the task: done as well.
        let _ = (&mut self.task).await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, service: FaultyService) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Too many open files pass; the others end with the listener.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let service = service.clone();
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A client that hangs up is no news.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}
