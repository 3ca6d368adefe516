//! The store in a folder: `file:///dir`.
//!
//! An object is a file; it appears by `rename` (or by `link`, where nothing may be there) from `.rollcall-tmp` in the
//! same folder, so that no reader sees a part of it. Invariant: nothing outside the folder is read or written: keys are
//! checked segment by segment, and symbolic links below the root are refused. A key that is a prefix folder of another
//! (`a` beside `a/b`) cannot exist here, unlike in S3: the second put is rejected.

mod path;
mod walk;
mod write;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::port::object_store::content::{Body, ByteSource, Content, NextChunk};
use crate::port::object_store::{
    ByteRange, Object, ObjectInfo, ObjectStore, Page, PutOptions, StoreError, check_key,
};

use write::Writer;

/// Bytes that one read of a body asks for.
const READ_BYTES: usize = 256 * 1024;

/// What a put waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// File and folder are on disk: survives a power failure.
    #[default]
    Synced,
    /// The kernel has it: survives the death of any process.
    Cached,
}

/// A store in a folder; clones share it.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: Arc<Path>,
    durability: Durability,
}

impl FolderStore {
    /// Opens a folder, which is created if it is not there, and removes what writers that died left behind more than a
    /// day ago.
    ///
    /// # Errors
    /// When the folder can neither be created nor used.
    pub async fn open(root: impl Into<PathBuf>, durability: Durability) -> Result<Self, StoreError> {
        let root: PathBuf = root.into();
        blocking(move || {
            let opened = write::prepare(&root).and_then(|()| root.canonicalize());
            let root = opened.map_err(|error| failed(&root.display().to_string(), &error))?;
            Ok(Self { root: root.into(), durability })
        })
        .await
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a key that exists.
    async fn existing(&self, key: &str) -> Result<(PathBuf, Metadata), StoreError> {
        let (root, key) = (Arc::clone(&self.root), key.to_owned());
        blocking(move || find(&root, &key)).await
    }
}

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => Err(StoreError::Unavailable {
            key: String::new(),
            detail: "the runtime is shutting down".to_owned(),
            retry_after: None,
        }),
    }
}

fn find(root: &Path, key: &str) -> Result<(PathBuf, Metadata), StoreError> {
    let path = path::resolve(root, key)?;
    let metadata = path.symlink_metadata().map_err(|error| failed(key, &error))?;
    if metadata.is_file() { Ok((path, metadata)) } else { Err(StoreError::NotFound { key: key.to_owned() }) }
}

/// What a file system error means for the caller.
fn failed(key: &str, error: &io::Error) -> StoreError {
    let key = key.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound { key },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::Forbidden { key, detail: error.to_string() }
        }
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::DirectoryNotEmpty
        | io::ErrorKind::CrossesDevices
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => StoreError::Rejected { key, detail: error.to_string() },
        _ => StoreError::Unavailable { key, detail: error.to_string(), retry_after: None },
    }
}

fn info(metadata: &Metadata) -> ObjectInfo {
    let etag = format!("{:x}-{:x}-{:x}", metadata.ino(), metadata.mtime_nsec(), metadata.len());
    ObjectInfo { bytes: metadata.len(), etag: Some(etag), modified: metadata.modified().ok() }
}

impl ObjectStore for FolderStore {
    async fn put(&self, key: &str, content: Content, options: &PutOptions) -> Result<ObjectInfo, StoreError> {
        check_key(key)?;
        let writer =
            Writer { root: Arc::clone(&self.root), key: key.to_owned(), durability: self.durability };
        let condition = options.condition.clone();
        match content {
            Content::Bytes(bytes) => blocking(move || writer.bytes(&bytes, &condition)).await,
            Content::File(source) => blocking(move || writer.file(&source, &condition)).await,
            Content::Stream(body) => writer.stream(body, condition).await,
        }
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Object, StoreError> {
        let (path, _) = self.existing(key).await?;
        let opened = async {
            let file = tokio::fs::File::open(&path).await?;
            let metadata = file.metadata().await?;
            Ok((file, metadata))
        };
        let (mut file, metadata) = opened.await.map_err(|error| failed(key, &error))?;
        let (start, end) = range.within(metadata.len()).ok_or_else(|| StoreError::Rejected {
            key: key.to_owned(),
            detail: format!("no such range of {} bytes: {range:?}", metadata.len()),
        })?;
        file.set_max_buf_size(READ_BYTES);
        file.seek(io::SeekFrom::Start(start)).await.map_err(|error| failed(key, &error))?;
        // The open file stays the version that it was, whatever is renamed over it.
        let body = Body::new(FileBody { key: key.to_owned(), file, left: end - start });
        Ok(Object { info: info(&metadata), body })
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        self.existing(key).await.map(|(_, metadata)| info(&metadata))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let (root, prefix, after) = (Arc::clone(&self.root), prefix.to_owned(), after.map(str::to_owned));
        blocking(move || walk::page(&root, &prefix, after.as_deref(), limit)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let writer = Writer { root: Arc::clone(&self.root), key: to.to_owned(), durability: self.durability };
        let from = from.to_owned();
        blocking(move || {
            let (source, _) = find(&writer.root, &from)?;
            writer.file(&source, &crate::port::object_store::Condition::Always).map(|_| ()).map_err(|error| {
                // The source lies in the store itself: a source that vanished meanwhile is an object that vanished.
                match error {
                    StoreError::Source { .. } => StoreError::NotFound { key: from },
                    other => other,
                }
            })
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (root, key) = (Arc::clone(&self.root), key.to_owned());
        blocking(move || write::remove(&root, &key)).await
    }

    async fn presign_get(&self, key: &str, _valid: Duration) -> Result<String, StoreError> {
        path::resolve(&self.root, key).map(|path| format!("file://{}", path.display()))
    }

    async fn presign_put(&self, key: &str, _valid: Duration) -> Result<String, StoreError> {
        path::resolve(&self.root, key).map(|path| format!("file://{}", path.display()))
    }
}

struct FileBody {
    key: String,
    file: tokio::fs::File,
    left: u64,
}

impl ByteSource for FileBody {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(async move {
            if self.left == 0 {
                return Ok(None);
            }
            let want = usize::try_from(self.left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            let mut chunk = BytesMut::with_capacity(want);
            let read = (&mut self.file).take(self.left).read_buf(&mut chunk).await;
            let read = read.map_err(|error| failed(&self.key, &error))?;
            if read == 0 {
                // Somebody shortened the file in place, which no writer of this project does.
                let (expected, found) = (format!("{} more bytes", self.left), "the end".to_owned());
                return Err(StoreError::Corrupt { key: self.key.clone(), expected, found });
            }
            self.left -= read as u64;
            Ok(Some(chunk.freeze()))
        })
    }
}
