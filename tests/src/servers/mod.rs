//! Private Redis, RabbitMQ and S3 servers on free ports in a folder, for tests and for `deploy/local`.
//!
//! A server is started detached: in a session of its own, with output to a file and none of the starter's file
//! descriptors. What is needed to stop it lies in its folder, so that any later process can. A pid is believed only
//! together with the process' start time, so that nothing else is ever ended.

pub mod detached;
mod rabbit;
mod redis;
mod s3;
mod scoped;
mod shared;

pub use rabbit::{Rabbit, RabbitOptions};
pub use redis::{Fsync, Redis};
pub use s3::S3Process;
pub use scoped::ScopedFolder;
pub use shared::{Shared, shared};

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Why a server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The program is not on this machine.
    #[error("`{program}` is not installed; on Debian: `apt-get install --no-install-recommends {package}`")]
    Missing {
        /// Program that was looked for.
        program: String,
        /// Package that brings it.
        package: String,
    },
    /// It ended, or did not answer in time.
    #[error("`{name}` did not start; its log ends: {log_end}")]
    NotStarted {
        /// Which server.
        name: String,
        /// The last lines of its log.
        log_end: String,
    },
    /// It does not end.
    #[error("`{name}` does not stop: pid {pid}")]
    NotStopped {
        /// Which server.
        name: String,
        /// Its process.
        pid: i32,
    },
    /// A file or folder cannot be used.
    #[error("`{path}`: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

pub(crate) fn io_error(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> ServerError {
    let path = path.into();
    move |error| ServerError::Io { path, error }
}

/// So many different free ports of the loopback interface. Somebody else may take one before it is used: whoever starts
/// a server notices, and tries others.
///
/// # Errors
/// When the system has none.
pub fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let listeners: Vec<_> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// A loopback address.
#[must_use]
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Whether something accepts connections there.
#[must_use]
pub fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Looks every 20 ms until `done` or the time is over; says which.
pub fn wait_until(bound: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if done() {
            return true;
        }
        if started.elapsed() > bound {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
