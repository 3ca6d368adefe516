//! Processes that outlive their starter and can be found again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{ServerError, io_error, wait_until};

/// Closes what was inherited, then becomes the program. `$$` is the shell itself, whose own files are these.
const CLOSE_AND_EXEC: &str = r#"
for file in /proc/$$/fd/*; do number=${file##*/}; if ((number > 2)); then eval "exec $number>&-" 2>/dev/null; fi; done
exec "$@""#;

/// A process that was started detached, as its file in a `run` folder tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// Name of the file.
    pub name: String,
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot: with the pid, it names one process for good.
    started: u64,
}

fn run_folder(folder: &Path) -> PathBuf {
    folder.join("run")
}

/// Start time of a process; `None` when there is none, or only its remains.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it do not.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Third field of the line: state. Zombies do nothing any more. Twenty-second: start time.
    if *fields.first()? == "Z" {
        return None;
    }
    fields.get(19)?.parse().ok()
}

impl Detached {
    /// Starts a command in a session of its own: no standard input, output to `{folder}/{name}.log`.
    ///
    /// # Errors
    /// When the folder cannot be written or the program not be started.
    pub fn spawn(folder: &Path, name: &str, command: &Command) -> Result<Self, ServerError> {
        let run = run_folder(folder);
        fs::create_dir_all(&run).map_err(io_error(&run))?;
        let log_path = folder.join(format!("{name}.log"));
        let log =
            fs::OpenOptions::new().create(true).append(true).open(&log_path).map_err(io_error(&log_path))?;
        let error_log = log.try_clone().map_err(io_error(&log_path))?;
        let mut wrapped = Command::new("setsid");
        wrapped.args(["bash", "-c", CLOSE_AND_EXEC, "rollcall-local"]).arg(command.get_program());
        wrapped.args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        wrapped.stdin(Stdio::null()).stdout(log).stderr(error_log).current_dir("/");
        let mut child = wrapped.spawn().map_err(io_error("setsid"))?;
        let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
        // Nobody else reaps it while this process lives; a thread that waits keeps no zombie.
        let process = Self { name: name.to_owned(), pid, started: start_time(pid).unwrap_or(0) };
        std::thread::spawn(move || child.wait());
        process.save(folder)?;
        Ok(process)
    }

    /// Remembers a process that something else started.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn adopt(folder: &Path, name: &str, pid: i32) -> Result<Self, ServerError> {
        let process = Self { name: name.to_owned(), pid, started: start_time(pid).unwrap_or(0) };
        process.save(folder)?;
        Ok(process)
    }

    fn save(&self, folder: &Path) -> Result<(), ServerError> {
        let path = run_folder(folder).join(&self.name);
        fs::write(&path, format!("{} {}\n", self.pid, self.started)).map_err(io_error(path))
    }

    /// The processes that a folder remembers, by name.
    #[must_use]
    pub fn all(folder: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(run_folder(folder)) else {
            return Vec::new();
        };
        let mut all: Vec<_> = entries.flatten().filter_map(|entry| Self::load(&entry.path())).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn load(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let name = path.file_name()?.to_str()?.to_owned();
        Some(Self { name, pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Whether it lives.
    #[must_use]
    pub fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Sends a signal if it lives.
    pub fn signal(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.alive(), Pid::from_raw(self.pid)) {
            // It may have ended in between.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks it to end, waits, and ends it.
    ///
    /// # Errors
    /// When it survives that.
    pub fn stop(&self, folder: &Path, patience: Duration) -> Result<(), ServerError> {
        self.signal(Signal::TERM);
        if !wait_until(patience, || !self.alive()) {
            self.signal(Signal::KILL);
            if !wait_until(Duration::from_secs(60), || !self.alive()) {
                return Err(ServerError::NotStopped { name: self.name.clone(), pid: self.pid });
            }
        }
        // A name that a new process has taken meanwhile stays.
        let path = run_folder(folder).join(&self.name);
        if Self::load(&path).as_ref() == Some(self) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// The last lines of a log.
pub(super) fn log_end(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_started_found_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let process = Detached::spawn(folder.path(), "sleeper", command.arg("600")).unwrap();
        assert!(process.alive());
        assert_eq!(Detached::all(folder.path()), std::slice::from_ref(&process));
        let open = || fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().count();
        assert!(
            wait_until(Duration::from_secs(60), || open() == 3),
            "only the three standard files stay open"
        );
        let another = Detached { started: process.started + 1, ..process.clone() };
        another.signal(Signal::KILL);
        assert!(process.alive(), "another start time is another process");
        process.stop(folder.path(), Duration::from_secs(60)).unwrap();
        assert!(!process.alive() && Detached::all(folder.path()).is_empty());
    }
}
