//! An archive of the store, unpacked: fetched or gone on with, and fetched once more when what came is damaged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::cache_dir::{Download, Identity, PART_BYTES};
use super::depot::Depot;
use super::fetch::FetchError;
use super::tarball::{self, Member, TarballError};
use crate::place::{At as _, PlaceError};
use crate::progress::Progress;

/// Why an archive was not unpacked. Nothing of one that is refused stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackedError {
    /// It did not arrive. What was fetched stays.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It lies, or is damaged in the store.
    #[error(transparent)]
    Archive(TarballError),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// An archive of the store, and where it is fetched to.
pub(super) struct Archive<'a> {
    pub depot: &'a Depot,
    pub key: String,
    pub identity: Identity,
    /// What it may hold.
    pub members: Vec<Member>,
    /// What a user calls it.
    pub title: String,
    /// Where it is fetched to: a folder that holds nothing else.
    pub cache: PathBuf,
    /// What it is called there.
    pub name: String,
}

impl Archive<'_> {
    /// The download, with what an earlier process fetched of it. Those of other archives go.
    pub fn open(&self) -> Result<Download, PlaceError> {
        Download::open(&self.cache, &self.name, &self.identity, PART_BYTES)
    }

    /// Fetches what is missing of a download and unpacks it into a new folder.
    pub fn unpack(
        &self,
        mut download: Download,
        into: &Path,
        progress: &dyn Progress,
    ) -> Result<Download, UnpackedError> {
        let mut again = true;
        loop {
            self.fetch(&download, progress)?;
            progress.step("unpacking and checking every file");
            let Err(error) = self.unpack_once(&download, into) else { return Ok(download) };
            let resumed = download.is_resumed();
            download.remove()?;
            let damage = matches!(&error, UnpackedError::Archive(source) if resumed || source.is_damage());
            if !(damage && std::mem::take(&mut again)) {
                return Err(error);
            }
            fs::remove_dir_all(into).at("remove", into)?;
            // It was damaged on its way, or by a killed process, or lies damaged in the store: one more try tells.
            progress.step("fetching it anew, because what came is damaged");
            download = self.open()?;
        }
    }

    fn fetch(&self, download: &Download, progress: &dyn Progress) -> Result<(), FetchError> {
        let verb = if download.is_resumed() { "going on to fetch" } else { "fetching" };
        let size = download.missing_bytes() as f64 / 1e6;
        progress.step(&format!("{verb} {} ({size:.1} MB)", self.title));
        self.depot.fetch(&self.key, &self.identity, download, progress)
    }

    fn unpack_once(&self, download: &Download, into: &Path) -> Result<(), UnpackedError> {
        fs::create_dir(into).at("make", into)?;
        let archive = File::open(download.path()).map_err(TarballError::Read);
        let unpacked = archive.and_then(|archive| tarball::unpack(archive, &self.members, into));
        unpacked.map_err(|error| match error {
            TarballError::Place(error) => error.into(),
            error => UnpackedError::Archive(error),
        })
    }
}
