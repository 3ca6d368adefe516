//! Places other than the store: allowed buckets and folders, and the public web.

use std::path::Path;
use std::sync::Arc;

use common::adapter::s3::{S3Access, S3Location, S3Options, S3Store};
use common::adapter::web::{Audience, Internet, WebError};
use common::port::object_store::content::{Body, ByteSource, NextChunk};
use common::port::object_store::{ByteRange, ObjectStore, StoreError};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

use super::web::Web;
use super::{FetchError, Opened};

/// Bytes that one read of a file asks for.
const READ_BYTES: usize = 256 << 10;

/// Reaches other buckets, folders and the web. Whether an address may be reached is decided before.
#[derive(Debug, Default)]
pub struct Elsewhere {
    s3: OnceCell<S3Store>,
    web: OnceCell<Web>,
}

impl Elsewhere {
    /// With the store's own client for other buckets, where it has one.
    #[must_use]
    pub fn new(s3: Option<S3Store>) -> Self {
        Self { s3: OnceCell::new_with(s3), web: OnceCell::new() }
    }

    /// A bucket or a prefix of one.
    pub async fn bucket(&self, location: S3Location) -> S3Store {
        let (access, somewhere) = (S3Access::default(), location.clone());
        let connect = || S3Store::connect(somewhere, &access, S3Options::default());
        self.s3.get_or_init(connect).await.at(location)
    }

    /// Opens a source for reading.
    pub(super) async fn open(&self, uri: &str) -> Result<Opened, FetchError> {
        let missing = |detail: &str| FetchError::Missing { uri: uri.to_owned(), detail: detail.to_owned() };
        if let Some(rest) = uri.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').ok_or_else(|| missing("an object has a key"))?;
            let location: S3Location =
                format!("s3://{bucket}").parse().map_err(|_| missing("not the name of a bucket"))?;
            let object = self.bucket(location).await.get(key, ByteRange::ALL).await?;
            return Ok(Opened { bytes: Some(object.info.bytes), body: object.body });
        }
        if let Some(path) = uri.strip_prefix("file://") {
            return open_file(Path::new(path)).await;
        }
        if uri.starts_with("https://") {
            return self.web(uri).await;
        }
        Err(missing("not an address that a worker reads"))
    }

    async fn web(&self, uri: &str) -> Result<Opened, FetchError> {
        // The query may be a signature.
        let shown = || uri.split(['?', '#']).next().unwrap_or_default().to_owned();
        let failed = |error: WebError| match error {
            WebError::Unavailable { detail } => FetchError::Unavailable { uri: shown(), detail },
            WebError::Forbidden { detail } => FetchError::Forbidden { uri: shown(), detail },
            WebError::Missing { detail } => FetchError::Missing { uri: shown(), detail },
        };
        let open = async || Internet::new(Audience::Public).map(|dial| Web::new(Arc::new(dial)));
        let web = self.web.get_or_try_init(open).await.map_err(failed)?;
        let found = web.open(uri).await.map_err(failed)?;
        Ok(Opened { bytes: found.bytes, body: found.body })
    }
}

async fn open_file(path: &Path) -> Result<Opened, FetchError> {
    let key = path.display().to_string();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::NotFound { key: key.clone() },
        _ => StoreError::Forbidden { key: key.clone(), detail: error.to_string() },
    };
    // An allowed folder does not allow what a link in it leads to.
    let real = tokio::fs::canonicalize(path).await.map_err(failed)?;
    if real != path {
        let detail = format!("it leads to {}", real.display());
        return Err(StoreError::Forbidden { key, detail }.into());
    }
    // Before opening: a pipe would wait for its other end.
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(StoreError::Forbidden { key, detail: "not a regular file".to_owned() }.into());
    }
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    Ok(Opened { bytes: Some(metadata.len()), body: Body::new(LocalFile { key, file }) })
}

struct LocalFile {
    key: String,
    file: tokio::fs::File,
}

impl ByteSource for LocalFile {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(async move {
            let mut piece = bytes::BytesMut::with_capacity(READ_BYTES);
            let read = self.file.read_buf(&mut piece).await;
            read.map_err(|error| StoreError::Source { detail: format!("{}: {error}", self.key) })?;
            Ok((!piece.is_empty()).then(|| piece.freeze()))
        })
    }
}
