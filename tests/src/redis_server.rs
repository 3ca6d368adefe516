//! A Redis of one test's own: a free port, a temporary folder, every write on disk before it is answered.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::servers::free_ports;

/// Longest time for the server to answer its first connection.
const START_MAX: Duration = Duration::from_secs(20);

/// A running server; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    settings: Vec<String>,
    // Dropped last: the server writes into it until it ends.
    folder: TempDir,
}

impl RedisServer {
    /// Starts one with `appendfsync` as given (`always` is what the promises are made for).
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start: such a test must not pass by being passed over.
    #[must_use]
    pub fn start(appendfsync: &str) -> Self {
        Self::start_with(&["--appendfsync", appendfsync])
    }

    /// Starts one with further settings, as the command line of `redis-server` takes them.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        let begun = Instant::now();
        // The free port may be taken by somebody else before the server binds it; then another one is tried.
        loop {
            let [port] = free_ports().expect("a port of this machine is free");
            if let Some(child) = launch(port, &settings, &folder) {
                return Self { child, port, settings, folder };
            }
            assert!(begun.elapsed() < START_MAX, "redis-server does not answer within {START_MAX:?}");
        }
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same port with what it had written.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&mut self) {
        self.kill();
        let begun = Instant::now();
        loop {
            if let Some(child) = launch(self.port, &self.settings, &self.folder) {
                self.child = child;
                return;
            }
            assert!(begun.elapsed() < START_MAX, "redis-server does not come back within {START_MAX:?}");
        }
    }

    /// Gives it a command as a line, and gives its answer.
    ///
    /// # Panics
    /// When it does not answer, or refuses.
    pub fn tell(&self, line: &str) -> String {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        connection.set_read_timeout(Some(START_MAX)).expect("there is a time limit");
        connection.write_all(format!("{line}\r\n").as_bytes()).expect("it takes a line");
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer).expect("it answers");
        assert!(!answer.starts_with('-'), "{line}: {answer}");
        answer
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// Starts a server and waits until it takes connections; `None` when it ends instead.
fn launch(port: u16, settings: &[String], folder: &TempDir) -> Option<Child> {
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"])
        .args(["--appendonly", "yes", "--loglevel", "warning"])
        .args(settings)
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
    let begun = Instant::now();
    while begun.elapsed() < START_MAX && child.try_wait().ok().flatten().is_none() {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Whatever it is, it is not serving.
    let _ = child.kill();
    let _ = child.wait();
    None
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
