//! The operations that Rollcall uses.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

use md5::{Digest as _, Md5};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::io::AsyncSeekExt as _;

use super::Bounds;
use super::body::{self, Claimed, hex};
use super::disk::{CommitError, Demand, Described, Disk, Part, Upload};

pub(super) struct Ops {
    pub(super) disk: Arc<Disk>,
    pub(super) bounds: Bounds,
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> S3Error {
    S3Error::internal_error(error)
}

fn demand(if_none_match: Option<&IfNoneMatch>, if_match: Option<&IfMatch>) -> S3Result<Demand> {
    match (if_none_match, if_match) {
        (None, None) => Ok(Demand::Nothing),
        (Some(condition), None) if condition.is_any() => Ok(Demand::Absent),
        (None, Some(condition)) => match condition.as_etag() {
            Some(etag) => Ok(Demand::Etag(etag.value().to_owned())),
            None => Err(s3_error!(NotImplemented)),
        },
        _ => Err(s3_error!(NotImplemented)),
    }
}

fn committed(result: Result<(), CommitError>) -> S3Result<()> {
    result.map_err(|error| match error {
        CommitError::NoBucket => s3_error!(NoSuchBucket),
        CommitError::Demand => s3_error!(PreconditionFailed),
        CommitError::Io(error) => internal(error),
    })
}

fn source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket.to_string(), key.to_string())),
        _ => Err(s3_error!(NotImplemented)),
    }
}

