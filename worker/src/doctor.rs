//! `doctor`: whether this machine can be a worker. The looking is `rollcall-provision preflight`'s, which asks this very
//! program what only a worker knows; here is only the way there.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::DoctorArgs;

/// The program that looks.
const PROGRAM: &str = "rollcall-provision";

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The program that looks is not here.
    #[error("`{PROGRAM}`, which looks at the machine, was not found beside this program or in PATH")]
    NoProgram,
    /// It could not be started.
    #[error("cannot start the program that looks at the machine: {}", program.display())]
    Start {
        /// Where it is.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DoctorError {
    /// What to try.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        vec![format!("put the `{PROGRAM}` of the same version beside `rollcall-worker`")]
    }
}

/// Finds the program beside this one, `worker`, else in `path` (the variable `PATH`).
///
/// # Errors
/// [`DoctorError::NoProgram`].
pub fn find(worker: &Path, path: &str) -> Result<PathBuf, DoctorError> {
    let in_path = std::env::split_paths(path).map(|folder| folder.join(PROGRAM));
    let mut candidates = std::iter::once(worker.with_file_name(PROGRAM)).chain(in_path);
    candidates.find(|candidate| candidate.is_file()).ok_or(DoctorError::NoProgram)
}

/// What the program is called with. What is not given here it reads from the same environment and the same file.
#[must_use]
pub fn arguments(args: &DoctorArgs, worker: &Path, config: Option<&Path>) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["preflight".into(), "--worker".into(), worker.into()];
    let mut option = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            all.extend([name.into(), value]);
        }
    };
    option("--config", config.map(Into::into));
    option("--home", args.home.clone().map(Into::into));
    option("--device", args.device.clone().map(Into::into));
    option("--bundle", args.bundle.clone().map(Into::into));
    option("--redis-url", args.redis_url.clone().map(Into::into));
    option("--queue-url", args.queue_url.clone().map(Into::into));
    option("--store", args.store_url.clone().map(Into::into));
    if args.no_services {
        all.push("--no-services".into());
    }
    if args.json {
        all.push("--json".into());
    }
    all
}

/// Becomes the program that looks, whose exit code is then this one's.
///
/// # Errors
/// Any [`DoctorError`]; where nothing goes wrong this never returns.
pub fn become_it(args: &DoctorArgs, worker: &Path, config: Option<&Path>, path: &str) -> DoctorError {
    let program = match find(worker, path) {
        Ok(program) => program,
        Err(error) => return error,
    };
    let source = Command::new(&program).args(arguments(args, worker, config)).exec();
    DoctorError::Start { program, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn it_is_found_beside_this_program_before_path() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, other) = (folder.path().join("bin"), folder.path().join("other"));
        for place in [&bin, &other] {
            fs::create_dir(place).unwrap();
        }
        let (worker, path) = (bin.join("rollcall-worker"), other.to_str().unwrap().to_owned());
        assert!(matches!(find(&worker, &path), Err(DoctorError::NoProgram)));
        fs::write(other.join(PROGRAM), "").unwrap();
        assert_eq!(find(&worker, &path).unwrap(), other.join(PROGRAM));
        fs::write(bin.join(PROGRAM), "").unwrap();
        assert_eq!(find(&worker, &path).unwrap(), bin.join(PROGRAM));
    }

    #[test]
    fn what_is_asked_here_is_asked_there() {
        let given = ["rollcall-worker", "doctor", "--device", "cuda:1", "--no-services", "--json"];
        let Command::Doctor(args) = Cli::parse_from(given).command else { panic!("not `doctor`") };
        // The environment of the test may name services and a home; they are passed on as well.
        let found = arguments(&args, Path::new("/b/rollcall-worker"), Some(Path::new("/c.toml")));
        assert_eq!(found[..5], ["preflight", "--worker", "/b/rollcall-worker", "--config", "/c.toml"]);
        let at = found.iter().position(|argument| argument == "--device").unwrap();
        assert_eq!(found[at + 1], "cuda:1");
        assert_eq!(found[found.len() - 2..], ["--no-services", "--json"]);
    }

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("rollcall-worker");
        // Not executable.
        fs::write(folder.path().join(PROGRAM), "").unwrap();
        let Command::Doctor(args) = Cli::parse_from(["rollcall-worker", "doctor"]).command else {
            panic!("not `doctor`")
        };
        let error = become_it(&args, &worker, None, "");
        assert!(matches!(error, DoctorError::Start { .. }), "{error:?}");
        assert!(error.hints()[0].contains("same version"));
    }
}
