//! The store of audio, results and bundles: objects under keys.
//!
//! # Design
//!
//! A store is bound to one place (bucket and prefix, or folder); keys are relative to it and are spelled in
//! `object_key` only. What every adapter promises:
//!
//! - An object is there whole or not at all: no reader sees a part of a put, whatever happens to the writer.
//! - [`Condition::IfAbsent`] is decided by the store: of several writers exactly one succeeds, the others get
//!   [`StoreError::PreconditionFailed`]. After an answer was lost, the adapter's own repetition may meet its own object
//!   and report `PreconditionFailed` too: whoever needs to know compares the content.
//! - A put, copy or delete that failed [`StoreError::Unavailable`] may have happened or may happen yet. All three can be
//!   repeated.
//! - A download goes on where it broke off, and only within the same version of the object; the adapter repeats
//!   throttled and failed requests within bounds of its own before it reports `Unavailable`.
//! - Deleting what is not there succeeds.

pub mod content;
mod error;

pub use error::StoreError;

use std::future::Future;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use content::{Body, Content};

/// Longest key in bytes that S3 takes, prefix included.
pub const KEY_BYTES_MAX: usize = 1024;

/// Most objects in one page of a listing.
pub const PAGE_OBJECTS_MAX: usize = 1000;

/// Objects under keys.
pub trait ObjectStore: Clone + Send + Sync + 'static {
    /// Writes an object.
    fn put(
        &self,
        key: &str,
        content: Content,
        options: &PutOptions,
    ) -> impl Future<Output = Result<ObjectInfo, StoreError>> + Send;

    /// Opens an object for reading. The body knows how to go on after a cut.
    fn get(&self, key: &str, range: ByteRange) -> impl Future<Output = Result<Object, StoreError>> + Send;

    /// What is known of an object without reading it.
    fn head(&self, key: &str) -> impl Future<Output = Result<ObjectInfo, StoreError>> + Send;

    /// One page of the objects whose key starts with `prefix`, in byte order of the keys, after the key `after`; at
    /// most `limit` and at most [`PAGE_OBJECTS_MAX`].
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Copies inside the store without moving the bytes through this process. Copying a key onto itself makes the
    /// object new: its time of modification becomes now.
    fn copy(&self, from: &str, to: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Copies an object to an address, which may lie in another place that this store was told it may copy to; never to a
    /// key that has a meaning of its own (`object_key::is_reserved`).
    fn copy_to(&self, from: &str, uri: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = from;
        let (key, detail) = (uri.chars().take(KEY_BYTES_MAX).collect(), "this store copies to no address");
        async move { Err(StoreError::Rejected { key, detail: detail.to_owned() }) }
    }

    /// Removes an object if it is there.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// An address at which anybody can read the object for `valid`.
    fn presign_get(
        &self,
        key: &str,
        valid: Duration,
    ) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// An address to which anybody can put the object for `valid`.
    fn presign_put(
        &self,
        key: &str,
        valid: Duration,
    ) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Reads a small object whole.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above `bytes_max`, without reading further.
    fn read(&self, key: &str, bytes_max: u64) -> impl Future<Output = Result<Bytes, StoreError>> + Send {
        async move {
            let mut object = self.get(key, ByteRange::ALL).await?;
            let too_large = |bytes| StoreError::TooLarge {
                key: key.chars().take(KEY_BYTES_MAX).collect(),
                bytes,
                bytes_max,
            };
            if object.info.bytes > bytes_max {
                return Err(too_large(object.info.bytes));
            }
            let mut all = BytesMut::new();
            while let Some(chunk) = object.body.next().await? {
                all.extend_from_slice(&chunk);
                if all.len() as u64 > bytes_max {
                    return Err(too_large(all.len() as u64));
                }
            }
            Ok(all.freeze())
        }
    }
}

/// Whether a put may replace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Replaces what is there.
    #[default]
    Always,
    /// Fails with [`StoreError::PreconditionFailed`] when the key is taken.
    IfAbsent,
    /// Fails with [`StoreError::PreconditionFailed`] unless the object still has this ETag. In a folder it is decided
    /// among puts of this kind only.
    IfEtag(String),
}

/// How to write an object.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Whether it may replace.
    pub condition: Condition,
    /// Media type, as in `Content-Type`.
    pub content_type: Option<String>,
}

impl PutOptions {
    /// Only where nothing is.
    #[must_use]
    pub fn if_absent() -> Self {
        Self { condition: Condition::IfAbsent, content_type: None }
    }

    /// Only over the version with this ETag.
    #[must_use]
    pub fn if_etag(etag: &str) -> Self {
        Self { condition: Condition::IfEtag(etag.to_owned()), content_type: None }
    }
}

/// A part of an object: from byte `start` up to, not including, byte `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// Byte after the last; `None` is the end of the object. An end behind the object's is its end.
    pub end: Option<u64>,
}

impl ByteRange {
    /// The whole object.
    pub const ALL: Self = Self { start: 0, end: None };

    /// The bytes of an object of `bytes` bytes that this range names: start and end, end not included.
    ///
    /// # Errors
    /// `None` when the range is empty or starts behind the end; the whole of an empty object is legal.
    #[must_use]
    pub fn within(self, bytes: u64) -> Option<(u64, u64)> {
        let end = self.end.unwrap_or(bytes).min(bytes);
        let whole_and_empty = bytes == 0 && self.start == 0;
        (self.start < end || whole_and_empty).then_some((self.start, end))
    }
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Length of the whole object.
    pub bytes: u64,
    /// Differs between versions of one key, where the store tells it. Opaque.
    pub etag: Option<String>,
    /// When it was written, by the store's clock, where the store tells it.
    pub modified: Option<SystemTime>,
}

/// An object that is being read.
#[derive(Debug)]
pub struct Object {
    /// About the whole object, whatever range was asked for.
    pub info: ObjectInfo,
    /// The bytes of the range.
    pub body: Body,
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key relative to the store's place.
    pub key: String,
    /// What is known of it.
    pub info: ObjectInfo,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In byte order of the keys.
    pub objects: Vec<Listed>,
    /// Give it as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// Refuses keys that no adapter takes: empty, above [`KEY_BYTES_MAX`], with control characters.
///
/// # Errors
/// [`StoreError::Rejected`].
pub fn check_key(key: &str) -> Result<(), StoreError> {
    let detail = if key.is_empty() {
        "a key is not empty".to_owned()
    } else if key.len() > KEY_BYTES_MAX {
        format!("a key has at most {KEY_BYTES_MAX} bytes: {}", key.len())
    } else if key.chars().any(char::is_control) {
        "a key has no control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(StoreError::Rejected { key: key.chars().take(KEY_BYTES_MAX).collect(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded() {
        assert!(check_key(&"k".repeat(KEY_BYTES_MAX)).is_ok());
        for key in ["", "a\nb", "a\0", &"k".repeat(KEY_BYTES_MAX + 1)] {
            assert!(matches!(check_key(key), Err(StoreError::Rejected { .. })), "{key:?}");
        }
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        let range = |start, end| ByteRange { start, end };
        assert_eq!(ByteRange::ALL.within(10), Some((0, 10)));
        assert_eq!(ByteRange::ALL.within(0), Some((0, 0)));
        assert_eq!(range(9, None).within(10), Some((9, 10)));
        assert_eq!(range(10, None).within(10), None);
        assert_eq!(range(3, Some(99)).within(10), Some((3, 10)));
        assert_eq!(range(3, Some(3)).within(10), None);
        assert_eq!(range(5, Some(3)).within(10), None);
    }
}
