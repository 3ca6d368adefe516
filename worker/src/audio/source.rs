//! The bytes of a file or buffer, with bounds on how much work reading them may be.
//!
//! A demuxer that loops on hostile input reads or seeks for ever; each call here costs budget, and the budget is a
//! multiple of the length, so every loop that touches the source ends.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::io::MediaSource;

use super::error::AudioError;
use super::limits::AudioLimits;

/// How many times its own length a file may be read. Formats with an index at the end read parts twice, chained Ogg
/// bisects a few times; 16 leaves room.
const READ_FACTOR: u64 = 16;
/// Budget on top, so that small files are not refused for buffered reading, bytes.
const READ_EXTRA_BYTES: u64 = 64 << 20;
/// What a read or seek costs at least, bytes: bounds loops at the end of the file.
const CALL_COST_BYTES: u64 = 256;

enum Inner {
    File(File),
    Bytes(Cursor<Arc<[u8]>>),
}

/// What happened below the demuxer, shared with its owner.
#[derive(Debug, Default)]
pub(super) struct Meter {
    spent: AtomicU64,
    over: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl Meter {
    /// The error to report when a read failed for a reason that lies here, and not in the format.
    pub(super) fn blame(&self) -> Option<AudioError> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reason) = fault {
            return Some(AudioError::Unreadable { reason });
        }
        self.over
            .load(Ordering::Relaxed)
            .then(|| AudioError::corrupt("its structure makes the reader go back and forth without end"))
    }

    /// Bytes read so far, and a little for every call.
    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    fn note(&self, error: &io::Error) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

