//! Which bundles lie in the home folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{is_name, is_version};

/// One version of a bundle, complete (a folder appears only when it is), but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Name of the bundle.
    pub name: String,
    /// Version.
    pub version: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether the bundle's `current` link names it.
    pub current: bool,
}

/// Every installed version, sorted by name and version.
///
/// # Errors
/// When the folder of bundles is there but cannot be read.
pub fn bundles(home: &Home) -> io::Result<Vec<Installed>> {
    let mut found = Vec::new();
    for name in names(&home.bundles(), is_name)? {
        let current = fs::read_link(home.bundle_current(&name)).ok();
        for version in names(&home.bundle(&name), is_version)? {
            found.push(Installed {
                folder: home.bundle_version(&name, &version),
                current: current.as_deref() == Some(Path::new(&version)),
                name: name.clone(),
                version,
            });
        }
    }
    Ok(found)
}

/// Names of the folders (links left out) in `folder` that `fits` takes, sorted; none when it is not there.
fn names(folder: &Path, fits: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string().ok().filter(|name| fits(name)));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_versions_and_passes_over_what_is_no_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        assert_eq!(bundles(&home).unwrap(), []);
        for path in ["starter/1.0.1", "starter/1.0.0", "other/2", "Not A Name/1", "starter/.hidden"] {
            fs::create_dir_all(home.bundles().join(path)).unwrap();
        }
        fs::write(home.bundles().join("a-file"), "x").unwrap();
        std::os::unix::fs::symlink("1.0.1", home.bundle_current("starter")).unwrap();
        let found: Vec<_> = bundles(&home).unwrap();
        let shown: Vec<_> = found.iter().map(|b| (b.name.as_str(), b.version.as_str(), b.current)).collect();
        assert_eq!(shown, [("other", "2", false), ("starter", "1.0.0", false), ("starter", "1.0.1", true)]);
    }
}
