//! Objects appear whole: written beside, then renamed or linked into place.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::port::object_store::content::Body;
use crate::port::object_store::{Condition, ObjectInfo, StoreError};

use super::path::{TEMPORARY, resolve};
use super::{Durability, blocking, failed, info};

/// What writers that died left behind is removed after this time; no put takes as long.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);
/// The file that whoever replaces a version holds a lock on.
const REPLACING: &str = "replacing.lock";
/// How often a put creates its folder anew when a delete removes it in between.
const FOLDER_TRIES: u32 = 16;

/// Creates the folder and removes old leftovers.
pub(super) fn prepare(root: &Path) -> io::Result<()> {
    let temporary = root.join(TEMPORARY);
    fs::create_dir_all(&temporary)?;
    for entry in fs::read_dir(&temporary)? {
        let entry = entry?;
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
        let leftover = matches!(age, Ok(Ok(age)) if age > LEFTOVER_AGE);
        if leftover && entry.file_name() != REPLACING {
            // Another process that opens the same folder may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Removes an object, and the folders that it leaves empty.
pub(super) fn remove(root: &Path, key: &str) -> Result<(), StoreError> {
    let path = resolve(root, key)?;
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) => {
            use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
            return match error.kind() {
                NotFound | NotADirectory | IsADirectory => Ok(()),
                _ => Err(failed(key, &error)),
            };
        }
    }
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        // Not empty: somebody else's objects are there. A put that is about to use it creates it anew.
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

/// One put.
pub(super) struct Writer {
    pub(super) root: Arc<Path>,
    pub(super) key: String,
    pub(super) durability: Durability,
}

impl Writer {
    pub(super) fn bytes(&self, bytes: &[u8], condition: &Condition) -> Result<ObjectInfo, StoreError> {
        let target = resolve(&self.root, &self.key)?;
        let mut temporary = Temporary::create(&self.root).map_err(|error| failed(&self.key, &error))?;
        temporary.file.write_all(bytes).map_err(|error| failed(&self.key, &error))?;
        self.publish(&temporary, &target, condition)
    }

    pub(super) fn file(&self, source: &Path, condition: &Condition) -> Result<ObjectInfo, StoreError> {
        let unreadable =
            |error: io::Error| StoreError::Source { detail: format!("`{}`: {error}", source.display()) };
        let target = resolve(&self.root, &self.key)?;
        let mut from = File::open(source).map_err(unreadable)?;
        let mut temporary = Temporary::create(&self.root).map_err(|error| failed(&self.key, &error))?;
        // On Linux this stays inside the kernel.
        io::copy(&mut from, &mut temporary.file).map_err(|error| failed(&self.key, &error))?;
        self.publish(&temporary, &target, condition)
    }

    pub(super) async fn stream(self, mut body: Body, condition: Condition) -> Result<ObjectInfo, StoreError> {
        let root = Arc::clone(&self.root);
        let key = self.key.clone();
        let (target, temporary) = blocking(move || {
            let target = resolve(&root, &key)?;
            Temporary::create(&root)
                .map(|temporary| (target, temporary))
                .map_err(|error| failed(&key, &error))
        })
        .await?;
        let file = temporary.file.try_clone().map_err(|error| failed(&self.key, &error))?;
        let mut file = tokio::fs::File::from_std(file);
        while let Some(chunk) = body.next().await? {
            file.write_all(&chunk).await.map_err(|error| failed(&self.key, &error))?;
        }
        file.flush().await.map_err(|error| failed(&self.key, &error))?;
        blocking(move || self.publish(&temporary, &target, &condition)).await
    }

    /// Makes a finished file visible under its key.
    fn publish(
        &self,
        temporary: &Temporary,
        target: &Path,
        condition: &Condition,
    ) -> Result<ObjectInfo, StoreError> {
        let placed = || -> io::Result<ObjectInfo> {
            if self.durability == Durability::Synced {
                temporary.file.sync_all()?;
            }
            let folder = target.parent().unwrap_or(&self.root);
            // Of several that replace a version, one at a time looks and renames; unlocked when dropped.
            let _one_at_a_time = match condition {
                Condition::IfEtag(etag) => Some(still_there(&self.root, target, etag)?),
                _ => None,
            };
            place(&temporary.path, target, folder, condition)?;
            if self.durability == Durability::Synced {
                File::open(folder)?.sync_all()?;
            }
            temporary.file.metadata().map(|metadata| info(&metadata))
        };
        placed().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::PreconditionFailed { key: self.key.clone() },
            _ => failed(&self.key, &error),
        })
    }
}

/// Locks the store's replacements and compares the version; an object that is gone or another is "already exists", the
/// kind that [`Writer::publish`] takes for a failed condition.
fn still_there(root: &Path, target: &Path, etag: &str) -> io::Result<File> {
    let lock = OpenOptions::new().create(true).append(true).open(root.join(TEMPORARY).join(REPLACING))?;
    lock.lock()?;
    match target.symlink_metadata() {
        Ok(metadata) if info(&metadata).etag.as_deref() == Some(etag) => Ok(lock),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

fn place(from: &Path, target: &Path, folder: &Path, condition: &Condition) -> io::Result<()> {
    let mut tries = 0;
    loop {
        create_folders(folder)?;
        let placed = match condition {
            Condition::Always | Condition::IfEtag(_) => fs::rename(from, target),
            // Unlike rename, link fails when the name is taken; the temporary name goes with its guard.
            Condition::IfAbsent => fs::hard_link(from, target),
        };
        tries += 1;
        match placed {
            // A delete removed the folder in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < FOLDER_TRIES => {}
            other => return other,
        }
    }
}

fn create_folders(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| match error.kind() {
        // An object lies where a folder is needed: not a failed condition but a key that cannot be.
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}

/// A file without a key; removed when dropped, unless it was renamed away.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(root: &Path) -> io::Result<Self> {
        // Seeded at random by the standard library; `create_new` would notice a repetition.
        let name = format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(0_u8));
        let path = root.join(TEMPORARY).join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename nothing is there any more.
        let _ = fs::remove_file(&self.path);
    }
}
