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

use common::random::{OsRandom, Random as _};

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

/// Ports that the system gives to nobody by itself (Linux begins at 32768), so that a port which was free stays so, but for
/// others who ask here.
const OWN_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// So many different free ports of the loopback interface.
///
/// # Errors
/// When none is found among many.
pub fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let (mut ports, mut listeners) = ([0; N], Vec::with_capacity(N));
    for _ in 0..1000 {
        let Some(port) = ports.get_mut(listeners.len()) else { return Ok(ports) };
        *port = OWN_PORTS.start
            + u16::from_le_bytes([OsRandom.bytes()[0], OsRandom.bytes()[0]])
                % (OWN_PORTS.end - OWN_PORTS.start);
        // Held until all are found, so that they differ.
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, *port)));
    }
    Err(std::io::ErrorKind::AddrInUse.into())
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
