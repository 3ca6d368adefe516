//! Large objects: uploads and copies in parts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use crate::port::object_store::content::{Body, ByteSource, NextChunk};
use crate::port::object_store::{Condition, ObjectInfo, PutOptions, StoreError};

use super::error::{classify, rejected, unavailable};
use super::location::copy_source;
use super::repeat::{RepeatPolicy, repeat};
use super::{PartBody, S3Store};

/// The protocol's bound on the number of parts.
const PARTS_MAX: u64 = 10_000;

/// What a chunk may bring beyond the end of a part without growing its buffer, bytes.
const LEFT_OVER_MAX: usize = 256 << 10;

/// Size of each part but the last for an object of `bytes`: `part_bytes`, or more where the parts would be too many.
fn part_size(bytes: u64, part_bytes: u64) -> u64 {
    part_bytes.max(bytes.div_ceil(PARTS_MAX))
}

/// An upload under way. Dropped before it is completed, it is aborted in the background, so that no parts are left that
/// nobody sees and somebody pays for.
struct Upload {
    client: Client,
    bucket: String,
    key: String,
    shown: String,
    id: String,
    repeat: RepeatPolicy,
    open: bool,
}

impl Upload {
    async fn start(store: &S3Store, key: &str, content_type: Option<String>) -> Result<Self, StoreError> {
        let (whole, shown) = (store.key(key)?, store.shown(key));
        let create = || async {
            let request = store.client.create_multipart_upload().bucket(store.bucket()).key(&whole);
            let request =
                request.set_content_type(content_type.clone()).checksum_algorithm(ChecksumAlgorithm::Crc32);
            request.send().await.map_err(|error| classify(&shown, &error))
        };
        let output = repeat(store.options.repeat, create).await?;
        let id =
            output.upload_id().ok_or_else(|| unavailable(&shown, "no upload id came".to_owned()))?.to_owned();
        let (client, bucket) = (store.client.clone(), store.bucket().to_owned());
        Ok(Self { client, bucket, key: whole, shown, id, repeat: store.options.repeat, open: true })
    }

