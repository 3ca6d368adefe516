//! `ensure`: makes this machine hold a version of a bundle that the store offers, proven, and current.
//!
//! ```text
//! pointer ─▶ manifest ─▶ signature ─▶ plan ─▶ lock ─▶ parts ─▶ unpack, hashing ─▶ self-test ─▶ rename ─▶ current
//! ```
//! Until the rename nothing of the new version can be seen, and until `current` moves the old one is in use.

use std::io;
use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::FILE_NAME;

use super::cache_dir::Download;
use super::cache_table::{Plan, Replaced, There, plan};
use super::depot::{Depot, DepotError, Offer};
use super::fetch::FetchError;
use super::signature::{Policy, SignatureError, Standing};
use super::tarball::{Member, TarballError};
use super::unpacked::{Archive, UnpackedError};
use super::{room, switch};
use crate::digest;
use crate::place::{At as _, Lock, Partial, PlaceError};
use crate::progress::Progress;
use crate::selftest::{self, SelfTestError};
use crate::verify::{self, VerifyError};

/// Why a bundle could not be ensured. What was current before still is, and nothing of the refused version is left but,
/// where the network failed or the disk has no room, the parts that were fetched.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// The store does not offer it.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The manifest is not signed as it has to be.
    #[error("`{bundle}` is refused")]
    Signature {
        /// Name and version.
        bundle: String,
        /// Why.
        #[source]
        source: SignatureError,
    },
    /// The disk has no room.
    #[error("there is no room for the bundle: {bytes} bytes are needed, {free} are free: `{}`", folder.display())]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// How much is needed.
        bytes: u64,
        /// How much there is.
        free: u64,
    },
    /// The archive did not arrive.
    #[error("the archive could not be fetched")]
    Fetch(#[from] FetchError),
    /// The archive lies.
    #[error("the archive `{key}` is refused")]
    Archive {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: TarballError,
    },
    /// What was unpacked is not whole.
    #[error("the bundle that was unpacked is not whole")]
    Verify(#[from] VerifyError),
    /// The networks do not compute what they should.
    #[error("the bundle was not proven on this machine")]
    SelfTest(#[from] SelfTestError),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// What [`ensure`] works with.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Where bundles lie.
    pub home: &'a Home,
    /// The program that proves a bundle; `None` leaves that out.
    pub worker: Option<&'a Path>,
    /// Which signatures are believed.
    pub policy: &'a Policy,
}

/// What had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Already,
    /// It was there; `current` names it now.
    Pointed,
    /// It was fetched.
    Installed,
}

/// A version that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// Version.
    pub version: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What had to be done.
    pub outcome: Outcome,
}

