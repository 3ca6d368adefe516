//! From where a recording lies to a file at hand: bounded, checked, resumed where it broke off.
//!
//! Invariant: nothing is read but the configured store, what an operator allowed, and the public web
//! (`common::reach`); a submitter does not borrow the worker's credentials or its place in the network.

mod elsewhere;
mod error;
mod scratch;
mod voices;
mod web;

pub use elsewhere::Elsewhere;
pub use error::FetchError;
pub use scratch::AudioFile;

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use common::fleet::keep::Stop;
use common::job::spec::SourceRef;
use common::port::object_store::content::{Body, Expected};
use common::port::object_store::{ByteRange, ObjectStore};
use common::reach::{Place, Reach};

/// Something to read, and its length where that is known.
#[derive(Debug)]
struct Opened {
    bytes: Option<u64>,
    body: Body,
}

/// Reads what jobs name.
#[derive(Debug)]
pub struct Fetcher<O> {
    objects: O,
    reach: Reach,
    elsewhere: Elsewhere,
    scratch: PathBuf,
    shelf: voices::Shelf,
}

impl<O: ObjectStore> Fetcher<O> {
    /// Reads from the store and from what `reach` allows; files go to the folder `scratch`.
    #[must_use]
    pub fn new(objects: O, reach: Reach, elsewhere: Elsewhere, scratch: PathBuf) -> Self {
        Self { objects, reach, elsewhere, scratch, shelf: voices::Shelf::default() }
    }

    /// What may be reached.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Other places than the store.
    #[must_use]
    pub fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// Reads a source into a file that vanishes with its handle. `check` is asked before each piece.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn file(
        &self,
        source: &SourceRef,
        bytes_max: u64,
        check: impl Fn() -> Result<(), Stop>,
    ) -> Result<AudioFile, FetchError> {
        let mut body = self.open(source, bytes_max).await?;
        let mut file = scratch::Writer::create(&self.scratch)?;
        let mut bytes: u64 = 0;
        while let Some(piece) = body.next().await? {
            check()?;
            bytes += piece.len() as u64;
            bounded(&source.uri, bytes, bytes_max)?;
            file.write(&piece).await?;
        }
        file.finish().await
    }

    /// Reads a small source whole. `check` as in [`Fetcher::file`].
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn bytes(
        &self,
        source: &SourceRef,
        bytes_max: u64,
        check: impl Fn() -> Result<(), Stop>,
    ) -> Result<Bytes, FetchError> {
        let mut body = self.open(source, bytes_max).await?;
        let mut all = BytesMut::new();
        while let Some(piece) = body.next().await? {
            check()?;
            bounded(&source.uri, (all.len() + piece.len()) as u64, bytes_max)?;
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    async fn open(&self, source: &SourceRef, bytes_max: u64) -> Result<Body, FetchError> {
        let uri = source.uri.as_str();
        // What the submitter declares is enough to refuse, before anything is asked for.
        bounded(uri, source.bytes.unwrap_or(0), bytes_max)?;
        let opened = match self.reach.place(uri) {
            Place::Store(key) => {
                let object = self.objects.get(key, ByteRange::ALL).await?;
                Opened { bytes: Some(object.info.bytes), body: object.body }
            }
            Place::Allowed | Place::Web => self.elsewhere.open(uri).await?,
            Place::Outside => return Err(FetchError::NotAllowed { uri: uri.to_owned() }),
        };
        bounded(uri, opened.bytes.unwrap_or(0), bytes_max)?;
        let sha256 = source.sha256.map(|digest| *digest.as_bytes());
        Ok(opened.body.verified(uri, Expected { bytes: source.bytes, sha256 }))
    }
}

fn bounded(uri: &str, bytes: u64, bytes_max: u64) -> Result<(), FetchError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(FetchError::TooLarge { uri: uri.to_owned(), bytes, bytes_max })
}
