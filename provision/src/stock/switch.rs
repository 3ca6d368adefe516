//! Which version of a bundle is in use on this machine, and which was before.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use common::home::Home;
use common::model::manifest::is_version;

use super::cache_table::{Kept, surplus};
use crate::installed;
use crate::place::{self, At as _, Lock, PlaceError};
use crate::progress::Progress;
use crate::verify::{self, VerifyError};

/// Why a version cannot be gone back to.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Nothing is known to go back to.
    #[error("no version of `{name}` was in use before")]
    NoPrevious {
        /// The bundle.
        name: String,
    },
    /// It is not here.
    #[error("`{name}@{version}` is not installed")]
    NotInstalled {
        /// The bundle.
        name: String,
        /// The version.
        version: String,
    },
    /// It is damaged.
    #[error("the version to go back to is not whole")]
    Verify(#[from] VerifyError),
    /// The home folder cannot be read.
    #[error("cannot read `{}`", folder.display())]
    Unreadable {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// The version in use.
#[must_use]
pub fn current(home: &Home, name: &str) -> Option<String> {
    version_of(home.bundle_current(name))
}

/// The version in use before.
#[must_use]
pub fn previous(home: &Home, name: &str) -> Option<String> {
    version_of(home.bundle_previous(name))
}

fn version_of(link: PathBuf) -> Option<String> {
    fs::read_link(link).ok()?.to_str().filter(|version| is_version(version)).map(str::to_owned)
}

/// Makes a version the current one, and remembers the one before. The caller holds the bundle's lock.
///
/// # Errors
/// When the disk does not take it. Killed between its two steps, `previous` names the version that is still current.
pub fn point(home: &Home, name: &str, version: &str) -> Result<(), PlaceError> {
    if let Some(old) = current(home, name).filter(|old| old != version) {
        place::point(&home.bundle_previous(name), &old)?;
    }
    place::point(&home.bundle_current(name), version)
}

/// Goes back to the version in use before, or to `to`; says which.
///
/// # Errors
/// Any [`SwitchError`]; then nothing has changed.
pub fn rollback(
    home: &Home,
    name: &str,
    to: Option<&str>,
    progress: &dyn Progress,
) -> Result<String, SwitchError> {
    let lock = Lock::acquire(home, &format!("bundle-{name}"), || {
        progress.step(&format!("waiting for another process that works on {name}"));
    })?;
    let now = current(home, name);
    let before = || previous(home, name).filter(|previous| Some(previous) != now.as_ref());
    let version = to
        .map(str::to_owned)
        .or_else(before)
        .ok_or_else(|| SwitchError::NoPrevious { name: name.to_owned() })?;
    let folder = home.bundle_version(name, &version);
    if !is_version(&version) || !folder.is_dir() {
        return Err(SwitchError::NotInstalled { name: name.to_owned(), version });
    }
    verify::bundle(&folder)?;
    point(home, name, &version)?;
    drop(lock);
    Ok(version)
}

/// Removes all but `keep` versions of one bundle or of all, and downloads nobody went on with; says what it removed.
///
/// # Errors
/// Any [`SwitchError`]; what was removed until then is gone.
pub fn gc(
    home: &Home,
    name: Option<&str>,
    keep: usize,
    progress: &dyn Progress,
) -> Result<Vec<(String, String)>, SwitchError> {
    let unreadable = |source| SwitchError::Unreadable { folder: home.bundles(), source };
    let mut names: Vec<String> =
        installed::bundles(home).map_err(unreadable)?.into_iter().map(|bundle| bundle.name).collect();
    names.dedup();
    names.retain(|found| name.is_none_or(|wanted| found == wanted));
    let mut removed = Vec::new();
    for name in names {
        let lock = Lock::acquire(home, &format!("bundle-{name}"), || {
            progress.step(&format!("waiting for another process that works on {name}"));
        })?;
        let there = installed::bundles(home).map_err(unreadable)?;
        let kept = there.into_iter().filter(|bundle| bundle.name == name).map(|bundle| Kept {
            // A folder whose age cannot be told counts as the oldest.
            installed: bundle.folder.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
            version: bundle.version,
        });
        let kept: Vec<Kept> = kept.collect();
        let (now, before) = (current(home, &name), previous(home, &name));
        for version in surplus(&kept, now.as_deref(), before.as_deref(), keep) {
            remove(home, &name, &version, &lock)?;
            if before.as_deref() == Some(&version) {
                let link = home.bundle_previous(&name);
                fs::remove_file(&link).at("remove", &link)?;
            }
            removed.push((name.clone(), version));
        }
        let downloads = home.cache().join("bundles").join(&name);
        if downloads.is_dir() {
            fs::remove_dir_all(&downloads).at("remove", &downloads)?;
        }
    }
    Ok(removed)
}

/// Moved aside first: a version is there whole or not at all.
fn remove(home: &Home, name: &str, version: &str, lock: &Lock) -> Result<(), PlaceError> {
    let folder = home.bundle_version(name, version);
    let partial = lock.partial()?;
    fs::rename(&folder, partial.path().join("removed")).at("move aside", &folder)
}
