//! Bytes on their way in and out.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, TrailingHeaders, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::disk::Disk;

/// What arrived in a file of its own.
pub(super) struct Arrived {
    pub(super) blob: String,
    pub(super) bytes: u64,
    pub(super) md5: [u8; 16],
    pub(super) crc32: Option<String>,
}

/// What the sender says that it sent.
pub(super) struct Claimed {
    pub(super) crc32: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn internal(error: std::io::Error) -> S3Error {
    S3Error::internal_error(error)
}

/// Writes a body to a file and compares it with what the sender claims; nothing is visible yet.
pub(super) async fn receive(disk: &Disk, body: Option<StreamingBlob>, claimed: Claimed) -> S3Result<Arrived> {
    let blob = disk.new_name();
    let mut file = tokio::fs::File::create(disk.blob(&blob)).await.map_err(internal)?;
    let mut md5 = Md5::new();
    let mut sums = ChecksumHasher {
        crc32: Some(s3s::crypto::Crc32::new()),
        sha256: claimed.sha256.as_ref().map(|_| s3s::crypto::Sha256::new()),
        ..ChecksumHasher::default()
    };
    let mut bytes = 0;
    let received = async {
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| s3_error!(IncompleteBody))?;
            md5.update(&chunk);
            sums.update(&chunk);
            bytes += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(internal)?;
        }
        file.flush().await.map_err(internal)?;
        let found = sums.finalize();
        let trailer = |name: &str| {
            let trailers = claimed.trailers.as_ref()?;
            trailers.read(|headers| headers.get(name)?.to_str().ok().map(str::to_owned))?
        };
        let crc32 = claimed.crc32.or_else(|| trailer("x-amz-checksum-crc32"));
        if crc32.is_some_and(|claimed| Some(claimed) != found.checksum_crc32)
            || claimed.sha256.is_some_and(|claimed| Some(claimed) != found.checksum_sha256)
        {
            return Err(s3_error!(BadDigest));
        }
        Ok(found.checksum_crc32)
    };
    match received.await {
        Ok(crc32) => Ok(Arrived { blob, bytes, md5: md5.finalize().into(), crc32 }),
        Err(error) => {
            disk.forget_blob(&blob);
            Err(error)
        }
    }
}

/// The next `bytes` of a file as an answer's body.
pub(super) fn send(file: tokio::fs::File, bytes: u64) -> StreamingBlob {
    let body = futures::stream::try_unfold((file, bytes), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut chunk = BytesMut::with_capacity(64 << 10);
        let read = (&mut file).take(left.min(64 << 10)).read_buf(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((chunk.freeze(), (file, left - read as u64))))
    });
    StreamingBlob::wrap(Shared(Mutex::new(Box::pin(body))))
}

type FileStream = Pin<Box<dyn futures::Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A stream that is polled by one task at a time, behind a lock because the library asks for `Sync`.
struct Shared(Mutex<FileStream>);

impl futures::Stream for Shared {
    type Item = std::io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut().0.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.as_mut().poll_next(context)
    }
}
