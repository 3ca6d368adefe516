//! The store inside one process. Bound to no runtime.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::clock::{Clock, SystemClock};
use crate::port::object_store::content::{Body, Content};
use crate::port::object_store::{
    ByteRange, Condition, Listed, Object, ObjectInfo, ObjectStore, PAGE_OBJECTS_MAX, Page, PutOptions,
    StoreError, check_key,
};

#[derive(Debug, Clone)]
struct Stored {
    bytes: Bytes,
    version: u64,
    modified: SystemTime,
}

impl Stored {
    fn info(&self) -> ObjectInfo {
        let etag = Some(self.version.to_string());
        ObjectInfo { bytes: self.bytes.len() as u64, etag, modified: Some(self.modified) }
    }
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    versions: u64,
}

/// A store in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; should it, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, key: &str, bytes: Bytes, condition: Condition) -> Result<ObjectInfo, StoreError> {
        let mut state = self.lock();
        let there = state.objects.get(key);
        let met = match &condition {
            Condition::Always => true,
            Condition::IfAbsent => there.is_none(),
            Condition::IfEtag(etag) => there.is_some_and(|stored| stored.info().etag.as_ref() == Some(etag)),
        };
        if !met {
            return Err(StoreError::PreconditionFailed { key: key.to_owned() });
        }
        state.versions += 1;
        let stored = Stored { bytes, version: state.versions, modified: now() };
        let info = stored.info();
        state.objects.insert(key.to_owned(), stored);
        Ok(info)
    }

    fn find(&self, key: &str) -> Result<Stored, StoreError> {
        check_key(key)?;
        self.lock().objects.get(key).cloned().ok_or_else(|| StoreError::NotFound { key: key.to_owned() })
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let state = self.lock();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
            _ => Bound::Included(prefix.to_owned()),
        };
        let limit = limit.clamp(1, PAGE_OBJECTS_MAX);
        let mut rows = state
            .objects
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| Listed { key: key.clone(), info: stored.info() });
        let objects: Vec<_> = rows.by_ref().take(limit).collect();
        let next = rows.next().and_then(|_| objects.last().map(|last| last.key.clone()));
        Page { objects, next }
    }
}

/// The time at which an object is written: metadata for retention, no decision hangs on it.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(SystemClock::new().now().as_millis())
}

async fn collect(content: Content) -> Result<Bytes, StoreError> {
    match content {
        Content::Bytes(bytes) => Ok(bytes),
        Content::File(path) => std::fs::read(&path)
            .map(Bytes::from)
            .map_err(|error| StoreError::Source { detail: format!("`{}`: {error}", path.display()) }),
        Content::Stream(mut body) => {
            let mut all = BytesMut::new();
            while let Some(chunk) = body.next().await? {
                all.extend_from_slice(&chunk);
            }
            Ok(all.freeze())
        }
    }
}

impl ObjectStore for MemoryStore {
    async fn put(&self, key: &str, content: Content, options: &PutOptions) -> Result<ObjectInfo, StoreError> {
        check_key(key)?;
        let condition = options.condition.clone();
        let bytes = collect(content).await?;
        self.insert(key, bytes, condition)
    }

    fn get(&self, key: &str, range: ByteRange) -> impl Future<Output = Result<Object, StoreError>> + Send {
        ready(self.find(key).and_then(|stored| {
            let (start, end) =
                range.within(stored.bytes.len() as u64).ok_or_else(|| StoreError::Rejected {
                    key: key.to_owned(),
                    detail: format!("no such range of {} bytes: {range:?}", stored.bytes.len()),
                })?;
            // Both lie within the length of bytes in memory, a usize.
            let body = Body::of(stored.bytes.slice(start as usize..end as usize));
            Ok(Object { info: stored.info(), body })
        }))
    }

    fn head(&self, key: &str) -> impl Future<Output = Result<ObjectInfo, StoreError>> + Send {
        ready(self.find(key).map(|stored| stored.info()))
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send {
        ready(Ok(self.page(prefix, after, limit)))
    }

    fn copy(&self, from: &str, to: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let copied = check_key(to)
            .and_then(|()| self.find(from))
            .and_then(|stored| self.insert(to, stored.bytes, Condition::Always));
        ready(copied.map(|_| ()))
    }

    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.lock().objects.remove(key);
        ready(check_key(key))
    }

    fn presign_get(
        &self,
        key: &str,
        _valid: Duration,
    ) -> impl Future<Output = Result<String, StoreError>> + Send {
        ready(check_key(key).map(|()| format!("memory:{key}")))
    }

    fn presign_put(
        &self,
        key: &str,
        _valid: Duration,
    ) -> impl Future<Output = Result<String, StoreError>> + Send {
        ready(check_key(key).map(|()| format!("memory:{key}")))
    }
}
