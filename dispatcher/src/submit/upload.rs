//! Local files into the inbox, once for each content.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use common::clock::Timestamp;
use common::job::digest::ContentDigest;
use common::job::spec::SourceRef;
use common::object_key;
use common::port::object_store::content::Content;
use common::port::object_store::{ObjectStore, PutOptions, StoreError};
use common::reach::StoreUrl;
use sha2::{Digest as _, Sha256};

use super::error::{AUDIO_BYTES_MAX, SubmitError};
use super::gather::bounded;
use crate::command::error::FleetError;

/// An upload that was used within this time is not marked as used again: the inbox is kept for seven days more after the last
/// use, and marking copies the object inside the store.
pub const MARK_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What was done about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Where it is now.
    pub source: SourceRef,
    /// Whether its content was there before.
    pub was_there: bool,
}

/// What a file was when it was looked at; another one is another content.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
}

impl From<&Metadata> for Snapshot {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// Puts a file into the inbox under its content's digest, unless that is there. `at` is the present time; `begins` hears
/// how many bytes are going to be sent.
///
/// # Errors
/// When the file cannot be read, changes meanwhile, or the store fails.
pub async fn upload(
    objects: &impl ObjectStore,
    place: &StoreUrl,
    path: &Path,
    at: Timestamp,
    begins: &(dyn Fn(u64) + Sync),
) -> Result<Uploaded, SubmitError> {
    let (digest, before) = digest_of(path).await?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let key = object_key::inbox(&digest, &extension);
    let uploaded = |was_there| Uploaded {
        source: SourceRef {
            sha256: Some(digest),
            bytes: Some(before.bytes),
            ..SourceRef::at(place.uri(&key))
        },
        was_there,
    };
    if keep(objects, &key, before.bytes, at).await.map_err(FleetError::of_store)? {
        return Ok(uploaded(true));
    }
    begins(before.bytes);
    let sent = objects.put(&key, Content::File(path.to_owned()), &PutOptions::default()).await;
    sent.map_err(|error| match error {
        StoreError::Source { detail } => {
            SubmitError::Unreadable { path: path.to_owned(), source: std::io::Error::other(detail) }
        }
        other => FleetError::of_store(other).into(),
    })?;
    if snapshot(path)? == before {
        return Ok(uploaded(false));
    }
    // Nothing may lie under a digest that is not its own. Should removing it fail, workers refuse it by its digest.
    objects.delete(&key).await.map_err(FleetError::of_store)?;
    Err(SubmitError::Changed { path: path.to_owned() })
}

/// Whether a content of `bytes` bytes is at its key; what was not used for a while is marked as used `at` this time.
///
/// # Errors
/// What the store says.
pub async fn keep(
    objects: &impl ObjectStore,
    key: &str,
    bytes: u64,
    at: Timestamp,
) -> Result<bool, StoreError> {
    match objects.head(key).await {
        Ok(info) if info.bytes == bytes => {
            let used = info.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let used = used.map(|since| Timestamp::from_millis(0).plus(since));
            if used.is_some_and(|used| at.since(used) > MARK_AFTER) {
                objects.copy(key, key).await?;
            }
            Ok(true)
        }
        // Another size under this digest: what is there is damaged, and is replaced.
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn snapshot(path: &Path) -> Result<Snapshot, SubmitError> {
    let metadata = std::fs::metadata(path);
    metadata
        .map(|metadata| Snapshot::from(&metadata))
        .map_err(|source| SubmitError::Unreadable { path: path.to_owned(), source })
}

/// The digest of a file, and what it was before it was read.
async fn digest_of(path: &Path) -> Result<(ContentDigest, Snapshot), SubmitError> {
    let unreadable = |source| SubmitError::Unreadable { path: path.to_owned(), source };
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let file = File::open(&owned)?;
        let before = Snapshot::from(&file.metadata()?);
        let mut file = file.take(AUDIO_BYTES_MAX + 1);
        let (mut hash, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0_u64);
        loop {
            let taken = file.read(&mut buffer)?;
            if taken == 0 {
                return Ok((ContentDigest::new(hash.finalize().into()), before, bytes));
            }
            hash.update(&buffer[..taken]);
            bytes += taken as u64;
        }
    });
    let (digest, before, bytes) =
        read.await.map_err(std::io::Error::other).and_then(|read| read).map_err(unreadable)?;
    bounded(&path.display().to_string(), bytes)?;
    if bytes != before.bytes {
        return Err(SubmitError::Changed { path: path.to_owned() });
    }
    Ok((digest, before))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use common::adapter::memory::object_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_content_is_sent_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Meeting.FLAC");
        std::fs::write(&path, "sound").unwrap();
        let (objects, place, sent) = (MemoryStore::new(), StoreUrl::new("s3://b/p"), AtomicU64::new(0));
        let begins = |bytes| {
            sent.fetch_add(bytes, Ordering::Relaxed);
        };
        let at = Timestamp::from_millis(0);
        let first = upload(&objects, &place, &path, at, &begins).await.unwrap();
        let digest = ContentDigest::of(b"sound");
        assert_eq!(first.source.uri, format!("s3://b/p/inbox/{digest}.flac"));
        assert_eq!(
            (first.source.sha256, first.source.bytes, first.was_there),
            (Some(digest), Some(5), false)
        );
        let second = upload(&objects, &place, &path, at, &begins).await.unwrap();
        assert_eq!((second.source, second.was_there), (first.source, true));
        assert_eq!(sent.load(Ordering::Relaxed), 5);
        let key = object_key::inbox(&digest, "flac");
        assert_eq!(objects.read(&key, 100).await.unwrap(), "sound");
    }

    #[tokio::test]
    async fn a_damaged_upload_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        std::fs::write(&path, "sound").unwrap();
        let (objects, place) = (MemoryStore::new(), StoreUrl::new("s3://b"));
        let key = object_key::inbox(&ContentDigest::of(b"sound"), "wav");
        objects.put(&key, Content::from(b"sou".to_vec()), &PutOptions::default()).await.unwrap();
        let done = upload(&objects, &place, &path, Timestamp::from_millis(0), &|_| {}).await.unwrap();
        assert!(!done.was_there);
        assert_eq!(objects.read(&key, 100).await.unwrap(), "sound");
    }
}
