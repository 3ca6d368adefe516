//! Bytes on their way into and out of a store: in pieces, never held whole.

use std::fmt;
use std::future::{Future, ready};
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::StoreError;

/// A future of the next piece.
pub type NextChunk<'a> = Pin<Box<dyn Future<Output = Result<Option<Bytes>, StoreError>> + Send + 'a>>;

/// Gives bytes in pieces of any size but 0; `None` is the end.
pub trait ByteSource: Send {
    /// The next piece. After an error or the end it is not called again.
    fn next_chunk(&mut self) -> NextChunk<'_>;
}

/// A source of any kind.
pub struct Body(Box<dyn ByteSource>);

impl Body {
    /// Wraps a source.
    #[must_use]
    pub fn new(source: impl ByteSource + 'static) -> Self {
        Self(Box::new(source))
    }

    /// A source of bytes at hand.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self::new(Ready((!bytes.is_empty()).then_some(bytes)))
    }

    /// The next piece; `None` is the end.
    ///
    /// # Errors
    /// What the source says; nothing follows after an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.0.next_chunk().await
    }

    /// The same bytes, compared with what they ought to be when they end.
    #[must_use]
    pub fn verified(self, key: &str, expected: Expected) -> Self {
        Self::new(Verified { key: key.to_owned(), inner: self, expected, bytes: 0, hash: Sha256::new() })
    }
}

impl ByteSource for Body {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        self.0.next_chunk()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

struct Ready(Option<Bytes>);

impl ByteSource for Ready {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(ready(Ok(self.0.take())))
    }
}

/// What is to be written.
#[derive(Debug)]
pub enum Content {
    /// Bytes at hand.
    Bytes(Bytes),
    /// A file of this machine; large ones go in parts.
    File(PathBuf),
    /// A source of unknown length.
    Stream(Body),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&'static [u8]> for Content {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Bytes(Bytes::from_static(bytes))
    }
}

/// What a body ought to be; `None` is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Length in bytes.
    pub bytes: Option<u64>,
    /// SHA-256 of all bytes.
    pub sha256: Option<[u8; 32]>,
}

struct Verified {
    key: String,
    inner: Body,
    expected: Expected,
    bytes: u64,
    hash: Sha256,
}

impl Verified {
    fn check(&mut self, ended: bool) -> Result<(), StoreError> {
        let corrupt = |expected, found| StoreError::Corrupt { key: self.key.clone(), expected, found };
        if let Some(bytes) = self.expected.bytes
            && (self.bytes > bytes || (ended && self.bytes < bytes))
        {
            let found = format!("{}{} bytes", if ended { "" } else { "at least " }, self.bytes);
            return Err(corrupt(format!("{bytes} bytes"), found));
        }
        if let (true, Some(sha256)) = (ended, self.expected.sha256) {
            let found: [u8; 32] = self.hash.finalize_reset().into();
            if found != sha256 {
                return Err(corrupt(format!("sha256 {}", hex(&sha256)), format!("sha256 {}", hex(&found))));
            }
        }
        Ok(())
    }
}

impl ByteSource for Verified {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(async move {
            let chunk = self.inner.next().await?;
            if let Some(chunk) = &chunk {
                self.bytes += chunk.len() as u64;
                if self.expected.sha256.is_some() {
                    self.hash.update(chunk);
                }
            }
            self.check(chunk.is_none())?;
            Ok(chunk)
        })
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn drain(mut body: Body) -> Result<Vec<u8>, StoreError> {
        let mut work = pin!(async move {
            let mut all = Vec::new();
            while let Some(chunk) = body.next().await? {
                all.extend_from_slice(&chunk);
            }
            Ok(all)
        });
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("a body at hand never waits"),
        }
    }

    #[test]
    fn size_and_digest_are_compared_at_the_end() {
        let data = || Body::of(Bytes::from_static(b"hello"));
        let sha256: [u8; 32] = Sha256::digest(b"hello").into();
        let right = Expected { bytes: Some(5), sha256: Some(sha256) };
        assert_eq!(drain(data().verified("k", right)), Ok(b"hello".to_vec()));
        assert_eq!(drain(data().verified("k", Expected::default())), Ok(b"hello".to_vec()));
        for wrong in [
            Expected { bytes: Some(4), ..right },
            Expected { bytes: Some(6), ..right },
            Expected { sha256: Some([0; 32]), ..right },
        ] {
            let error = drain(data().verified("k", wrong)).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        }
        assert_eq!(
            drain(Body::of(Bytes::new()).verified("k", Expected { bytes: Some(0), sha256: None })),
            Ok(vec![])
        );
    }
}
