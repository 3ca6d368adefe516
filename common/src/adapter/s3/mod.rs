//! The store in S3 and what speaks its protocol: `s3://bucket/prefix`.
//!
//! The client library's own repetition is off; [`repeat`] repeats instead, honours `Retry-After` and is bounded in count
//! and time. Large objects go up in parts of which several are under way; a part is repeated alone. Every upload carries
//! a checksum that the store compares (CRC32), whole downloads are compared with the stored one, and downloads go on
//! where they broke off, within the same ETag.

mod body;
mod client;
mod date;
mod error;
mod location;
mod multipart;
mod repeat;

pub use client::{S3Access, S3Options};
pub use location::{S3Location, S3LocationError};
pub use repeat::RepeatPolicy;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime, Length};
use aws_sdk_s3::types::{ChecksumMode, MetadataDirective};

use crate::port::object_store::content::{Body, Content};
use crate::port::object_store::{
    ByteRange, Condition, KEY_BYTES_MAX, Listed, Object, ObjectInfo, ObjectStore, PAGE_OBJECTS_MAX, Page,
    PutOptions, StoreError, check_key,
};

use crate::object_key;
use crate::reach::{Place, Reach, StoreUrl};

use error::{classify, rejected};
use repeat::repeat;

/// Longest validity of a presigned address: a week, the protocol's bound.
const PRESIGN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A place in a bucket; clones share connections.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    location: S3Location,
    options: Arc<S3Options>,
    copies_to: Arc<[String]>,
}

impl S3Store {
    /// Makes a client. Nothing is sent yet: credentials are looked for with the first request.
    pub async fn connect(location: S3Location, access: &S3Access, options: S3Options) -> Self {
        Self {
            client: client::client(access, &options).await,
            location,
            options: Arc::new(options),
            copies_to: Arc::default(),
        }
    }

    /// The same, which may copy objects to these prefixes outside its place as well.
    #[must_use]
    pub fn copying_to(self, prefixes: &[String]) -> Self {
        Self { copies_to: prefixes.into(), ..self }
    }

    /// Another place with the same client.
    #[must_use]
    pub fn at(&self, location: S3Location) -> Self {
        Self { location, ..self.clone() }
    }

    /// The place.
    #[must_use]
    pub fn location(&self) -> &S3Location {
        &self.location
    }

    /// What time the store's own clock shows, to the second; `None` when its answer does not say. A refusal tells the time
    /// as well.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn server_date(&self) -> Result<Option<SystemTime>, StoreError> {
        let shown = self.shown("");
        let seen = date::Seen::default();
        let request = self.client.head_bucket().bucket(self.bucket());
        let sent = request.customize().interceptor(seen.clone()).send().await;
        match (sent, seen.date()) {
            (Err(error), None) => Err(classify(&shown, &error)),
            (_, date) => Ok(date),
        }
    }

    fn bucket(&self) -> &str {
        self.location.bucket()
    }

    /// The whole key in the bucket, after the checks that every key passes.
    fn key(&self, key: &str) -> Result<String, StoreError> {
        let whole = self.location.key(key);
        check_key(key).and_then(|()| check_key(&whole)).map(|()| whole)
    }

    /// The address of an object as errors show it.
    fn shown(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket(), self.location.key(key))
    }

    async fn put_whole(
        &self,
        key: &str,
        body: impl Fn() -> PartBody,
        bytes: u64,
        options: &PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let whole = self.key(key)?;
        let shown = self.shown(key);
        let put = || async {
            let request =
                self.client.put_object().bucket(self.bucket()).key(&whole).body(body().open().await?);
            let request = match &options.condition {
                Condition::Always => request,
                Condition::IfAbsent => request.if_none_match("*"),
                Condition::IfEtag(etag) => request.if_match(etag),
            };
            let sent = request.set_content_type(options.content_type.clone()).send().await;
            sent.map_err(|error| classify(&shown, &error))
        };
        let output = repeat(self.options.repeat, put).await?;
        Ok(ObjectInfo { bytes, etag: output.e_tag().map(str::to_owned), modified: None })
    }

    async fn copy_whole(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (from_whole, to_whole) = (self.key(from)?, self.key(to)?);
        let shown = self.shown(from);
        let source = location::copy_source(self.bucket(), &from_whole);
        // Onto itself, the protocol demands that something is replaced: the same media type.
        let replaced = if from == to { Some(self.content_type(&from_whole, &shown).await?) } else { None };
        let copy = || async {
            let request = self.client.copy_object().bucket(self.bucket()).key(&to_whole).copy_source(&source);
            let request = match &replaced {
                Some(media) => {
                    request.metadata_directive(MetadataDirective::Replace).set_content_type(media.clone())
                }
                None => request,
            };
            request.send().await.map_err(|error| classify(&shown, &error))
        };
        repeat(self.options.repeat, copy).await.map(|_| ())
    }

    async fn content_type(&self, whole: &str, shown: &str) -> Result<Option<String>, StoreError> {
        let head = || async {
            let sent = self.client.head_object().bucket(self.bucket()).key(whole).send().await;
            sent.map_err(|error| classify(shown, &error))
        };
        repeat(self.options.repeat, head).await.map(|output| output.content_type().map(str::to_owned))
    }

    /// The place and the name of an address that may be copied to.
    fn reached(&self, uri: &str) -> Result<(Self, String), StoreError> {
        let reach = Reach::new(StoreUrl::new(&self.location.to_string()), self.copies_to.to_vec());
        let open = match reach.place(uri) {
            Place::Store(key) => !object_key::is_reserved(key),
            Place::Allowed => true,
            Place::Web | Place::Outside => false,
        };
        let shown = || uri.chars().take(KEY_BYTES_MAX).collect::<String>();
        if !open {
            let detail = "outside the store and of what is allowed".to_owned();
            return Err(StoreError::Forbidden { key: shown(), detail });
        }
        let parted = uri.rsplit_once('/').and_then(|(folder, name)| Some((folder.parse().ok()?, name)));
        let (location, name) =
            parted.ok_or_else(|| rejected(&shown(), "not an object's address".to_owned()))?;
        Ok((self.at(location), name.to_owned()))
    }

    fn presigning(&self, key: &str, valid: Duration) -> Result<PresigningConfig, StoreError> {
        if valid > PRESIGN_MAX {
            return Err(rejected(
                &self.shown(key),
                format!("an address is valid for a week at most: {valid:?}"),
            ));
        }
        PresigningConfig::expires_in(valid).map_err(|error| rejected(&self.shown(key), error.to_string()))
    }
}

