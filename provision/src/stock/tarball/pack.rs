//! Writing the archive of a folder: the same files give the same bytes.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::header::{BLOCK, Extension, Header};
use super::{Member, TarballError};
use crate::digest;
use crate::place::At as _;

/// Level of zstd: networks hardly compress, and higher levels only take longer.
const LEVEL: i32 = 9;
/// Longest path that fits into a header.
const NAME_BYTES: usize = 100;

/// An archive that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the compressed archive.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// Writes the members, files in `folder`, as `.tar.zst` to `to`, and syncs it.
///
/// # Errors
/// A member that is not what its description says, or the disk.
pub fn pack(folder: &Path, members: &[Member], to: &Path) -> Result<Packed, TarballError> {
    let file = File::create(to).at("make", to)?;
    let hashing = Hashing { inner: io::BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
    let mut out = zstd::stream::write::Encoder::new(hashing, LEVEL).at("write", to)?;
    out.include_checksum(true).at("write", to)?;
    for member in members {
        write(&mut out, folder, member, to)?;
    }
    out.write_all(&[0; 2 * BLOCK]).at("write", to)?;
    let hashing = out.finish().at("write", to)?;
    let file = hashing.inner.into_inner().map_err(io::IntoInnerError::into_error).at("write", to)?;
    file.sync_all().at("sync", to)?;
    Ok(Packed { sha256: digest::hex(&hashing.hash.finalize()), bytes: hashing.bytes })
}

fn write(out: &mut impl Write, folder: &Path, member: &Member, to: &Path) -> Result<(), TarballError> {
    let path = folder.join(&member.path);
    if member.path.len() > NAME_BYTES {
        let records = Extension::of_path(&member.path);
        out.write_all(&Header::of_extension(records.len() as u64)).at("write", to)?;
        out.write_all(&records).at("write", to)?;
        pad(out, records.len() as u64).at("write", to)?;
    }
    out.write_all(&Header::of_file(&member.path, member.bytes)).at("write", to)?;
    let mut file = File::open(&path).at("open", &path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer).at("read", &path)?;
        bytes += count as u64;
        if count == 0 || bytes > member.bytes {
            break;
        }
        hash.update(&buffer[..count]);
        out.write_all(&buffer[..count]).at("write", to)?;
    }
    if bytes != member.bytes {
        let (path, expected) = (member.path.clone(), member.bytes);
        return Err(TarballError::Size { path, found: bytes, expected });
    }
    let found = digest::hex(&hash.finalize());
    if found != member.sha256 {
        return Err(TarballError::Digest {
            path: member.path.clone(),
            found,
            expected: member.sha256.clone(),
        });
    }
    Ok(pad(out, bytes).at("write", to)?)
}

fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let padding = (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK;
    out.write_all(&[0; BLOCK][..padding])
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
