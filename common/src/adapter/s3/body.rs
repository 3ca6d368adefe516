//! A download that goes on where it broke off.

use bytes::Bytes;

use aws_sdk_s3::primitives::ByteStream;
use tokio::time::{Instant, sleep, timeout};

use crate::adapter::jitter::jitter;
use crate::port::object_store::content::{ByteSource, NextChunk};
use crate::port::object_store::{ByteRange, StoreError};

use super::S3Store;
use super::error::{chain, classify, unavailable};
use super::repeat::repeat;

/// What is still to come.
pub(super) struct Rest {
    /// Whole key in the bucket.
    pub(super) key: String,
    /// Address as errors show it.
    pub(super) shown: String,
    /// Version that the first bytes came from.
    pub(super) etag: Option<String>,
    /// Next byte of the object.
    pub(super) offset: u64,
    /// Byte of the object after the last that was asked for.
    pub(super) end: u64,
}

/// The bytes of a range.
pub(super) struct S3Body {
    store: S3Store,
    rest: Rest,
    stream: Option<ByteStream>,
    /// Cuts since the last byte came, and when the first of them was.
    cuts: u32,
    since: Instant,
}

impl S3Body {
    pub(super) fn new(store: S3Store, rest: Rest, stream: ByteStream) -> Self {
        Self { store, rest, stream: Some(stream), cuts: 0, since: Instant::now() }
    }

    /// One piece, from the stream at hand or from a new one.
    async fn step(&mut self) -> Result<Step, StoreError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(reopen(&self.store, &self.rest).await?),
        };
        let piece = match timeout(self.store.options.silent_max, stream.next()).await {
            Err(_) => return Ok(Step::Cut("nothing came for too long".to_owned())),
            Ok(Some(Err(error))) => Step::Cut(chain(&error)),
            Ok(Some(Ok(bytes))) => Step::Bytes(bytes),
            Ok(None) => Step::End,
        };
        let left = self.rest.end - self.rest.offset;
        Ok(match piece {
            Step::End if left > 0 => Step::Cut(format!("{left} bytes too few")),
            // After the last byte only the comparison with the stored checksum can fail.
            Step::Cut(found) if left == 0 => {
                let expected = "the stored checksum".to_owned();
                return Err(StoreError::Corrupt { key: self.rest.shown.clone(), expected, found });
            }
            Step::Bytes(bytes) if bytes.len() as u64 > left => {
                let (expected, found) = (format!("{left} more bytes"), format!("{} bytes", bytes.len()));
                return Err(StoreError::Corrupt { key: self.rest.shown.clone(), expected, found });
            }
            other => other,
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            match self.step().await? {
                Step::Bytes(bytes) if bytes.is_empty() => {}
                Step::Bytes(bytes) => {
                    self.rest.offset += bytes.len() as u64;
                    self.cuts = 0;
                    return Ok(Some(bytes));
                }
                Step::End => return Ok(None),
                Step::Cut(detail) => self.cut(detail).await?,
            }
        }
    }

    /// Waits before the next try, or gives up.
    async fn cut(&mut self, detail: String) -> Result<(), StoreError> {
        self.stream = None;
        if self.cuts == 0 {
            self.since = Instant::now();
        }
        self.cuts += 1;
        tracing::debug!(key = self.rest.shown, offset = self.rest.offset, detail, "a download broke off");
        let policy = self.store.options.repeat;
        match policy.next_delay(self.cuts, self.since.elapsed(), None, jitter()) {
            Some(delay) => sleep(delay).await,
            None => return Err(unavailable(&self.rest.shown, detail)),
        }
        Ok(())
    }
}

enum Step {
    Bytes(Bytes),
    End,
    Cut(String),
}

/// Opens the rest of the object; fails with `PreconditionFailed` when the object has changed.
async fn reopen(store: &S3Store, rest: &Rest) -> Result<ByteStream, StoreError> {
    let range = ByteRange { start: rest.offset, end: Some(rest.end) };
    let header = range_header(range).map_err(|detail| super::rejected(&rest.shown, detail))?;
    let open = || async {
        let request = store.client.get_object().bucket(store.bucket()).key(&rest.key);
        let request = request.set_range(header.clone()).set_if_match(rest.etag.clone());
        request.send().await.map_err(|error| classify(&rest.shown, &error))
    };
    let output = repeat(store.options.repeat, open).await?;
    // A store that answers with the whole object would be read as its tail.
    let starts = output.content_range().and_then(first_byte);
    if starts == Some(rest.offset) {
        Ok(output.body)
    } else {
        Err(unavailable(&rest.shown, format!("asked for bytes from {}, got {starts:?}", rest.offset)))
    }
}

impl ByteSource for S3Body {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(self.next())
    }
}

/// The `Range` header; `None` for the whole object.
///
/// # Errors
/// A sentence when the range is empty.
pub(super) fn range_header(range: ByteRange) -> Result<Option<String>, String> {
    match range {
        ByteRange { start: 0, end: None } => Ok(None),
        ByteRange { start, end: None } => Ok(Some(format!("bytes={start}-"))),
        ByteRange { start, end: Some(end) } if end > start => Ok(Some(format!("bytes={start}-{}", end - 1))),
        ByteRange { start, end: Some(end) } => Err(format!("an empty range: {start} to {end}")),
    }
}

/// Length of the whole object from a `Content-Range` header: `bytes 0-9/100`.
pub(super) fn total_bytes(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split_once('/')?.1.parse().ok()
}

/// First byte from a `Content-Range` header.
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers() {
        let header = |start, end| range_header(ByteRange { start, end });
        assert_eq!(header(0, None), Ok(None));
        assert_eq!(header(5, None), Ok(Some("bytes=5-".to_owned())));
        assert_eq!(header(0, Some(1)), Ok(Some("bytes=0-0".to_owned())));
        assert!(header(1, Some(1)).is_err());
        assert_eq!(total_bytes("bytes 5-9/100"), Some(100));
        assert_eq!(total_bytes("bytes 5-9/*"), None);
        assert_eq!(first_byte("bytes 5-9/100"), Some(5));
        assert_eq!(first_byte("items 5-9/100"), None);
    }
}
