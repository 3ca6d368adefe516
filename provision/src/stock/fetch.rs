//! The parts of one object, several at a time, into a download.

use std::sync::atomic::{AtomicU64, Ordering};

use common::port::object_store::{ByteRange, ObjectStore, StoreError};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::cache_dir::{Download, Identity};
use super::cache_table::Part;
use crate::place::PlaceError;
use crate::progress::Progress;

/// Parts that are under way at a time.
const IN_FLIGHT: usize = 8;

/// Why an object was not fetched. What was fetched of it stays, and the next try goes on with it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody replaced the object meanwhile.
    #[error("the object changed while it was fetched: `{key}`")]
    Changed {
        /// Its key.
        key: String,
    },
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Fetches what is missing of a download.
///
/// # Errors
/// The first part's that fails; the others are dropped.
pub(super) async fn parts<S: ObjectStore>(
    store: &S,
    key: &str,
    identity: &Identity,
    download: &Download,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    let missing = download.missing();
    let moved = AtomicU64::new(identity.bytes - download.missing_bytes());
    let one = |part: Part| {
        let moved = &moved;
        async move {
            let range = ByteRange { start: part.start, end: Some(part.end) };
            let mut object = store.get(key, range).await?;
            let same = object.info.bytes == identity.bytes
                && object.info.etag.as_deref().unwrap_or_default() == identity.etag;
            if !same {
                return Err(FetchError::Changed { key: key.to_owned() });
            }
            let mut offset = part.start;
            while let Some(bytes) = object.body.next().await? {
                if offset + bytes.len() as u64 > part.end {
                    return Err(FetchError::Changed { key: key.to_owned() });
                }
                // Into the page cache; the disk is waited for when the archive is unpacked.
                download.write(offset, &bytes)?;
                offset += bytes.len() as u64;
                let sum = moved.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
                progress.moved(sum, identity.bytes);
            }
            if offset < part.end {
                return Err(FetchError::Changed { key: key.to_owned() });
            }
            download.note(&part)?;
            Ok(())
        }
    };
    stream::iter(missing).map(one).buffer_unordered(IN_FLIGHT).try_collect::<()>().await
}
