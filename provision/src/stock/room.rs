//! Room on a disk.

use std::io;
use std::path::Path;

/// Bytes that may still be written where `path` is or would be.
///
/// # Errors
/// What the system said.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"));
    let room = rustix::fs::statvfs(there)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}
