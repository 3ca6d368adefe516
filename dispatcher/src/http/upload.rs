//! A part of a form into the store: hashed and counted on its way, never held whole.

use axum::extract::multipart::Field;
use axum::http::StatusCode;
use bytes::Bytes;
use common::job::digest::ContentDigest;
use common::job::id::JobId;
use common::job::spec::SourceRef;
use common::object_key;
use common::port::object_store::content::{Body, ByteSource, Content, NextChunk};
use common::port::object_store::{ObjectStore as _, PutOptions, StoreError};
use common::random::Random as _;
use common::speech::render::printable::one_line;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::problem::Problem;
use super::service::Service;
use crate::submit::upload::keep;

/// Pieces between the connection and the store; each is as large as the connection gives them, tens of kilobytes.
const PIECES: usize = 4;

/// An upload whose digest is known, still under its temporary key.
#[derive(Debug)]
pub struct Received {
    /// Its temporary key.
    upload: JobId,
    digest: ContentDigest,
    bytes: u64,
    /// The name that it came with, without folders and control characters.
    pub name: String,
}

/// What comes out of the channel is what the store is given.
struct Pieces(mpsc::Receiver<Result<Bytes, StoreError>>);

impl ByteSource for Pieces {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        Box::pin(async move { self.0.recv().await.transpose() })
    }
}

/// How large a part may be, and the code of a larger one.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Most bytes.
    pub bytes_max: u64,
    /// What one more is called.
    pub code: &'static str,
}

/// Streams a part to the store, under a temporary key.
pub async fn receive(service: &Service, mut field: Field<'_>, bound: Bound) -> Result<Received, Problem> {
    let name = file_name(field.file_name().unwrap_or_default());
    let upload = JobId::new(service.clock().now(), service.random().bytes());
    let key = object_key::inbox_upload(upload);
    let (pieces, source) = mpsc::channel(PIECES);
    let content = Content::Stream(Body::new(Pieces(source)));
    let options = PutOptions::default();
    let putting = service.objects.put(&key, content, &options);
    let pumping = async move {
        let read = pump(&mut field, &pieces, bound).await;
        if let Err(problem) = &read {
            // The store must not take what came so far for the whole. Should it have gone away itself, it knows.
            let broken = StoreError::Source { detail: format!("{problem:?}") };
            let _ = pieces.send(Err(broken)).await;
        }
        read
    };
    let (put, pumped) = futures::join!(putting, pumping);
    match (put, pumped) {
        (Ok(_), Ok((digest, bytes))) => Ok(Received { upload, digest, bytes, name }),
        // What the sender did is the cause of what the store says.
        (_, Err(problem)) => Err(problem),
        (Err(error), Ok(_)) => Err(Problem::of_store(error)),
    }
}

/// From the connection to the store; gives digest and size.
async fn pump(
    field: &mut Field<'_>,
    pieces: &mpsc::Sender<Result<Bytes, StoreError>>,
    Bound { bytes_max, code }: Bound,
) -> Result<(ContentDigest, u64), Problem> {
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    while let Some(piece) = field.chunk().await.map_err(|error| Problem::body(&error))? {
        bytes += piece.len() as u64;
        if bytes > bytes_max {
            let detail = format!("the upload is larger than {bytes_max} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail));
        }
        hash.update(&piece);
        if pieces.send(Ok(piece)).await.is_err() {
            // The store has failed and says why.
            break;
        }
    }
    if bytes == 0 {
        return Err(Problem::invalid("the upload is empty"));
    }
    Ok((ContentDigest::new(hash.finalize().into()), bytes))
}

impl Received {
    /// Moves it to where its content belongs.
    pub async fn settle(self, service: &Service) -> Result<SourceRef, Problem> {
        let extension = self.name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let key = object_key::inbox(&self.digest, extension);
        let temporary = object_key::inbox_upload(self.upload);
        let at = service.clock().now();
        if !keep(&service.objects, &key, self.bytes, at).await.map_err(Problem::of_store)? {
            service.objects.copy(&temporary, &key).await.map_err(Problem::of_store)?;
        }
        self.discard(service).await;
        let uri = service.terms.reach.store().uri(&key);
        Ok(SourceRef { sha256: Some(self.digest), bytes: Some(self.bytes), ..SourceRef::at(uri) })
    }

    /// Removes what lies under the temporary key.
    pub async fn discard(&self, service: &Service) {
        if let Err(error) = service.objects.delete(&object_key::inbox_upload(self.upload)).await {
            // It expires.
            tracing::warn!(%error, "a temporary upload is left");
        }
    }
}

/// The last part of a path, printable.
fn file_name(given: &str) -> String {
    one_line(given.rsplit(['/', '\\']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_no_folders() {
        assert_eq!(file_name("a b.wav"), "a b.wav");
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("C:\\sound\\a.wav"), "a.wav");
        assert_eq!(file_name(""), "");
        assert!(!file_name("a\r\nSet-Cookie: x.wav").contains(['\r', '\n']));
    }
}