/// Makes the machine hold the version that is asked for, or else the one that the pointer names.
///
/// # Errors
/// Any [`EnsureError`].
pub fn ensure(
    depot: &Depot,
    name: &str,
    version: Option<&str>,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Ensured, EnsureError> {
    let home = options.home;
    progress.step(&format!("asking {} for {name}", depot.address()));
    let offer = depot.offer(name, version)?;
    let bundle = format!("{name}@{}", offer.manifest.version);
    match options.policy.check(&offer.json, offer.signature.as_deref()) {
        Ok(Standing::Signed { comment }) => progress.step(&format!("{bundle} is signed: {comment}")),
        Ok(Standing::Unchecked) => progress.step(&format!("{bundle} is signed; no key is known to check it")),
        Ok(Standing::Unsigned) => {}
        Err(source) => return Err(EnsureError::Signature { bundle, source }),
    }
    let folder = home.bundle_version(name, &offer.manifest.version);
    let done = |outcome| Ensured { version: offer.manifest.version.clone(), folder: folder.clone(), outcome };
    if planned(home, &offer, &folder) == Plan::Nothing {
        return Ok(done(Outcome::Already));
    }
    let lock = Lock::acquire(home, &format!("bundle-{name}"), || {
        progress.step(&format!("waiting for another process that works on {name}"));
    })?;
    let outcome = match planned(home, &offer, &folder) {
        Plan::Nothing => return Ok(done(Outcome::Already)),
        Plan::Point => {
            // Somebody may have been killed between the last rename and clearing up.
            lock.sweep()?;
            forget_downloads(home, name)?;
            Outcome::Pointed
        }
        Plan::Install { replaced } => {
            match replaced {
                Replaced::Nothing => {}
                Replaced::Damaged => progress.step(&format!("{bundle} is damaged here and is replaced")),
                Replaced::Another => {
                    progress.step(&format!("{bundle} here is another than the store's and is replaced"));
                }
            }
            install(depot, &offer, &folder, &lock, options, progress)?;
            Outcome::Installed
        }
    };
    progress.step(&format!("making {bundle} the current one"));
    switch::point(home, name, &offer.manifest.version)?;
    Ok(done(outcome))
}

/// Removes what was fetched of a bundle. The caller holds the bundle's lock.
fn forget_downloads(home: &Home, name: &str) -> Result<(), PlaceError> {
    let cache = downloads(home, name);
    if cache.is_dir() { std::fs::remove_dir_all(&cache).at("remove", &cache) } else { Ok(()) }
}

/// Where the archives of a bundle are fetched to.
fn downloads(home: &Home, name: &str) -> PathBuf {
    home.cache().join("bundles").join(name)
}

fn planned(home: &Home, offer: &Offer, folder: &Path) -> Plan {
    let there = digest::of_file(&folder.join(FILE_NAME), common::model::manifest::BYTES_MAX)
        .ok()
        .map(|(sha256, _)| There { sha256, whole: verify::bundle(folder).is_ok() });
    let current = switch::current(home, &offer.manifest.name);
    plan(&offer.manifest.version, &offer.sha256, there.as_ref(), current.as_deref())
}

fn install(
    depot: &Depot,
    offer: &Offer,
    folder: &Path,
    lock: &Lock,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<(), EnsureError> {
    let home = options.home;
    let (key, identity) = depot.archive(offer)?;
    let manifest = &offer.manifest;
    let archive = Archive {
        depot,
        key,
        identity,
        members: members(offer),
        title: format!("{}@{}", manifest.name, manifest.version),
        cache: downloads(home, &manifest.name),
        name: format!("{}-{}", manifest.version, &offer.sha256[..16]),
    };
    let (partial, download) = begin(&archive, lock, home.root(), room::free_bytes)?;
    let new = partial.path().join("new");
    let download = archive.unpack(download, &new, progress).map_err(|error| match error {
        UnpackedError::Fetch(error) => error.into(),
        UnpackedError::Archive(source) => EnsureError::Archive { key: archive.key.clone(), source },
        UnpackedError::Place(error) => error.into(),
    })?;
    let proven = prove(offer, &partial, &new, options, progress);
    let placed = proven.and_then(|()| {
        progress.step("putting the bundle into its place");
        Ok(partial.publish("new", folder)?)
    });
    download.remove()?;
    placed
}

/// A folder to write into and the download to go on with, if the disk has room for the rest. What killed runs left is
/// swept before it is asked: it would count as used.
fn begin(
    archive: &Archive<'_>,
    lock: &Lock,
    root: &Path,
    free_bytes: impl FnOnce(&Path) -> io::Result<u64>,
) -> Result<(Partial, Download), EnsureError> {
    let partial = lock.partial()?;
    let download = archive.open()?;
    let unpacked: u64 = archive.members.iter().map(|member| member.bytes).sum();
    let bytes = room::needed_bytes(download.missing_bytes(), unpacked);
    let free = free_bytes(root).at("look at", root)?;
    if free < bytes {
        if !download.is_resumed() {
            download.remove()?;
        }
        return Err(EnsureError::NoRoom { folder: root.to_owned(), bytes, free });
    }
    Ok((partial, download))
}

fn prove(
    offer: &Offer,
    partial: &Partial,
    new: &Path,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<(), EnsureError> {
    if !new.join(FILE_NAME).exists() {
        partial.write(&format!("new/{FILE_NAME}"), &offer.json)?;
    }
    verify::bundle(new)?;
    if let Some(worker) = options.worker {
        progress.step("testing the networks on this machine");
        selftest::check(worker, options.home, new)?;
    }
    Ok(())
}

/// What the archive may hold: the manifest itself, and all its files.
fn members(offer: &Offer) -> Vec<Member> {
    let itself = Member {
        path: FILE_NAME.to_owned(),
        bytes: offer.json.len() as u64,
        sha256: offer.sha256.clone(),
        required: false,
    };
    let files = offer.manifest.files.iter().map(|file| Member {
        path: file.path.clone(),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        required: true,
    });
    std::iter::once(itself).chain(files).collect()
}

#[cfg(test)]
#[path = "ensure_tests.rs"]
mod tests;