/// A seekable range of bytes.
pub(super) struct Source {
    inner: Inner,
    start: u64,
    end: u64,
    pos: u64,
    /// `pos` was set without telling the file.
    moved: bool,
    budget_bytes: u64,
    meter: Arc<Meter>,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// Missing, forbidden, a folder, not a regular file, empty, or above `bytes_max`.
    pub(super) fn open(path: &Path, limits: &AudioLimits) -> Result<Self, AudioError> {
        let failed = |error: io::Error| {
            let path = path.to_path_buf();
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => AudioError::Missing { path },
                io::ErrorKind::PermissionDenied => AudioError::Forbidden { path },
                _ => AudioError::Unreadable { reason: error.to_string() },
            }
        };
        // Looked at before opening: opening a pipe without a writer would wait for ever.
        let found = std::fs::metadata(path).map_err(failed)?;
        if found.is_dir() {
            return Err(AudioError::Directory { path: path.to_path_buf() });
        }
        if !found.is_file() {
            return Err(AudioError::NotAFile { path: path.to_path_buf() });
        }
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Self::new(Inner::File(file), len, limits)
    }

    /// The same for bytes in memory.
    ///
    /// # Errors
    /// Empty, or above `bytes_max`.
    pub(super) fn from_bytes(bytes: Arc<[u8]>, limits: &AudioLimits) -> Result<Self, AudioError> {
        let len = bytes.len() as u64;
        Self::new(Inner::Bytes(Cursor::new(bytes)), len, limits)
    }

    fn new(inner: Inner, len: u64, limits: &AudioLimits) -> Result<Self, AudioError> {
        if len > limits.bytes_max {
            return Err(AudioError::TooLarge { bytes: len, bytes_max: limits.bytes_max });
        }
        if len == 0 {
            return Err(AudioError::Empty { container: "0 bytes" });
        }
        let budget_bytes = len.saturating_mul(READ_FACTOR).saturating_add(READ_EXTRA_BYTES);
        Ok(Self { inner, start: 0, end: len, pos: 0, moved: false, budget_bytes, meter: Arc::default() })
    }

    /// Length, bytes.
    pub(super) fn len(&self) -> u64 {
        self.end - self.start
    }

    /// What happens below, for later.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Narrows to `from..to` (relative, clamped) and rewinds.
    #[must_use]
    pub(super) fn region(mut self, from: u64, to: u64) -> Self {
        let end = self.start.saturating_add(to).min(self.end);
        self.start = self.start.saturating_add(from).min(end);
        self.end = end;
        self.pos = self.start;
        self.moved = true;
        self
    }

    /// Reads at an offset until `buf` is full or the source ends; says how much was read.
    ///
    /// # Errors
    /// [`AudioError::Unreadable`] when the file fails, [`AudioError::Corrupt`] when the budget is used up.
    pub(super) fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, AudioError> {
        let mut filled = 0;
        let result = self.seek(SeekFrom::Start(offset)).and_then(|_| {
            while filled < buf.len() {
                let n = self.read(&mut buf[filled..])?;
                if n == 0 {
                    break;
                }
                filled += n;
            }
            Ok(())
        });
        result
            .map_err(|error| self.meter.blame().unwrap_or_else(|| AudioError::corrupt(error.to_string())))?;
        Ok(filled)
    }

    fn pay(&self, bytes: u64) -> io::Result<()> {
        let spent = self.meter.spent.fetch_add(bytes.max(CALL_COST_BYTES), Ordering::Relaxed);
        if spent > self.budget_bytes {
            self.meter.over.store(true, Ordering::Relaxed);
            return Err(io::Error::other("read budget used up"));
        }
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.pos);
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if want == 0 {
            self.pay(0)?;
            return Ok(0);
        }
        if self.moved {
            self.seek(SeekFrom::Start(self.pos - self.start))?;
        }
        let result = match &mut self.inner {
            Inner::File(file) => file.read(&mut buf[..want]),
            Inner::Bytes(cursor) => cursor.read(&mut buf[..want]),
        };
        match result {
            Ok(n) => {
                self.pos += n as u64;
                self.pay(n as u64)?;
                Ok(n)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.meter.note(&error);
                }
                Err(error)
            }
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.pay(0)?;
        let target = match to {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::Current(delta) => self.pos.checked_add_signed(delta),
            SeekFrom::End(delta) => self.end.checked_add_signed(delta),
        };
        let target = target
            .filter(|&target| target >= self.start)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek outside the file"))?;
        // Past the end is allowed, as for files: reading there gives nothing.
        let result = match &mut self.inner {
            Inner::File(file) => file.seek(SeekFrom::Start(target)),
            Inner::Bytes(cursor) => cursor.seek(SeekFrom::Start(target)),
        };
        self.pos = result.inspect_err(|error| self.meter.note(error))?;
        self.moved = false;
        Ok(self.pos - self.start)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bytes: &[u8]) -> Source {
        Source::from_bytes(bytes.into(), &AudioLimits::default()).unwrap()
    }

    #[test]
    fn a_region_reads_only_itself() {
        let mut region = source(b"0123456789").region(2, 6);
        assert_eq!(region.len(), 4);
        let mut all = Vec::new();
        region.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"2345");
        let mut buf = [0; 8];
        assert_eq!(region.read_at(3, &mut buf).unwrap(), 1);
        assert_eq!(buf[0], b'5');
        assert_eq!(region.seek(SeekFrom::End(-1)).unwrap(), 3);
        assert!(region.seek(SeekFrom::Current(-9)).is_err());
        assert_eq!(source(b"0123").region(3, 99).len(), 1);
        assert_eq!(source(b"0123").region(9, 99).len(), 0);
    }

    #[test]
    fn reading_without_end_is_stopped() {
        let mut looped = source(&[0; 1024]);
        let mut buf = [0; 512];
        let mut rounds = 0u64;
        while looped.seek(SeekFrom::Start(0)).and_then(|_| looped.read(&mut buf)).is_ok() {
            rounds += 1;
            assert!(rounds < 1_000_000, "never stopped");
        }
        assert!(matches!(looped.meter().blame(), Some(AudioError::Corrupt { .. })));
    }

    #[test]
    fn size_is_checked_at_the_bound_and_one_past_it() {
        let limits = AudioLimits { bytes_max: 4, ..AudioLimits::default() };
        assert!(Source::from_bytes(b"1234".as_slice().into(), &limits).is_ok());
        assert_eq!(
            Source::from_bytes(b"12345".as_slice().into(), &limits).err(),
            Some(AudioError::TooLarge { bytes: 5, bytes_max: 4 })
        );
        assert!(matches!(Source::from_bytes([].into(), &limits), Err(AudioError::Empty { .. })));
    }

    #[test]
    fn what_is_not_a_readable_file_says_so() {
        let limits = AudioLimits::default();
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| Source::open(path, &limits).err();
        assert!(matches!(open(folder.path()), Some(AudioError::Directory { .. })));
        assert!(matches!(open(&folder.path().join("none.wav")), Some(AudioError::Missing { .. })));
        assert!(matches!(open(Path::new("/dev/null")), Some(AudioError::NotAFile { .. })));
    }
}
