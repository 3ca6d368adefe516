//! SHA-256 as the lower-case hexadecimal that manifests and pins use.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// The digest of bytes in memory.
#[must_use]
pub fn of(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// The digest and the size of a file; reads at most `bytes_max + 1` bytes of it.
///
/// # Errors
/// What the system said.
pub fn of_file(path: &Path, bytes_max: u64) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?.take(bytes_max.saturating_add(1));
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hex(&hash.finalize()), bytes)),
            count => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_the_empty_string_and_a_file() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(b""), empty);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(of_file(&path, 3).unwrap(), (of(b"abc"), 3));
        assert_eq!(of_file(&path, 1).unwrap().1, 2, "a file above the bound is not read to its end");
    }
}