    /// The work of sending one part, to run beside others. `number` counts from 1.
    fn part(&self, number: i32, body: impl Fn() -> PartBody + Send + Sync + 'static) -> PartWork {
        let (client, bucket, key) = (self.client.clone(), self.bucket.clone(), self.key.clone());
        let (id, shown, policy) = (self.id.clone(), self.shown.clone(), self.repeat);
        Box::pin(async move {
            let send = || async {
                let request =
                    client.upload_part().bucket(&bucket).key(&key).upload_id(&id).part_number(number);
                let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).body(body().open().await?);
                request.send().await.map_err(|error| classify(&shown, &error))
            };
            let output = repeat(policy, send).await?;
            let part =
                CompletedPart::builder().part_number(number).set_e_tag(output.e_tag().map(str::to_owned));
            Ok(part.set_checksum_crc32(output.checksum_crc32().map(str::to_owned)).build())
        })
    }

    /// The work of copying the bytes from `start` up to `end` of another object into a part.
    fn part_copy(&self, number: i32, source: String, start: u64, end: u64, etag: Option<String>) -> PartWork {
        let (client, bucket, key) = (self.client.clone(), self.bucket.clone(), self.key.clone());
        let (id, shown, policy) = (self.id.clone(), self.shown.clone(), self.repeat);
        Box::pin(async move {
            let send = || async {
                let request = client.upload_part_copy().bucket(&bucket).key(&key).upload_id(&id);
                let request = request.part_number(number).copy_source(&source);
                let request = request.copy_source_range(format!("bytes={start}-{}", end - 1));
                let request = request.set_copy_source_if_match(etag.clone());
                request.send().await.map_err(|error| classify(&shown, &error))
            };
            let output = repeat(policy, send).await?;
            let result = output.copy_part_result();
            let part = CompletedPart::builder().part_number(number);
            let part = part.set_e_tag(result.and_then(|result| result.e_tag()).map(str::to_owned));
            Ok(part.set_checksum_crc32(result.and_then(|r| r.checksum_crc32()).map(str::to_owned)).build())
        })
    }

    async fn complete(
        mut self,
        mut parts: Vec<CompletedPart>,
        bytes: u64,
        condition: Condition,
    ) -> Result<ObjectInfo, StoreError> {
        parts.sort_unstable_by_key(|part| part.part_number());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let count = parts.parts().len();
        let unanswered = AtomicBool::new(false);
        let finish = || async {
            let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key);
            let request = request.upload_id(&self.id).multipart_upload(parts.clone());
            let request = match &condition {
                Condition::Always => request,
                Condition::IfAbsent => request.if_none_match("*"),
                Condition::IfEtag(etag) => request.if_match(etag),
            };
            request.send().await.map_err(|error| {
                let error = classify(&self.shown, &error);
                if matches!(error, StoreError::Unavailable { .. }) {
                    unanswered.store(true, Ordering::Relaxed);
                }
                error
            })
        };
        let finished = repeat(self.repeat, finish).await;
        match finished {
            Ok(output) => {
                self.open = false;
                Ok(ObjectInfo { bytes, etag: output.e_tag().map(str::to_owned), modified: None })
            }
            // The upload is not known any more: it was completed by the request whose answer was lost, or aborted by others.
            Err(StoreError::NotFound { .. }) if unanswered.into_inner() => {
                self.open = false;
                self.completed(bytes, count).await
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    /// What stands at the key, if that is what this upload made: its size, and the form of an upload of so many parts.
    async fn completed(&self, bytes: u64, parts: usize) -> Result<ObjectInfo, StoreError> {
        let head = || async {
            let request = self.client.head_object().bucket(&self.bucket).key(&self.key);
            request.send().await.map_err(|error| classify(&self.shown, &error))
        };
        let lost = || unavailable(&self.shown, "the answer to an upload's completion was lost".to_owned());
        let found = match repeat(self.repeat, head).await {
            Err(StoreError::NotFound { .. }) => return Err(lost()),
            found => found?,
        };
        let same_form =
            found.e_tag().is_some_and(|etag| etag.trim_matches('"').ends_with(&format!("-{parts}")));
        if found.content_length().and_then(|length| u64::try_from(length).ok()) == Some(bytes) && same_form {
            return Ok(ObjectInfo { bytes, etag: found.e_tag().map(str::to_owned), modified: None });
        }
        Err(lost())
    }

    async fn abort(&mut self) {
        self.open = false;
        abort(&self.client, &self.bucket, &self.key, &self.id).await;
    }
}

async fn abort(client: &Client, bucket: &str, key: &str, id: &str) {
    let sent = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
    // The bucket's lifecycle rule removes what stays; `deploy/` sets one.
    if let Err(error) = sent {
        tracing::debug!(key, error = %error, "an upload in parts could not be aborted");
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.open, tokio::runtime::Handle::try_current()) {
            let (client, bucket) = (self.client.clone(), std::mem::take(&mut self.bucket));
            let (key, id) = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
            runtime.spawn(async move { abort(&client, &bucket, &key, &id).await });
        }
    }
}

type PartWork = std::pin::Pin<Box<dyn Future<Output = Result<CompletedPart, StoreError>> + Send>>;

/// Parts under way, at most `in_flight` at a time.
struct Parts {
    running: JoinSet<Result<CompletedPart, StoreError>>,
    done: Vec<CompletedPart>,
    in_flight: usize,
}

impl Parts {
    fn new(in_flight: usize) -> Self {
        Self { running: JoinSet::new(), done: Vec::new(), in_flight: in_flight.max(1) }
    }

    /// Starts one more; waits for room first.
    async fn add(&mut self, work: PartWork) -> Result<(), StoreError> {
        while self.running.len() >= self.in_flight {
            self.join().await?;
        }
        self.running.spawn(work);
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<CompletedPart>, StoreError> {
        while !self.running.is_empty() {
            self.join().await?;
        }
        Ok(self.done)
    }

    async fn join(&mut self) -> Result<(), StoreError> {
        match self.running.join_next().await {
            None => Ok(()),
            Some(Ok(part)) => part.map(|part| self.done.push(part)),
            Some(Err(join)) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Some(Err(_)) => Err(unavailable("", "the runtime is shutting down".to_owned())),
        }
    }
}

/// A part's number; the sizes are chosen so that there are at most 10,000.
fn number(index: u64, shown: &str) -> Result<i32, StoreError> {
    i32::try_from(index + 1)
        .ok()
        .filter(|_| index < PARTS_MAX)
        .ok_or_else(|| rejected(shown, format!("an object has at most {PARTS_MAX} parts")))
}

impl S3Store {
    pub(super) async fn put_file_parts(
        &self,
        key: &str,
        path: PathBuf,
        bytes: u64,
        options: &PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let upload = Upload::start(self, key, options.content_type.clone()).await?;
        let size = part_size(bytes, self.options.part_bytes);
        let mut parts = Parts::new(self.options.parts_in_flight);
        for index in 0..bytes.div_ceil(size) {
            let (path, offset) = (path.clone(), index * size);
            let bytes = size.min(bytes - offset);
            let body = move || PartBody::File { path: path.clone(), offset, bytes };
            parts.add(upload.part(number(index, &upload.shown)?, body)).await?;
        }
        upload.complete(parts.finish().await?, bytes, options.condition.clone()).await
    }

