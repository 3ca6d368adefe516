//! Python packages as sources of weights and libraries: pinned, fetched with pip, kept by digest, never installed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::digest;
use crate::place::{At, Lock, PlaceError};
use crate::progress::Progress;

/// Largest wheel that is read, bytes.
pub const BYTES_MAX: u64 = 1 << 30;
/// The build of a package for GPUs; of NVIDIA's there is one for every Python.
const GPU_BUILD: [&str; 20] = [
    "--implementation",
    "cp",
    "--python-version",
    "3.12",
    "--abi",
    "cp312",
    "--abi",
    "none",
    "--platform",
    "manylinux_2_28_x86_64",
    "--platform",
    "manylinux_2_27_x86_64",
    "--platform",
    "manylinux2014_x86_64",
    "--platform",
    "manylinux_2_17_x86_64",
    "--platform",
    "manylinux2010_x86_64",
    "--platform",
    "manylinux1_x86_64",
];
/// The build of a package that is asked for, whatever Python this machine has: nothing of it is run.
const BUILD: [&str; 8] = [
    "--implementation",
    "cp",
    "--python-version",
    "3.11",
    "--abi",
    "cp311",
    "--platform",
    "manylinux_2_28_x86_64",
];
/// Lines of pip's complaint that an error carries.
const COMPLAINT_LINES: usize = 3;
const PINS: &str = include_str!("../wheels.txt");
const GPU_PINS: &str = include_str!("../wheels-gpu.txt");

/// A package, its version, and the digest of the one file that is accepted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Name in the package registry.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// SHA-256 of the wheel, lower-case hexadecimal.
    pub sha256: String,
    /// It is one of those that only machines with a GPU need.
    pub gpu: bool,
}

impl Pin {
    /// The pin of a package in `wheels.txt` or `wheels-gpu.txt`; `None` for a package that is not used.
    #[must_use]
    pub fn of(package: &str) -> Option<Self> {
        let gpu = Self::parse(GPU_PINS).into_iter().map(|pin| Self { gpu: true, ..pin });
        Self::parse(PINS).into_iter().chain(gpu).find(|pin| pin.package == package)
    }

    /// Lines `PACKAGE==VERSION --hash=sha256:DIGEST`; comments and anything else are passed over.
    fn parse(text: &str) -> Vec<Self> {
        let pin = |line: &str| {
            let (requirement, sha256) = line.split_once(" --hash=sha256:")?;
            let (package, version) = requirement.split_once("==")?;
            Some(Self { package: package.into(), version: version.into(), sha256: sha256.into(), gpu: false })
        };
        text.lines().filter_map(|line| pin(line.trim())).collect()
    }

    /// As pip spells it.
    #[must_use]
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

/// Where wheels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The package registry that this Python's pip is configured for.
    Registry {
        /// The interpreter: a path, or a name that is looked up in `PATH`.
        python: PathBuf,
    },
    /// A folder of wheels; nothing is fetched.
    Folder(PathBuf),
}

