//! A download on this disk that survives the death of its process.
//!
//! Two files: the bytes, written in any order, and a journal of the parts that are complete. A part is noted after its
//! bytes were written, so a killed process loses at most the parts under way. After a power failure the journal may know
//! more than the disk: what is unpacked is compared with digests, and everything is then fetched anew.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::cache_table::{Part, missing_parts};
use crate::place::{At as _, PlaceError};

/// Size of a part: large enough for the store's latency not to count, small enough to lose.
pub const PART_BYTES: u64 = 4 << 20;

/// The object that is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its size.
    pub bytes: u64,
    /// Its ETag.
    pub etag: String,
}

impl Identity {
    /// First line of the journal.
    fn line(&self, part_bytes: u64) -> String {
        let etag: String = self.etag.chars().filter(|c| !c.is_control()).collect();
        format!("rollcall/download/1 {} {part_bytes} {etag}\n", self.bytes)
    }
}

/// A download under way.
#[derive(Debug)]
pub struct Download {
    path: PathBuf,
    journal_path: PathBuf,
    file: File,
    journal: Mutex<File>,
    done: BTreeSet<u64>,
    bytes: u64,
    part_bytes: u64,
}

impl Download {
    /// Opens the download `name` in `folder`, whatever of it is there already. Other downloads there are removed: the
    /// caller holds the bundle's lock, so nobody works on them.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn open(folder: &Path, name: &str, identity: &Identity, part_bytes: u64) -> Result<Self, PlaceError> {
        fs::create_dir_all(folder).at("make", folder)?;
        let path = folder.join(format!("{name}.download"));
        let journal_path = folder.join(format!("{name}.parts"));
        for entry in fs::read_dir(folder).at("read", folder)?.flatten() {
            let other = entry.path();
            if other != path && other != journal_path {
                fs::remove_file(&other).at("remove", &other)?;
            }
        }
        let first = identity.line(part_bytes);
        let text = fs::read_to_string(&journal_path).unwrap_or_default();
        let whole = path.metadata().is_ok_and(|metadata| metadata.len() == identity.bytes);
        let done = match text.strip_prefix(&first) {
            Some(lines) if whole => numbers(lines, identity.bytes.div_ceil(part_bytes)),
            _ => BTreeSet::new(),
        };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.at("open", &path)?;
        file.set_len(identity.bytes).at("resize", &path)?;
        let journal = File::options().create(true).append(true).open(&journal_path);
        let mut journal = journal.at("open", &journal_path)?;
        if done.is_empty() {
            journal.set_len(0).at("resize", &journal_path)?;
            journal.write_all(first.as_bytes()).at("write", &journal_path)?;
        } else {
            // A note that was cut off goes: completed by what is written next, it would name a part that is not there.
            let whole = text.rfind('\n').map_or(0, |end| end as u64 + 1);
            journal.set_len(whole).at("resize", &journal_path)?;
        }
        let journal = Mutex::new(journal);
        Ok(Self { path, journal_path, file, journal, done, bytes: identity.bytes, part_bytes })
    }

    /// What is still to come.
    #[must_use]
    pub fn missing(&self) -> Vec<Part> {
        missing_parts(self.bytes, self.part_bytes, &self.done)
    }

    /// Size of what is still to come.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.missing().iter().map(|part| part.end - part.start).sum()
    }

    /// Whether an earlier process left something to go on with.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        !self.done.is_empty()
    }

    /// Writes bytes at their place.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), PlaceError> {
        self.file.write_all_at(bytes, offset).at("write", &self.path)
    }

    /// Notes that every byte of a part was written.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn note(&self, part: &Part) -> Result<(), PlaceError> {
        // Nothing panics while it holds the journal.
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.write_all(format!("{}\n", part.number).as_bytes()).at("write", &self.journal_path)
    }

    /// The downloaded file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn remove(self) -> Result<(), PlaceError> {
        for path in [&self.journal_path, &self.path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).at("remove", path);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The part numbers on whole lines; what is no number below `count` was torn and does not count.
fn numbers(lines: &str, count: u64) -> BTreeSet<u64> {
    let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| line.parse().ok()).filter(|number| *number < count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(bytes: u64) -> Identity {
        Identity { bytes, etag: "\"e\"".to_owned() }
    }

    #[test]
    fn goes_on_with_what_an_earlier_process_noted() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |name: &str, identity: &Identity| Download::open(folder.path(), name, identity, 10).unwrap();
        let first = open("a", &identity(25));
        assert!(!first.is_resumed());
        let parts = first.missing();
        first.write(10, b"0123456789").unwrap();
        first.note(&parts[1]).unwrap();
        first.write(20, b"abcde").unwrap();
        drop(first);
        // A note that a kill cut off.
        let journal = folder.path().join("a.parts");
        fs::write(&journal, fs::read_to_string(&journal).unwrap() + "2").unwrap();
        let second = open("a", &identity(25));
        assert!(second.is_resumed());
        assert_eq!(second.missing().iter().map(|part| part.number).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(second.missing_bytes(), 15);
        second.note(&parts[0]).unwrap();
        drop(second);
        assert_eq!(open("a", &identity(25)).missing().len(), 1);
        let other_version = Identity { etag: "\"f\"".to_owned(), ..identity(25) };
        assert_eq!(open("a", &other_version).missing().len(), 3, "another object begins anew");
        fs::remove_file(folder.path().join("a.download")).unwrap();
        assert_eq!(open("a", &other_version).missing().len(), 3, "bytes that are gone are not believed");
    }

    #[test]
    fn one_download_at_a_time_stays_and_goes_when_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            Download::open(folder.path(), name, &identity(5), 10).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        Download::open(folder.path(), "b", &identity(5), 10).unwrap().remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