    /// A stream of unknown length: one request when it fits into a part, else parts.
    pub(super) async fn put_stream(
        &self,
        key: &str,
        mut body: Body,
        options: &PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let part_bytes = usize::try_from(self.options.part_bytes).unwrap_or(usize::MAX);
        let mut first = BytesMut::new();
        let mut ended = false;
        while !ended && first.len() as u64 <= self.options.part_bytes {
            match body.next().await? {
                Some(chunk) => {
                    // Small objects stay small; what is larger gets its whole buffer at once.
                    if first.len() + chunk.len() > first.capacity() && first.len() >= LEFT_OVER_MAX {
                        first.reserve(part_bytes + LEFT_OVER_MAX - first.len().min(part_bytes));
                    }
                    first.extend_from_slice(&chunk);
                }
                None => ended = true,
            }
        }
        let first = first.freeze();
        if ended && first.len() as u64 <= self.options.part_bytes {
            let bytes = first.len() as u64;
            return self.put_whole(key, || PartBody::Bytes(first.clone()), bytes, options).await;
        }
        self.put_parts(key, Body::new(Prefixed { first: Some(first), rest: body }), options).await
    }

    pub(super) async fn put_parts(
        &self,
        key: &str,
        mut body: Body,
        options: &PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let upload = Upload::start(self, key, options.content_type.clone()).await?;
        let mut parts = Parts::new(self.options.parts_in_flight);
        // Bytes in memory fit an address space; parts that grow in steps keep their number within the bound.
        let part_bytes = usize::try_from(self.options.part_bytes).unwrap_or(usize::MAX);
        let (mut held, mut total, mut index, mut ended) = (BytesMut::new(), 0_u64, 0_u64, false);
        while !ended {
            let want = part_bytes.saturating_mul(1 + (index / 1000) as usize);
            // One buffer a part, of its size: growing by doubling would hold twice as much.
            let rest = std::mem::replace(&mut held, BytesMut::with_capacity(want + LEFT_OVER_MAX));
            held.extend_from_slice(&rest);
            drop(rest);
            while !ended && held.len() < want {
                match body.next().await? {
                    Some(chunk) => held.extend_from_slice(&chunk),
                    None => ended = true,
                }
            }
            let part: Bytes = held.split_to(held.len().min(want)).freeze();
            ended = ended && held.is_empty();
            if part.is_empty() && index > 0 {
                break;
            }
            total += part.len() as u64;
            let body = move || PartBody::Bytes(part.clone());
            parts.add(upload.part(number(index, &upload.shown)?, body)).await?;
            index += 1;
        }
        upload.complete(parts.finish().await?, total, options.condition.clone()).await
    }

    pub(super) async fn copy_parts(&self, from: &str, to: &str, info: &ObjectInfo) -> Result<(), StoreError> {
        let upload = Upload::start(self, to, None).await?;
        let source = copy_source(self.bucket(), &self.key(from)?);
        let size = part_size(info.bytes, self.options.copy_bytes_max);
        let mut parts = Parts::new(self.options.parts_in_flight);
        for index in 0..info.bytes.div_ceil(size) {
            let start = index * size;
            let end = info.bytes.min(start + size);
            let number = number(index, &upload.shown)?;
            parts.add(upload.part_copy(number, source.clone(), start, end, info.etag.clone())).await?;
        }
        upload.complete(parts.finish().await?, info.bytes, Condition::Always).await.map(|_| ())
    }
}

struct Prefixed {
    first: Option<Bytes>,
    rest: Body,
}

impl ByteSource for Prefixed {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(async move {
            match self.first.take() {
                Some(first) => Ok(Some(first)),
                None => self.rest.next().await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_they_are_not_too_many() {
        let mib = 1 << 20;
        assert_eq!(part_size(100 * mib, 16 * mib), 16 * mib);
        assert_eq!(part_size(160_000 * mib, 16 * mib), 16 * mib);
        let larger = part_size(160_000 * mib + 1, 16 * mib);
        assert_eq!(larger, 16 * mib + 1);
        assert!((160_000 * mib + 1).div_ceil(larger) <= PARTS_MAX);
        assert_eq!(number(9_999, "k"), Ok(10_000));
        assert!(number(10_000, "k").is_err());
    }
}
