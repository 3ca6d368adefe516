//! One process of a fleet, as the tests treat it: killed, paused, told to stop.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::servers::wait_until;

/// A child process; dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says goes to `{folder}/{name}.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let error = file.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(file).stderr(error).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self { child, ended: None, log }
    }

    /// Sends a signal, if it lives.
    pub fn signal(&mut self, signal: Signal) {
        if self.alive() {
            let pid = Pid::from_child(&self.child);
            // It may end in between; it is not waited for before `alive` says so, so its id is still its own.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended = self.child.wait().ok();
    }

    /// Whether it lives.
    pub fn alive(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    /// Waits for its end; `None` when it does not come in time.
    pub fn end(&mut self, bound: Duration) -> Option<ExitStatus> {
        wait_until(bound, || !self.alive());
        self.ended
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.kill();
    }
}

/// A program that cargo builds beside the folder of the test programs; `None` when it is not there.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}
