//! `release push`: the programs and the scripts that a machine needs, in one archive that `provision.sh` takes by digest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::home::Home;
use common::model::manifest::is_version;
use common::object_key;
use common::port::object_store::ObjectStore as _;
use common::port::object_store::content::Content;

use super::depot::{Depot, DepotError};
use super::push::{PushError, put_once};
use super::tarball::{self, Member, Packed};
use crate::digest;
use crate::place::{At as _, Lock, PlaceError};
use crate::progress::Progress;

/// What a release holds.
const PROGRAMS: [&str; 3] = ["rollcall", "rollcall-worker", "rollcall-provision"];
/// The scripts are part of the release, so that one digest covers everything that runs on the machine.
const SCRIPTS: [(&str, &str); 3] = [
    ("provision.sh", include_str!("../../provision.sh")),
    // What `provision.sh --spot` installs.
    ("spot/spot-notice.sh", include_str!("../../../deploy/aws/spot-notice.sh")),
    ("spot/rollcall-spot.service", include_str!("../../../deploy/systemd/rollcall-spot.service")),
];
/// Largest program.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// Why a release was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A program is missing.
    #[error("there is no program `{}`", path.display())]
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A program cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not a version, or not a target.
    #[error("not a version or target: `{text}`")]
    Version {
        /// What was given.
        text: String,
    },
    /// The archive was not sent.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// What to push.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Where the archive is made.
    pub home: &'a Home,
    /// Folder of the programs.
    pub programs: &'a Path,
    /// Version of the release; it never changes once pushed.
    pub version: &'a str,
    /// The machines that it is for.
    pub target: &'a str,
    /// Hours that an address without credentials is valid.
    pub presign_h: Option<u16>,
}

/// A release in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its address.
    pub address: String,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// An address that needs no credentials.
    pub presigned: Option<String>,
}

/// Pushes a release.
///
/// # Errors
/// Any [`ReleaseError`].
pub fn push(depot: &Depot, options: &Options<'_>, progress: &dyn Progress) -> Result<Pushed, ReleaseError> {
    for text in [options.version, options.target] {
        if !is_version(text) {
            return Err(ReleaseError::Version { text: text.to_owned() });
        }
    }
    let lock = Lock::acquire(options.home, "release", || progress.step("waiting for another release"))?;
    let partial = lock.partial()?;
    let staged = partial.path().join("staged");
    progress.step("packing the programs");
    let members = stage(options.programs, &staged)?;
    let archive = partial.path().join("rollcall.tar.zst");
    let packed = tarball::pack(&staged, &members, 0o755, &archive).map_err(PushError::Pack)?;
    let key = object_key::release(options.version, options.target);
    progress.step(&format!(
        "sending the release to {} ({:.1} MB)",
        depot.address(),
        packed.bytes as f64 / 1e6
    ));
    put_once(depot, &key, Content::File(archive), &packed, "application/zstd")?;
    // As `sha256sum --check` reads it.
    let text = format!("{}  rollcall.tar.zst\n", packed.sha256).into_bytes();
    let described = Packed { sha256: digest::of(&text), bytes: text.len() as u64 };
    let digest_key = object_key::release_digest(options.version, options.target);
    put_once(depot, &digest_key, Content::from(text), &described, "text/plain")?;
    let presign = |hours: u16| {
        let valid = Duration::from_secs(u64::from(hours) * 3600);
        depot
            .wait(depot.store().presign_get(&key, valid))
            .map_err(|error| PushError::from(DepotError::from(error)))
    };
    let presigned = options.presign_h.map(presign).transpose()?;
    let address = format!("{}/{key}", depot.address().trim_end_matches('/'));
    Ok(Pushed { address, sha256: packed.sha256, presigned })
}

/// Copies what a release holds into a folder.
fn stage(programs: &Path, staged: &Path) -> Result<Vec<Member>, ReleaseError> {
    let bin = staged.join("bin");
    fs::create_dir_all(&bin).at("make", &bin)?;
    let spot = staged.join("spot");
    fs::create_dir_all(&spot).at("make", &spot)?;
    let mut paths = Vec::new();
    for (path, text) in SCRIPTS {
        let script = staged.join(path);
        fs::write(&script, text).at("write", &script)?;
        paths.push(path.to_owned());
    }
    for program in PROGRAMS {
        let path = programs.join(program);
        if !path.is_file() {
            return Err(ReleaseError::NoProgram { path });
        }
        fs::copy(&path, bin.join(program)).map_err(|source| ReleaseError::Unreadable { path, source })?;
        paths.push(format!("bin/{program}"));
    }
    let member = |path: String| {
        let file = staged.join(&path);
        let (sha256, bytes) = digest::of_file(&file, PROGRAM_BYTES_MAX).at("read", &file)?;
        Ok(Member { path, bytes, sha256, required: true })
    };
    paths.into_iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_the_version_of_the_programs() {
        let line = format!("readonly version={}\n", env!("CARGO_PKG_VERSION"));
        assert!(SCRIPTS[0].1.contains(&line), "{line}");
    }

    #[test]
    fn the_script_installs_what_a_release_holds() {
        let line = format!("readonly programs=({})", PROGRAMS.join(" "));
        assert!(SCRIPTS[0].1.contains(&line), "{line}");
    }
}