/// Where the bytes of one request come from; opened anew for each repetition.
pub(crate) enum PartBody {
    /// Bytes at hand.
    Bytes(bytes::Bytes),
    /// A range of a file.
    File { path: std::path::PathBuf, offset: u64, bytes: u64 },
}

impl PartBody {
    async fn open(self) -> Result<ByteStream, StoreError> {
        match self {
            Self::Bytes(bytes) => Ok(ByteStream::from(bytes)),
            Self::File { path, offset, bytes } => {
                let source =
                    ByteStream::read_from().path(&path).offset(offset).length(Length::Exact(bytes)).build();
                source
                    .await
                    .map_err(|error| StoreError::Source { detail: format!("`{}`: {error}", path.display()) })
            }
        }
    }
}

fn modified(time: Option<&DateTime>) -> Option<SystemTime> {
    time.and_then(|time| SystemTime::try_from(*time).ok())
}

/// A length as the protocol gives it; a negative or missing one is 0.
fn length(bytes: Option<i64>) -> u64 {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

impl ObjectStore for S3Store {
    async fn put(&self, key: &str, content: Content, options: &PutOptions) -> Result<ObjectInfo, StoreError> {
        match content {
            Content::Bytes(bytes) if bytes.len() as u64 <= self.options.part_bytes => {
                let length = bytes.len() as u64;
                self.put_whole(key, || PartBody::Bytes(bytes.clone()), length, options).await
            }
            Content::Bytes(bytes) => self.put_parts(key, Body::of(bytes), options).await,
            Content::Stream(body) => self.put_stream(key, body, options).await,
            Content::File(path) => {
                let metadata = tokio::fs::metadata(&path).await;
                let metadata = metadata.map_err(|error| StoreError::Source {
                    detail: format!("`{}`: {error}", path.display()),
                })?;
                let bytes = metadata.len();
                if bytes > self.options.part_bytes {
                    self.put_file_parts(key, path, bytes, options).await
                } else {
                    let body = || PartBody::File { path: path.clone(), offset: 0, bytes };
                    self.put_whole(key, body, bytes, options).await
                }
            }
        }
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Object, StoreError> {
        let (whole, shown) = (self.key(key)?, self.shown(key));
        let header = body::range_header(range).map_err(|detail| rejected(&shown, detail))?;
        let open = || async {
            let request = self.client.get_object().bucket(self.bucket()).key(&whole);
            let request = request.set_range(header.clone()).checksum_mode(ChecksumMode::Enabled);
            request.send().await.map_err(|error| classify(&shown, &error))
        };
        let output = repeat(self.options.repeat, open).await?;
        let sent = length(output.content_length());
        let bytes = match &header {
            None => sent,
            Some(_) => {
                output.content_range().and_then(body::total_bytes).ok_or_else(|| StoreError::Unavailable {
                    key: shown.clone(),
                    detail: "the store ignored the range".to_owned(),
                    retry_after: None,
                })?
            }
        };
        let etag = output.e_tag().map(str::to_owned);
        let info = ObjectInfo { bytes, etag: etag.clone(), modified: modified(output.last_modified()) };
        let start = range.start;
        let rest = body::Rest { key: whole, shown, etag, offset: start, end: start + sent };
        Ok(Object { info, body: Body::new(body::S3Body::new(self.clone(), rest, output.body)) })
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        let (whole, shown) = (self.key(key)?, self.shown(key));
        let head = || async {
            let sent = self.client.head_object().bucket(self.bucket()).key(&whole).send().await;
            sent.map_err(|error| classify(&shown, &error))
        };
        let output = repeat(self.options.repeat, head).await?;
        Ok(ObjectInfo {
            bytes: length(output.content_length()),
            etag: output.e_tag().map(str::to_owned),
            modified: modified(output.last_modified()),
        })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let shown = self.shown(prefix);
        let limit = limit.clamp(1, PAGE_OBJECTS_MAX);
        let list = || async {
            let request =
                self.client.list_objects_v2().bucket(self.bucket()).prefix(self.location.key(prefix));
            // At most 1000.
            let request =
                request.max_keys(limit as i32).set_start_after(after.map(|after| self.location.key(after)));
            request.send().await.map_err(|error| classify(&shown, &error))
        };
        let output = repeat(self.options.repeat, list).await?;
        let listed = |object: &aws_sdk_s3::types::Object| {
            let key = self.location.relative(object.key()?)?.to_owned();
            let etag = object.e_tag().map(str::to_owned);
            let modified = modified(object.last_modified());
            Some(Listed { key, info: ObjectInfo { bytes: length(object.size()), etag, modified } })
        };
        let objects: Vec<_> = output.contents().iter().filter_map(listed).collect();
        let more = output.is_truncated().unwrap_or(false);
        let next = if more { objects.last().map(|last| last.key.clone()) } else { None };
        Ok(Page { objects, next })
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        match self.copy_whole(from, to).await {
            // The store tells neither in a code of its own that the object is too large for one request: look.
            Err(StoreError::Rejected { key, detail }) => {
                let info = self.head(from).await?;
                if info.bytes <= self.options.copy_bytes_max {
                    return Err(StoreError::Rejected { key, detail });
                }
                self.copy_parts(from, to, &info).await
            }
            other => other,
        }
    }

    async fn copy_to(&self, from: &str, uri: &str) -> Result<(), StoreError> {
        let source = location::copy_source(self.bucket(), &self.key(from)?);
        let (to, name) = self.reached(uri)?;
        let (whole, shown) = (to.key(&name)?, to.shown(&name));
        let copy = || async {
            let request = self.client.copy_object().bucket(to.bucket()).key(&whole).copy_source(&source);
            request.send().await.map_err(|error| classify(&shown, &error))
        };
        repeat(self.options.repeat, copy).await.map(|_| ())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (whole, shown) = (self.key(key)?, self.shown(key));
        let delete = || async {
            let sent = self.client.delete_object().bucket(self.bucket()).key(&whole).send().await;
            sent.map_err(|error| classify(&shown, &error))
        };
        match repeat(self.options.repeat, delete).await {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn presign_get(&self, key: &str, valid: Duration) -> Result<String, StoreError> {
        let config = self.presigning(key, valid)?;
        let request = self.client.get_object().bucket(self.bucket()).key(self.key(key)?);
        let signed = request.presigned(config).await.map_err(|error| classify(&self.shown(key), &error))?;
        Ok(signed.uri().to_owned())
    }

    async fn presign_put(&self, key: &str, valid: Duration) -> Result<String, StoreError> {
        let config = self.presigning(key, valid)?;
        let request = self.client.put_object().bucket(self.bucket()).key(self.key(key)?);
        let signed = request.presigned(config).await.map_err(|error| classify(&self.shown(key), &error))?;
        Ok(signed.uri().to_owned())
    }
}