/// Why a wheel could not be had.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// No such interpreter.
    #[error("cannot start `{}`, which is needed to download {requirement}", python.display())]
    NoPython {
        /// What was to be started.
        python: PathBuf,
        /// What was to be downloaded.
        requirement: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The interpreter has no pip.
    #[error("`{}` has no pip, which is needed to download {requirement}", python.display())]
    NoPip {
        /// The interpreter.
        python: PathBuf,
        /// What was to be downloaded.
        requirement: String,
    },
    /// pip reached no registry, or the registry has no such file.
    #[error("pip could not download {requirement}: {complaint}")]
    Download {
        /// What was to be downloaded.
        requirement: String,
        /// The end of what pip said.
        complaint: String,
    },
    /// Not the file that this program was written for.
    #[error("the wheel of {requirement} has the wrong digest: {found}, not {wanted}")]
    Digest {
        /// Which wheel.
        requirement: String,
        /// Its digest.
        found: String,
        /// The pinned digest.
        wanted: String,
    },
    /// The folder has no wheel of that package and version.
    #[error("there is no wheel of {requirement} in `{}`", folder.display())]
    NotInFolder {
        /// What was looked for.
        requirement: String,
        /// Where.
        folder: PathBuf,
    },
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// The bytes of the pinned wheel: from the cache, else from `source`. What was downloaded is kept in the cache.
///
/// # Errors
/// Any [`WheelError`]; bytes that are returned have the pinned digest.
pub fn obtain(
    pin: &Pin,
    source: &Source,
    cache: &Path,
    lock: &Lock,
    progress: &dyn Progress,
) -> Result<Vec<u8>, WheelError> {
    let kept = cache.join("wheels").join(format!("{}.whl", pin.sha256));
    if kept.exists() {
        progress.step(&format!("reading {} from the cache", pin.requirement()));
        match read_pinned(pin, &kept) {
            Err(WheelError::Digest { .. }) => fs::remove_file(&kept).at("remove", &kept)?,
            other => return other,
        }
    }
    match source {
        Source::Folder(folder) => {
            progress.step(&format!("reading {} from {}", pin.requirement(), folder.display()));
            read_pinned(pin, &wheel_in(pin, folder)?)
        }
        Source::Registry { python } => {
            progress.step(&format!("downloading {} with pip", pin.requirement()));
            let partial = lock.partial()?;
            download(pin, python, partial.path())?;
            let wheel = wheel_in(pin, partial.path())?;
            let content = read_pinned(pin, &wheel)?;
            let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
            partial.publish(&name, &kept)?;
            Ok(content)
        }
    }
}

/// The file of a package's wheel in a folder; the one with the pinned digest when there are several.
fn wheel_in(pin: &Pin, folder: &Path) -> Result<PathBuf, WheelError> {
    let none = || WheelError::NotInFolder { requirement: pin.requirement(), folder: folder.to_owned() };
    let prefix = format!("{}-{}-", pin.package.replace('-', "_"), pin.version);
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .at("read", folder)?
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".whl"))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    let pinned = found
        .iter()
        .position(|path| digest::of_file(path, BYTES_MAX).is_ok_and(|(digest, _)| digest == pin.sha256));
    match pinned {
        Some(at) => Ok(found.swap_remove(at)),
        None => found.pop().ok_or_else(none),
    }
}

fn read_pinned(pin: &Pin, path: &Path) -> Result<Vec<u8>, WheelError> {
    let mut content = Vec::new();
    let file = fs::File::open(path).at("open", path)?;
    file.take(BYTES_MAX).read_to_end(&mut content).at("read", path)?;
    let found = digest::of(&content);
    if found == pin.sha256 {
        Ok(content)
    } else {
        Err(WheelError::Digest { requirement: pin.requirement(), found, wanted: pin.sha256.clone() })
    }
}

/// Runs pip; the wheel lies in `folder` afterwards.
fn download(pin: &Pin, python: &Path, folder: &Path) -> Result<(), WheelError> {
    let requirement = pin.requirement();
    let output = Command::new(python)
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
        .args(if pin.gpu { &GPU_BUILD[..] } else { &BUILD[..] })
        .args(["--disable-pip-version-check", "--no-input", "--progress-bar", "off"])
        .args(["--retries", "2", "--timeout", "20", "--dest"])
        .args([folder.as_os_str(), requirement.as_ref()])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| WheelError::NoPython {
            python: python.to_owned(),
            requirement: requirement.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named pip") {
        return Err(WheelError::NoPip { python: python.to_owned(), requirement });
    }
    Err(WheelError::Download { requirement, complaint: complaint(&said) })
}

/// The last lines that pip wrote, on one line; its connection errors come first and say more than its last word.
fn complaint(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let connection = lines.iter().find(|line| line.contains("connection") || line.contains("Retrying"));
    let last = &lines[lines.len().saturating_sub(COMPLAINT_LINES)..];
    let first = connection.filter(|line| !last.contains(line));
    let told: Vec<&str> = first.into_iter().chain(last).copied().collect();
    if told.is_empty() { "it said nothing".to_owned() } else { told.join("; ") }
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
