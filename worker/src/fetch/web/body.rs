//! An answer's bytes, going on where they broke off as long as it is the same version.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use common::adapter::web::WebError;
use common::port::object_store::StoreError;
use common::port::object_store::content::{ByteSource, NextChunk};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use hyper::{StatusCode, Uri};
use tokio::time::timeout;

use super::{Rest, Web};

/// How long an answer may give nothing before it is asked for anew.
const SILENCE: Duration = Duration::from_secs(30);
/// Breaks without a new byte between them that are put up with.
const BREAKS_MAX: u32 = 3;

/// What tells versions of one address apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(Option<HeaderValue>);

impl Version {
    /// The strong entity tag, else the time of modification.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        Self(tag.or_else(|| headers.get(LAST_MODIFIED)).cloned())
    }

    pub(super) fn value(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }
}

/// A source being read.
pub(super) struct Reading {
    web: Web,
    uri: Uri,
    version: Version,
    bytes: Option<u64>,
    read: u64,
    breaks: u32,
    incoming: Incoming,
}

impl Reading {
    pub(super) fn new(web: Web, uri: Uri, version: Version, bytes: Option<u64>, incoming: Incoming) -> Self {
        Self { web, uri, version, bytes, read: 0, breaks: 0, incoming }
    }

    /// The next piece of the present answer; `None` is its end.
    async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.incoming).poll_frame(context));
            match timeout(SILENCE, frame).await {
                Err(_) => return Err("nothing more came".to_owned()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(Some(Ok(frame))) => {
                    // Trailers hold no bytes.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Asks for the rest, in the same version only.
    async fn go_on(&mut self, broke: String) -> Result<(), WebError> {
        self.breaks += 1;
        if self.breaks > BREAKS_MAX || self.version.value().is_none() {
            return Err(WebError::Unavailable {
                detail: format!("broke off after {} bytes: {broke}", self.read),
            });
        }
        let rest = Rest { start: self.read, version: &self.version };
        let answer = self.web.ask(&self.uri, Some(rest)).await?;
        let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let begins = range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.read)));
        if answer.status() != StatusCode::PARTIAL_CONTENT || !begins {
            return Err(WebError::Unavailable { detail: "it changed while it was read".to_owned() });
        }
        self.incoming = answer.into_body();
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, WebError> {
        loop {
            let broke = match self.piece().await {
                Ok(Some(piece)) => {
                    self.read += piece.len() as u64;
                    self.breaks = 0;
                    return Ok(Some(piece));
                }
                Ok(None) if self.bytes.is_none_or(|bytes| self.read >= bytes) => return Ok(None),
                Ok(None) => "it ended early".to_owned(),
                Err(broke) => broke,
            };
            self.go_on(broke).await?;
        }
    }
}

impl ByteSource for Reading {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(async move {
            // The query may be a signature.
            let key = format!("https://{}{}", self.uri.host().unwrap_or_default(), self.uri.path());
            self.next().await.map_err(|error| match error {
                WebError::Unavailable { detail } => {
                    StoreError::Unavailable { key, detail, retry_after: None }
                }
                WebError::Forbidden { detail } => StoreError::Forbidden { key, detail },
                WebError::Missing { .. } => StoreError::NotFound { key },
            })
        })
    }
}
