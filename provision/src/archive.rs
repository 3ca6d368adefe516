//! Zip archives (wheels, PyTorch checkpoints), read from memory with every size bounded.
//!
//! Only what those two need: one volume, no encryption, no zip64, entries stored or deflated, sizes taken from the
//! central directory, CRC checked. Two entries of one name are refused: readers disagree about which one counts.
//! Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (end record).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

/// Most entries an archive may have; the checkpoints at hand have 939, the largest wheel 353.
pub const ENTRIES_MAX: usize = 65_535;
/// Longest entry name, bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

const END_SIGNATURE: u32 = 0x0605_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const END_BYTES: usize = 22;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// The end record is followed by a comment of at most 65,535 bytes.
const COMMENT_BYTES_MAX: usize = 65_535;

/// Why an archive, or an entry of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// No end record, or it points outside the file: cut short, or not a zip file.
    #[error("not a whole zip archive: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A form of zip that is not read.
    #[error("the zip archive uses {what}, which is not read")]
    Unsupported {
        /// The feature.
        what: &'static str,
    },
    /// Two entries of one name.
    #[error("the zip archive has two entries named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// No such entry.
    #[error("the zip archive has no entry `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// An entry larger than the caller accepts.
    #[error("entry `{name}` is too large: {bytes} bytes, at most {bytes_max}")]
    TooLarge {
        /// The name.
        name: String,
        /// Its size.
        bytes: u64,
        /// What the caller accepts.
        bytes_max: u64,
    },
    /// The content does not have the size or the CRC that the directory states.
    #[error("entry `{name}` is damaged")]
    Damaged {
        /// The name.
        name: String,
    },
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    deflated: bool,
    crc: u32,
    packed_bytes: u32,
    bytes: u32,
    header_at: u32,
}

/// The directory of a zip archive that lies in memory.
#[derive(Debug)]
pub struct Archive<'a> {
    data: &'a [u8],
    entries: BTreeMap<String, Entry>,
}

impl<'a> Archive<'a> {
    /// Reads the central directory; no entry is unpacked.
    ///
    /// # Errors
    /// When `data` is not a whole archive of the supported form, or names an entry twice.
    pub fn open(data: &'a [u8]) -> Result<Self, ArchiveError> {
        let end = end_record(data)?;
        let count = usize::from(u16_at(data, end + 10)?);
        if u16_at(data, end + 4)? != 0 || u16_at(data, end + 6)? != 0 {
            return Err(ArchiveError::Unsupported { what: "several volumes" });
        }
        let size = u32_at(data, end + 12)?;
        let start = u32_at(data, end + 16)?;
        if count == ENTRIES_MAX || size == u32::MAX || start == u32::MAX {
            return Err(ArchiveError::Unsupported { what: "zip64" });
        }
        let mut at = to_usize(start);
        let directory_end = at
            .checked_add(to_usize(size))
            .filter(|stop| *stop <= end)
            .ok_or(ArchiveError::Malformed { what: "the directory lies outside the file" })?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry, next) = central_header(data, at)?;
            if next > directory_end {
                return Err(ArchiveError::Malformed { what: "an entry lies outside the directory" });
            }
            at = next;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(ArchiveError::Duplicate { name });
            }
        }
        Ok(Self { data, entries })
    }

    /// Names of all entries, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is an entry of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The content of an entry of at most `bytes_max` bytes. Never allocates more than the size the directory states,
    /// nor unpacks more than that.
    ///
    /// # Errors
    /// Missing, too large, or not what the directory states.
    pub fn read(&self, name: &str, bytes_max: u64) -> Result<Cow<'a, [u8]>, ArchiveError> {
        let entry = self.entry(name)?;
        if u64::from(entry.bytes) > bytes_max {
            return Err(ArchiveError::TooLarge {
                name: name.to_owned(),
                bytes: u64::from(entry.bytes),
                bytes_max,
            });
        }
        let damaged = || ArchiveError::Damaged { name: name.to_owned() };
        let packed = self.packed(entry).ok_or_else(damaged)?;
        let content: Cow<'a, [u8]> = if entry.deflated {
            Cow::Owned(inflate(packed, to_usize(entry.bytes)).ok_or_else(damaged)?)
        } else {
            Cow::Borrowed(packed)
        };
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        if content.len() != to_usize(entry.bytes) || crc.sum() != entry.crc {
            return Err(damaged());
        }
        Ok(content)
    }

    /// The content of an entry that is not compressed, without a copy.
    ///
    /// # Errors
    /// As [`Archive::read`]; a compressed entry is [`ArchiveError::Unsupported`].
    pub fn stored(&self, name: &str, bytes_max: u64) -> Result<&'a [u8], ArchiveError> {
        if self.entry(name)?.deflated {
            return Err(ArchiveError::Unsupported { what: "compression where stored bytes are expected" });
        }
        match self.read(name, bytes_max)? {
            Cow::Borrowed(bytes) => Ok(bytes),
            Cow::Owned(_) => Err(ArchiveError::Damaged { name: name.to_owned() }),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry, ArchiveError> {
        self.entries.get(name).ok_or_else(|| ArchiveError::Missing { name: name.to_owned() })
    }

    /// The bytes behind the local header, whose name and extra field may differ in length from the directory's.
    fn packed(&self, entry: &Entry) -> Option<&'a [u8]> {
        let header = to_usize(entry.header_at);
        if u32_at(self.data, header).ok()? != LOCAL_SIGNATURE {
            return None;
        }
        let name = usize::from(u16_at(self.data, header + 26).ok()?);
        let extra = usize::from(u16_at(self.data, header + 28).ok()?);
        let start = header.checked_add(LOCAL_BYTES + name + extra)?;
        self.data.get(start..start.checked_add(to_usize(entry.packed_bytes))?)
    }
}

