//! Bundle archives, `.tar.zst` and `.tar.gz`, read as if whoever wrote them lies.
//!
//! The reader knows beforehand every file that may come, with size and digest, and refuses everything else: paths are
//! compared with that list, never followed. Contents are hashed while they are written. Each lie is an error of its own.

mod header;
mod pack;

pub use pack::{Packed, pack};

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::place::{At as _, PlaceError};
use header::{BLOCK, Extension, Header, Kind};

/// Most headers of any kind an archive may have: four for each file that a bundle may list.
pub const MEMBERS_MAX: usize = 1024;
/// Longest extension (long names) of one entry.
pub const EXTENSION_BYTES_MAX: u64 = 64 << 10;
/// What an archive may unpack to beside the contents of its files: headers, extensions, padding at the end.
pub const OVERHEAD_BYTES_MAX: u64 = 4 << 20;
/// Largest zstd window that is taken, as a power of two: 128 MiB, the default bound of the format's own tools.
const WINDOW_LOG_MAX: u32 = 27;
/// Longest path that an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// A file that an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path in the archive, inside it.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Whether an archive without it is refused.
    pub required: bool,
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum TarballError {
    /// Neither zstd nor gzip.
    #[error("the archive is neither zstd nor gzip")]
    UnknownCompression,
    /// The compressed bytes are damaged.
    #[error("the archive does not decompress: {detail}")]
    Compression {
        /// What the decompressor said.
        detail: String,
    },
    /// It ends too early.
    #[error("the archive is cut short")]
    Truncated,
    /// What should be a header is none.
    #[error("the archive has no tar header where one is due")]
    NotTar,
    /// A path that begins with `/`.
    #[error("the archive holds an absolute path: `{path}`")]
    PathAbsolute {
        /// The path.
        path: String,
    },
    /// A path that leads out of the folder.
    #[error("the archive holds a path that leads outside: `{path}`")]
    PathOutside {
        /// The path.
        path: String,
    },
    /// A path with characters that no bundle uses.
    #[error("the archive holds a path that is not plain text: `{path}`")]
    PathStrange {
        /// The path, as far as it can be shown.
        path: String,
    },
    /// A symbolic or hard link.
    #[error("the archive holds a link: `{path}` to `{target}`")]
    Link {
        /// The path.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A device or a pipe.
    #[error("the archive holds a device: `{path}`")]
    Device {
        /// The path.
        path: String,
    },
    /// An entry of another kind.
    #[error("the archive holds an entry of an unknown kind: `{path}`")]
    UnknownKind {
        /// The path.
        path: String,
    },
    /// A file that the manifest does not name.
    #[error("the archive holds a file that the manifest does not name: `{path}`")]
    NotListed {
        /// The path.
        path: String,
    },
    /// The same file again.
    #[error("the archive holds a file twice: `{path}`")]
    Twice {
        /// The path.
        path: String,
    },
    /// A file of another size.
    #[error("`{path}` in the archive has {found} bytes, not {expected}")]
    Size {
        /// The path.
        path: String,
        /// What the header says.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// A file with other content.
    #[error("`{path}` in the archive has the digest {found}, not {expected}")]
    Digest {
        /// The path.
        path: String,
        /// What it has.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// A file that the manifest names does not come.
    #[error("the archive lacks a file: `{path}`")]
    Missing {
        /// The path.
        path: String,
    },
    /// More entries than a bundle can have.
    #[error("the archive has too many entries: more than {members_max}")]
    TooMany {
        /// The bound.
        members_max: usize,
    },
    /// It unpacks to more than the manifest accounts for.
    #[error("the archive unpacks to more than its files account for: more than {bytes_max} bytes")]
    Bomb {
        /// The bound.
        bytes_max: u64,
    },
    /// An extension out of bounds or out of form.
    #[error("the archive has a malformed or oversized extension header")]
    Extension,
    /// Something follows the end.
    #[error("the archive goes on after its end")]
    TrailingData,
    /// The archive file itself cannot be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Unpacks an archive into an empty folder. After an error the folder holds anything: the caller removes it.
///
/// # Errors
/// The first thing that is wrong, in the archive's order; a missing file last.
pub fn unpack(archive: impl Read, members: &[Member], into: &Path) -> Result<(), TarballError> {
    let mut archive = BufReader::with_capacity(1 << 18, archive);
    let magic = archive.fill_buf().map_err(TarballError::Read)?;
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut zstd = zstd::stream::read::Decoder::with_buffer(archive).map_err(TarballError::Read)?;
        zstd.window_log_max(WINDOW_LOG_MAX).map_err(TarballError::Read)?;
        read_tar(zstd, members, into)
    } else if magic.starts_with(&[0x1f, 0x8b]) {
        read_tar(flate2::bufread::MultiGzDecoder::new(archive), members, into)
    } else if magic.is_empty() {
        Err(TarballError::Truncated)
    } else {
        Err(TarballError::UnknownCompression)
    }
}

/// What [`unpack`] takes as a whole, decompressed.
#[must_use]
pub fn unpacked_bytes_max(members: &[Member]) -> u64 {
    let padded = |bytes: u64| bytes.saturating_add(BLOCK as u64 - 1) / BLOCK as u64 * BLOCK as u64;
    members.iter().fold(OVERHEAD_BYTES_MAX, |sum, member| sum.saturating_add(padded(member.bytes)))
}

fn read_tar(plain: impl Read, members: &[Member], into: &Path) -> Result<(), TarballError> {
    let bytes_max = unpacked_bytes_max(members);
    let mut tar = Tar { plain, left: bytes_max, bytes_max, headers: 0 };
    let mut due: BTreeMap<&str, (&Member, bool)> =
        members.iter().map(|member| (member.path.as_str(), (member, false))).collect();
    while let Some(entry) = tar.next_entry()? {
        let Some(path) = file_path(&entry)? else { continue };
        let (member, seen) =
            due.get_mut(path.as_str()).ok_or_else(|| TarballError::NotListed { path: path.clone() })?;
        if std::mem::replace(seen, true) {
            return Err(TarballError::Twice { path });
        }
        if entry.bytes != member.bytes {
            return Err(TarballError::Size { path, found: entry.bytes, expected: member.bytes });
        }
        tar.write_file(member, &into.join(&member.path))?;
    }
    tar.expect_end()?;
    match due.values().find(|(member, seen)| member.required && !seen) {
        Some((member, _)) => Err(TarballError::Missing { path: member.path.clone() }),
        None => Ok(()),
    }
}

/// An entry with what extensions say of it.
struct Entry {
    path: Vec<u8>,
    kind: Kind,
    bytes: u64,
    link: Vec<u8>,
}

/// The path of a file; `None` for a folder, which is made when a file in it comes.
fn file_path(entry: &Entry) -> Result<Option<String>, TarballError> {
    let shown = shown(&entry.path);
    let plain = std::str::from_utf8(&entry.path).ok().filter(|path| !path.chars().any(char::is_control));
    let path = plain.ok_or_else(|| TarballError::PathStrange { path: shown.clone() })?;
    if path.starts_with('/') {
        return Err(TarballError::PathAbsolute { path: shown });
    }
    if path.split('/').any(|part| part == "..") {
        return Err(TarballError::PathOutside { path: shown });
    }
    match entry.kind {
        Kind::File => {
            let mut path = path;
            while let Some(rest) = path.strip_prefix("./") {
                path = rest;
            }
            Ok(Some(path.to_owned()))
        }
        Kind::Folder if entry.bytes == 0 => Ok(None),
        Kind::Link => Err(TarballError::Link { path: shown, target: self::shown(&entry.link) }),
        Kind::Device => Err(TarballError::Device { path: shown }),
        _ => Err(TarballError::UnknownKind { path: shown }),
    }
}

fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A decompressed archive with a bound.
struct Tar<R> {
    plain: R,
    left: u64,
    bytes_max: u64,
    headers: usize,
}

impl<R: Read> Tar<R> {
    /// Some bytes; none at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarballError> {
        // One more than is left, to notice that there is more.
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.plain.read(&mut buffer[..most]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarballError::Truncated,
            // Decompressors make up their errors; those of the system have a number.
            _ if error.raw_os_error().is_some() => TarballError::Read(error),
            _ => TarballError::Compression { detail: error.to_string() },
        })?;
        self.left =
            self.left.checked_sub(count as u64).ok_or(TarballError::Bomb { bytes_max: self.bytes_max })?;
        Ok(count)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarballError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => return Err(TarballError::Truncated),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// The next entry with its extensions; `None` at the end of the archive.
    fn next_entry(&mut self) -> Result<Option<Entry>, TarballError> {
        let mut extension = Extension::default();
        loop {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if block == [0; BLOCK] {
                return if extension == Extension::default() {
                    Ok(None)
                } else {
                    Err(TarballError::Extension)
                };
            }
            let header = Header::parse(&block).ok_or(TarballError::NotTar)?;
            self.headers += 1;
            if self.headers > MEMBERS_MAX {
                return Err(TarballError::TooMany { members_max: MEMBERS_MAX });
            }
            match header.kind {
                Kind::Extension => {
                    let content = self.extension(header.bytes)?;
                    extension = Extension::parse(&content).ok_or(TarballError::Extension)?;
                }
                Kind::GlobalExtension => {
                    let content = self.extension(header.bytes)?;
                    // What changes every entry that follows has no honest use here.
                    if Extension::parse(&content).ok_or(TarballError::Extension)? != Extension::default() {
                        return Err(TarballError::Extension);
                    }
                }
                Kind::LongName => {
                    let mut content = self.extension(header.bytes)?;
                    content.truncate(content.iter().position(|byte| *byte == 0).unwrap_or(content.len()));
                    extension.path = Some(content);
                }
                Kind::LongLink => drop(self.extension(header.bytes)?),
                kind => {
                    let path = extension.path.unwrap_or(header.name);
                    if extension.sparse {
                        return Err(TarballError::UnknownKind { path: shown(&path) });
                    }
                    let bytes = extension.bytes.unwrap_or(header.bytes);
                    return Ok(Some(Entry { path, kind, bytes, link: header.link }));
                }
            }
        }
    }

    fn extension(&mut self, bytes: u64) -> Result<Vec<u8>, TarballError> {
        if bytes > EXTENSION_BYTES_MAX {
            return Err(TarballError::Extension);
        }
        // Bounded above.
        let mut content = vec![0; bytes as usize];
        self.fill(&mut content)?;
        self.skip_padding(bytes)?;
        Ok(content)
    }

    fn skip_padding(&mut self, bytes: u64) -> Result<(), TarballError> {
        let padding = (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK;
        self.fill(&mut [0; BLOCK][..padding])
    }

    /// Writes and syncs the content of a member whose header has just been read.
    fn write_file(&mut self, member: &Member, to: &Path) -> Result<(), TarballError> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).at("make", parent)?;
        }
        let mut file = File::options().write(true).create_new(true).open(to).at("make", to)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        let mut left = member.bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(TarballError::Truncated);
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count]).at("write", to)?;
            left -= count as u64;
        }
        let found = digest::hex(&hash.finalize());
        if found != member.sha256 {
            let (path, expected) = (member.path.clone(), member.sha256.clone());
            return Err(TarballError::Digest { path, found, expected });
        }
        file.sync_all().at("sync", to)?;
        self.skip_padding(member.bytes)
    }

    /// After the first zero block only zeros may come.
    fn expect_end(&mut self) -> Result<(), TarballError> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(()),
                count if buffer[..count].iter().any(|byte| *byte != 0) => {
                    return Err(TarballError::TrailingData);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
