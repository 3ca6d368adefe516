//! Files without a name: gone when the last handle is closed, in whatever way the process ends.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt as _;

use super::FetchError;

/// A fetched file; dropped, it is gone.
#[derive(Debug)]
pub struct AudioFile {
    file: File,
}

impl AudioFile {
    /// Where it can be opened while this value lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// A file being written.
pub(super) struct Writer {
    folder: PathBuf,
    file: tokio::fs::File,
}

impl Writer {
    pub(super) fn create(folder: &Path) -> Result<Self, FetchError> {
        let file = fs::create_dir_all(folder)
            .and_then(|()| tempfile::tempfile_in(folder))
            .map_err(|source| failed(folder, source))?;
        Ok(Self { folder: folder.to_owned(), file: tokio::fs::File::from_std(file) })
    }

    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(piece).await.map_err(|source| failed(&self.folder, source))
    }

    pub(super) async fn finish(mut self) -> Result<AudioFile, FetchError> {
        self.file.flush().await.map_err(|source| failed(&self.folder, source))?;
        Ok(AudioFile { file: self.file.into_std().await })
    }
}

fn failed(folder: &Path, source: std::io::Error) -> FetchError {
    FetchError::Scratch { path: folder.display().to_string(), source }
}
