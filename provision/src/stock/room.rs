//! Room on a disk.

use std::io;
use std::path::Path;

/// Space that stays free beside what an installation needs.
const SPARE_BYTES: u64 = 16 << 20;

/// Bytes that have to be free for an installation: for what is still to come of its archive, and for all that it unpacks to.
#[must_use]
pub const fn needed_bytes(to_come: u64, unpacked: u64) -> u64 {
    to_come.saturating_add(unpacked).saturating_add(SPARE_BYTES)
}

/// Bytes that may still be written where `path` is or would be.
///
/// # Errors
/// What the system said.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"));
    let room = rustix::fs::statvfs(there)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_already_needs_no_room() {
        let whole = needed_bytes(1_000, 5_000);
        assert_eq!(whole, 6_000 + SPARE_BYTES);
        assert_eq!(needed_bytes(0, 5_000), whole - 1_000);
        assert_eq!(needed_bytes(u64::MAX, 1), u64::MAX, "a manifest that lies does not overflow");
    }
}
