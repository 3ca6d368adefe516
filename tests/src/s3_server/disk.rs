//! Buckets in a folder: the bytes of each object in a file of their own, and beside it a description that makes the
//! object visible.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What is known of an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) key: String,
    /// Name of the file with the bytes.
    pub(super) blob: String,
    pub(super) bytes: u64,
    pub(super) etag: String,
    pub(super) content_type: Option<String>,
    /// Of the whole object, base64; `None` for objects that came in parts.
    pub(super) crc32: Option<String>,
    pub(super) modified: SystemTime,
}

/// One part of an upload.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) blob: String,
    pub(super) bytes: u64,
    pub(super) etag: String,
    pub(super) md5: [u8; 16],
}

/// An upload in parts. Forgotten by a restart, like its parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: Option<String>,
    pub(super) parts: BTreeMap<i32, Part>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<String, BTreeMap<String, Described>>,
    pub(super) uploads: BTreeMap<String, Upload>,
}

/// What a put demands of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    Nothing,
    Absent,
    Etag(String),
}

/// Why an object did not become visible.
#[derive(Debug)]
pub(super) enum CommitError {
    NoBucket,
    Demand,
    Io(io::Error),
}

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    state: Mutex<State>,
    names: AtomicU64,
}

const BLOBS: &str = ".blobs";

impl Disk {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join(BLOBS))?;
        let mut state = State::default();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let Ok(bucket) = entry.file_name().into_string() else { continue };
            if !entry.file_type()?.is_dir() || bucket.starts_with('.') {
                continue;
            }
            let mut objects = BTreeMap::new();
            for file in fs::read_dir(entry.path())? {
                // A description that was cut off by a kill never got its name.
                if let Ok(object) = serde_json::from_slice::<Described>(&fs::read(file?.path())?) {
                    objects.insert(object.key.clone(), object);
                }
            }
            state.buckets.insert(bucket, objects);
        }
        // Names must not repeat those of an earlier life of the server.
        let names =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
        Ok(Self { root: root.to_owned(), state: Mutex::new(state), names: AtomicU64::new(names) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_name(&self) -> String {
        format!("{:016x}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn blob(&self, name: &str) -> PathBuf {
        self.root.join(BLOBS).join(name)
    }

    pub(super) fn forget_blob(&self, name: &str) {
        // Readers have it open; a file too many is only space.
        let _ = fs::remove_file(self.blob(name));
    }

    fn description(&self, bucket: &str, key: &str) -> PathBuf {
        let digest: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        self.root.join(bucket).join(digest)
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(bucket))?;
        self.lock().buckets.entry(bucket.to_owned()).or_default();
        Ok(())
    }

    /// Makes an object visible, if what is there is as demanded. One at a time.
    pub(super) fn commit(&self, bucket: &str, object: Described, demand: &Demand) -> Result<(), CommitError> {
        let mut state = self.lock();
        let objects = state.buckets.get_mut(bucket).ok_or(CommitError::NoBucket)?;
        let there = objects.get(&object.key);
        let met = match demand {
            Demand::Nothing => true,
            Demand::Absent => there.is_none(),
            Demand::Etag(etag) => there.is_some_and(|there| there.etag == *etag),
        };
        if !met {
            return Err(CommitError::Demand);
        }
        let path = self.description(bucket, &object.key);
        let temporary = self.blob(&format!("{}.json", object.blob));
        let written = serde_json::to_vec(&object)
            .map_err(io::Error::other)
            .and_then(|json| fs::write(&temporary, json))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(CommitError::Io)?;
        if let Some(earlier) = objects.insert(object.key.clone(), object) {
            self.forget_blob(&earlier.blob);
        }
        Ok(())
    }

    pub(super) fn remove(&self, bucket: &str, key: &str) {
        let mut state = self.lock();
        if let Some(object) = state.buckets.get_mut(bucket).and_then(|objects| objects.remove(key)) {
            let _ = fs::remove_file(self.description(bucket, key));
            self.forget_blob(&object.blob);
        }
    }
}
