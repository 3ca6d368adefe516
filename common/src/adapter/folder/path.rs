//! From a key to a path that cannot leave the root.

use std::path::{Path, PathBuf};

use crate::port::object_store::{StoreError, check_key};

/// Where writers keep what is not finished; keys below it are refused.
pub(super) const TEMPORARY: &str = ".rollcall-tmp";

/// Longest name of one file or folder on the file systems of Linux.
const SEGMENT_BYTES_MAX: usize = 255;

/// The path of a key. Each part of it that exists below the root is a real folder or file, not a symbolic link.
pub(super) fn resolve(root: &Path, key: &str) -> Result<PathBuf, StoreError> {
    check_segments(key)?;
    let mut path = root.to_path_buf();
    for segment in key.split('/') {
        path.push(segment);
        // Whoever can create links in the folder between this look and the use of the path may write there anyway.
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => {
                let detail = "a symbolic link lies on the way".to_owned();
                return Err(StoreError::Forbidden { key: key.to_owned(), detail });
            }
            Ok(_) => {}
            // Nothing is there, so nothing below is either.
            Err(_) => break,
        }
    }
    Ok(root.join(key))
}

fn check_segments(key: &str) -> Result<(), StoreError> {
    check_key(key)?;
    let reject = |detail: &str| Err(StoreError::Rejected { key: key.to_owned(), detail: detail.to_owned() });
    for segment in key.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return reject("a key in a folder has no empty parts, `.` or `..`");
        }
        if segment.len() > SEGMENT_BYTES_MAX {
            return reject("a part of a key in a folder has at most 255 bytes");
        }
    }
    if key.split('/').next() == Some(TEMPORARY) {
        return reject("the name is reserved for unfinished objects");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::fs::write(folder.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("real/file")).unwrap();

        assert_eq!(resolve(&root, "a/b.c").unwrap(), root.join("a/b.c"));
        assert_eq!(resolve(&root, "..a/b..").unwrap(), root.join("..a/b.."));
        assert!(resolve(&root, &"s".repeat(SEGMENT_BYTES_MAX)).is_ok());
        for key in ["../secret", "a/../../secret", "/etc/passwd", "a//b", "a/", ".", "./a", ".rollcall-tmp/x"]
        {
            assert!(matches!(resolve(&root, key), Err(StoreError::Rejected { .. })), "{key}");
        }
        assert!(resolve(&root, &"s".repeat(SEGMENT_BYTES_MAX + 1)).is_err());
        for key in ["link/secret", "link", "real/file"] {
            assert!(matches!(resolve(&root, key), Err(StoreError::Forbidden { .. })), "{key}");
        }
    }
}
