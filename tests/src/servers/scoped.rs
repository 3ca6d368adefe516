//! A folder whose servers end with it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::detached::Detached;
use super::shared::program;

/// A temporary folder. Dropped, or when this process ends in whatever way, everything that was started in it is killed.
#[derive(Debug)]
pub struct ScopedFolder {
    folder: tempfile::TempDir,
}

impl ScopedFolder {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be created or watched.
    pub fn new() -> Result<Self, super::ServerError> {
        let folder = tempfile::tempdir().map_err(super::io_error(std::env::temp_dir()))?;
        let mut watch = Command::new(program());
        watch.arg("watch").arg("--dir").arg(folder.path()).arg("--pid").arg(std::process::id().to_string());
        Detached::spawn(folder.path(), "watch", &watch)?;
        Ok(Self { folder })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for ScopedFolder {
    fn drop(&mut self) {
        for process in Detached::all(self.path()) {
            process.signal(rustix::process::Signal::KILL);
            // Nothing can be done about one that survives; the watcher has tried as well.
            let _ = process.stop(self.path(), Duration::from_secs(5));
        }
    }
}
