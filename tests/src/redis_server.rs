//! A Redis of one test's own: a free port, a temporary folder, every write on disk before it is answered.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest time for the server to answer its first connection.
const START_MAX: Duration = Duration::from_secs(20);

/// A running server; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    // Dropped last: the server writes into it until it ends.
    _folder: TempDir,
}

impl RedisServer {
    /// Starts one with `appendfsync` as given (`always` is what the promises are made for).
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start: such a test must not pass by being passed over.
    #[must_use]
    pub fn start(appendfsync: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let begun = Instant::now();
        // The free port may be taken by somebody else before the server binds it; then another one is tried.
        loop {
            let port = free_port();
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"])
                .args(["--appendonly", "yes", "--appendfsync", appendfsync, "--loglevel", "warning"])
                .arg("--dir")
                .arg(folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.unwrap_or_else(|error| {
                panic!(
                    "`redis-server` cannot be started: {error}\n\
                     hint: apt-get install -y --no-install-recommends redis-server"
                )
            });
            while begun.elapsed() < START_MAX && child.try_wait().ok().flatten().is_none() {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Self { child, port, _folder: folder };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(begun.elapsed() < START_MAX, "redis-server does not answer within {START_MAX:?}");
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine is free");
    listener.local_addr().expect("a bound socket has an address").port()
}