/// At most `bytes` bytes of a raw deflate stream, and one more to notice that there are more.
fn inflate(packed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(bytes);
    flate2::read::DeflateDecoder::new(packed)
        .take(bytes as u64 + 1)
        .read_to_end(&mut content)
        .ok()
        .filter(|read| *read == bytes)
        .map(|_| content)
}

/// The place of the end record: the last one whose comment reaches exactly to the end of the file.
fn end_record(data: &[u8]) -> Result<usize, ArchiveError> {
    let none = ArchiveError::Malformed { what: "there is no end record" };
    let last = data.len().checked_sub(END_BYTES).ok_or_else(|| none.clone())?;
    let first = last.saturating_sub(COMMENT_BYTES_MAX);
    (first..=last)
        .rev()
        .find(|at| {
            u32_at(data, *at) == Ok(END_SIGNATURE)
                && u16_at(data, at + 20)
                    .is_ok_and(|comment| at + END_BYTES + usize::from(comment) == data.len())
        })
        .ok_or(none)
}

/// Name and entry at `at`, and where the next header begins.
fn central_header(data: &[u8], at: usize) -> Result<(String, Entry, usize), ArchiveError> {
    if u32_at(data, at)? != CENTRAL_SIGNATURE {
        return Err(ArchiveError::Malformed { what: "an entry of the directory has no signature" });
    }
    if u16_at(data, at + 8)? & 1 != 0 {
        return Err(ArchiveError::Unsupported { what: "encryption" });
    }
    let deflated = match u16_at(data, at + 10)? {
        0 => false,
        8 => true,
        _ => return Err(ArchiveError::Unsupported { what: "a compression other than deflate" }),
    };
    let entry = Entry {
        deflated,
        crc: u32_at(data, at + 16)?,
        packed_bytes: u32_at(data, at + 20)?,
        bytes: u32_at(data, at + 24)?,
        header_at: u32_at(data, at + 42)?,
    };
    if entry.bytes == u32::MAX || entry.packed_bytes == u32::MAX || entry.header_at == u32::MAX {
        return Err(ArchiveError::Unsupported { what: "zip64" });
    }
    let name_bytes = usize::from(u16_at(data, at + 28)?);
    if name_bytes > NAME_BYTES_MAX {
        return Err(ArchiveError::Malformed { what: "an entry has too long a name" });
    }
    let tail = usize::from(u16_at(data, at + 30)?) + usize::from(u16_at(data, at + 32)?);
    let name_at = at + CENTRAL_BYTES;
    let name = data
        .get(name_at..name_at + name_bytes)
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or(ArchiveError::Malformed { what: "an entry has no UTF-8 name" })?;
    Ok((name.to_owned(), entry, name_at + name_bytes + tail))
}

const CUT: ArchiveError = ArchiveError::Malformed { what: "it ends within a header" };

fn u16_at(data: &[u8], at: usize) -> Result<u16, ArchiveError> {
    let bytes = data.get(at..at + 2).ok_or(CUT)?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn u32_at(data: &[u8], at: usize) -> Result<u32, ArchiveError> {
    let bytes = data.get(at..at + 4).ok_or(CUT)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Lossless on every platform the programs run on.
fn to_usize(value: u32) -> usize {
    value as usize
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