impl Ops {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Described> {
        let state = self.disk.lock();
        let objects = state.buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn need_bucket(&self, bucket: &str) -> S3Result<()> {
        let known = self.disk.lock().buckets.contains_key(bucket);
        if known { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn commit(&self, bucket: &str, object: Described, demand: &Demand) -> S3Result<()> {
        let blob = object.blob.clone();
        committed(self.disk.commit(bucket, object, demand)).inspect_err(|_| self.disk.forget_blob(&blob))
    }

    fn with_upload<T>(&self, id: &str, then: impl FnOnce(&mut Upload) -> S3Result<T>) -> S3Result<T> {
        let mut state = self.disk.lock();
        then(state.uploads.get_mut(id).ok_or_else(|| s3_error!(NoSuchUpload))?)
    }

    fn add_part(&self, id: &str, number: i32, part: Part) -> S3Result<()> {
        if !(1..=10_000).contains(&number) {
            return Err(s3_error!(InvalidArgument));
        }
        let earlier = self.with_upload(id, |upload| Ok(upload.parts.insert(number, part)))?;
        if let Some(earlier) = earlier {
            self.disk.forget_blob(&earlier.blob);
        }
        Ok(())
    }

    /// The parts that the client names, after the protocol's checks.
    fn chosen(&self, upload: &Upload, named: &CompletedMultipartUpload) -> S3Result<Vec<Part>> {
        let mut chosen: Vec<Part> = Vec::new();
        let named = named.parts.as_deref().unwrap_or_default();
        let mut last = 0;
        for completed in named {
            let number = completed.part_number.unwrap_or(0);
            if number <= last {
                return Err(s3_error!(InvalidPartOrder));
            }
            last = number;
            let part = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            if completed.e_tag.as_ref().is_none_or(|etag| etag.value() != part.etag) {
                return Err(s3_error!(InvalidPart));
            }
            chosen.push(part.clone());
        }
        if chosen.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let small = |part: &Part| part.bytes < self.bounds.part_bytes_min;
        if chosen.iter().rev().skip(1).any(small) {
            return Err(s3_error!(EntityTooSmall));
        }
        Ok(chosen)
    }

    fn join(&self, parts: &[Part]) -> std::io::Result<String> {
        let blob = self.disk.new_name();
        let mut whole = std::fs::File::create(self.disk.blob(&blob))?;
        for part in parts {
            std::io::copy(&mut std::fs::File::open(self.disk.blob(&part.blob))?, &mut whole)?;
        }
        Ok(blob)
    }
}

#[async_trait::async_trait]
impl S3 for Ops {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.disk.create_bucket(&request.input.bucket).map_err(internal)?;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.need_bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let trailers = request.trailing_headers;
        let input = request.input;
        self.need_bucket(&input.bucket)?;
        let demand = demand(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let claimed = Claimed { crc32: input.checksum_crc32, sha256: input.checksum_sha256, trailers };
        let arrived = body::receive(&self.disk, input.body, claimed).await?;
        let etag = hex(&arrived.md5);
        let object = Described {
            key: input.key,
            blob: arrived.blob,
            bytes: arrived.bytes,
            etag: etag.clone(),
            content_type: input.content_type,
            crc32: arrived.crc32.clone(),
            modified: SystemTime::now(),
        };
        self.commit(&input.bucket, object, &demand)?;
        let output = PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: arrived.crc32,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.find(&input.bucket, &input.key)?;
        if let Some(etag) = input.if_match.as_ref().and_then(|condition| condition.as_etag())
            && etag.value() != object.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        if input
            .if_none_match
            .and_then(|condition| condition.into_etag())
            .is_some_and(|e| e.value() == object.etag)
        {
            return Err(s3_error!(NotModified));
        }
        let range = match &input.range {
            None => 0..object.bytes,
            Some(range) => range.check(object.bytes)?,
        };
        // Opened under the lock's snapshot: a put may have replaced the file between the look and here.
        let mut file =
            tokio::fs::File::open(self.disk.blob(&object.blob)).await.map_err(|_| s3_error!(SlowDown))?;
        file.seek(SeekFrom::Start(range.start)).await.map_err(internal)?;
        let left = range.end - range.start;
        let whole = input.range.is_none();
        let output = GetObjectOutput {
            body: Some(body::send(file, left)),
            content_length: Some(left as i64),
            content_range: (!whole)
                .then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.bytes)),
            content_type: object.content_type,
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(object.modified.into()),
            accept_ranges: Some("bytes".to_owned()),
            checksum_crc32: object.crc32.filter(|_| whole && input.checksum_mode.is_some()),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.find(&request.input.bucket, &request.input.key)?;
        let output = HeadObjectOutput {
            content_length: Some(object.bytes as i64),
            content_type: object.content_type,
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(object.modified.into()),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.need_bucket(&request.input.bucket)?;
        self.disk.remove(&request.input.bucket, &request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
        let limit = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).clamp(1, 1000);
        let state = self.disk.lock();
        let objects = state.buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let mut rows = objects
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(key, _)| after.is_empty() || **key > after);
        let contents: Vec<_> = rows
            .by_ref()
            .take(limit)
            .map(|(key, object)| Object {
                key: Some(key.clone()),
                size: Some(object.bytes as i64),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                last_modified: Some(object.modified.into()),
                ..Default::default()
            })
            .collect();
        let more = rows.next().is_some();
        let output = ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            key_count: Some(contents.len() as i32),
            max_keys: Some(limit as i32),
            is_truncated: Some(more),
            next_continuation_token: contents.last().filter(|_| more).and_then(|last| last.key.clone()),
            contents: Some(contents),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let (from_bucket, from_key) = source(&input.copy_source)?;
        let object = self.find(&from_bucket, &from_key)?;
        self.need_bucket(&input.bucket)?;
        let replace =
            input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE");
        if object.bytes > self.bounds.copy_bytes_max {
            return Err(s3_error!(InvalidRequest, "the copy source is too large for one request"));
        }
        if from_bucket == input.bucket && from_key == input.key && !replace {
            return Err(s3_error!(InvalidRequest, "a copy onto itself must change something"));
        }
        let blob = self.disk.new_name();
        tokio::fs::copy(self.disk.blob(&object.blob), self.disk.blob(&blob)).await.map_err(internal)?;
        let content_type = if replace { input.content_type } else { object.content_type.clone() };
        let copied =
            Described { key: input.key, blob, content_type, modified: SystemTime::now(), ..object.clone() };
        self.commit(&input.bucket, copied, &Demand::Nothing)?;
        let result = CopyObjectResult { e_tag: Some(ETag::Strong(object.etag)), ..Default::default() };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.need_bucket(&input.bucket)?;
        let id = self.disk.new_name();
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            content_type: input.content_type,
            ..Upload::default()
        };
        self.disk.lock().uploads.insert(id.clone(), upload);
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let trailers = request.trailing_headers;
        let input = request.input;
        self.with_upload(&input.upload_id, |_| Ok(()))?;
        let claimed = Claimed { crc32: input.checksum_crc32, sha256: input.checksum_sha256, trailers };
        let arrived = body::receive(&self.disk, input.body, claimed).await?;
        let etag = hex(&arrived.md5);
        let part = Part { blob: arrived.blob, bytes: arrived.bytes, etag: etag.clone(), md5: arrived.md5 };
        self.add_part(&input.upload_id, input.part_number, part)?;
        let output = UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: arrived.crc32,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        let (from_bucket, from_key) = source(&input.copy_source)?;
        let object = self.find(&from_bucket, &from_key)?;
        if let Some(etag) = input.copy_source_if_match.as_ref().and_then(|condition| condition.as_etag())
            && etag.value() != object.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let named = input.copy_source_range.as_deref().and_then(|range| range.strip_prefix("bytes="));
        let (first, last) = match named.and_then(|range| range.split_once('-')) {
            Some((first, last)) => {
                let number = |text: &str| text.parse::<u64>().map_err(|_| s3_error!(InvalidArgument));
                (number(first)?, number(last)?)
            }
            None => (0, object.bytes.saturating_sub(1)),
        };
        if last >= object.bytes || first > last || last - first >= self.bounds.copy_bytes_max {
            return Err(s3_error!(InvalidRange));
        }
        let mut from = std::fs::File::open(self.disk.blob(&object.blob)).map_err(internal)?;
        from.seek(SeekFrom::Start(first)).map_err(internal)?;
        let mut bytes = Vec::new();
        from.take(last - first + 1).read_to_end(&mut bytes).map_err(internal)?;
        let blob = self.disk.new_name();
        std::fs::write(self.disk.blob(&blob), &bytes).map_err(internal)?;
        let md5: [u8; 16] = Md5::digest(&bytes).into();
        let part = Part { blob, bytes: bytes.len() as u64, etag: hex(&md5), md5 };
        self.add_part(&input.upload_id, input.part_number, part)?;
        let result = CopyPartResult { e_tag: Some(ETag::Strong(hex(&md5))), ..Default::default() };
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let demand = demand(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let upload = self.with_upload(&input.upload_id, |upload| Ok(upload.clone()))?;
        if upload.bucket != input.bucket || upload.key != input.key {
            return Err(s3_error!(NoSuchUpload));
        }
        let named = input.multipart_upload.ok_or_else(|| s3_error!(MalformedXML))?;
        let parts = self.chosen(&upload, &named)?;
        let mut digest = Md5::new();
        parts.iter().for_each(|part| digest.update(part.md5));
        let etag = format!("{}-{}", hex(&digest.finalize()), parts.len());
        let object = Described {
            key: input.key.clone(),
            blob: self.join(&parts).map_err(internal)?,
            bytes: parts.iter().map(|part| part.bytes).sum(),
            etag: etag.clone(),
            content_type: upload.content_type,
            crc32: None,
            modified: SystemTime::now(),
        };
        self.commit(&input.bucket, object, &demand)?;
        let ended = self.disk.lock().uploads.remove(&input.upload_id);
        ended
            .iter()
            .flat_map(|upload| upload.parts.values())
            .for_each(|part| self.disk.forget_blob(&part.blob));
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let ended = self.disk.lock().uploads.remove(&request.input.upload_id);
        let upload = ended.ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.values().for_each(|part| self.disk.forget_blob(&part.blob));
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let state = self.disk.lock();
        let uploads = state.uploads.iter().filter(|(_, upload)| upload.bucket == request.input.bucket);
        let uploads = uploads
            .map(|(id, upload)| MultipartUpload {
                key: Some(upload.key.clone()),
                upload_id: Some(id.clone()),
                ..Default::default()
            })
            .collect();
        Ok(S3Response::new(ListMultipartUploadsOutput { uploads: Some(uploads), ..Default::default() }))
    }
}
