//! Writing into `ROLLCALL_HOME` so that a reader never sees half a thing: one writer at a time, everything into a
//! folder of its own first, synced, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use common::home::Home;

/// Why the disk did not take something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct PlaceError {
    /// A verb: `write`, `rename`, …
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said; [`io::ErrorKind::StorageFull`] when the disk is full.
    #[source]
    pub source: io::Error,
}

/// Adds the action and the path to an error of the system.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, PlaceError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, PlaceError> {
        self.map_err(|source| PlaceError { action, path: path.to_owned(), source })
    }
}

/// The right to write one thing (a bundle, the inference library); given back when dropped or when the process ends.
#[derive(Debug)]
pub struct Lock {
    what: String,
    partial: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits until nobody else writes `what`; `waiting` is called once if that takes a wait.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn acquire(home: &Home, what: &str, waiting: impl FnOnce()) -> Result<Self, PlaceError> {
        let path = home.lock(what);
        make_parent(&path)?;
        let file = File::options().create(true).append(true).open(&path).at("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                waiting();
                file.lock().at("lock", &path)?;
            }
            Err(fs::TryLockError::Error(source)) => return Err(source).at("lock", &path),
        }
        Ok(Self { what: what.to_owned(), partial: home.partial(), _file: file })
    }

    /// Removes what earlier holders of this lock left behind when they were killed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn sweep(&self) -> Result<(), PlaceError> {
        fs::create_dir_all(&self.partial).at("make", &self.partial)?;
        for entry in fs::read_dir(&self.partial).at("read", &self.partial)?.flatten() {
            let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.prefix()));
            if ours {
                let path = entry.path();
                fs::remove_dir_all(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }

    /// What the names of its folders begin with.
    fn prefix(&self) -> String {
        format!("{}.", self.what)
    }

    /// An empty folder to write into, removed when dropped. What earlier holders left is removed first.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn partial(&self) -> Result<Partial, PlaceError> {
        self.sweep()?;
        let prefix = self.prefix();
        // The process id keeps a child of a killed holder, which may still be writing, out of the new folder.
        let path = self.partial.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&path).at("make", &path)?;
        Ok(Partial { path })
    }
}

/// A folder that is being written.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
}

impl Partial {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file at a relative path and syncs it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), PlaceError> {
        let path = self.path.join(path);
        make_parent(&path)?;
        let mut file = File::create(&path).at("make", &path)?;
        file.write_all(content).at("write", &path)?;
        file.sync_all().at("sync", &path)
    }

    /// Renames the folder, or one thing in it, to its place. A folder that is there already (damaged or incomplete,
    /// or the caller would not have written another) is moved aside and removed.
    ///
    /// # Errors
    /// When the disk does not take it. Killed in the middle, there is either nothing or the whole at `to`.
    pub fn publish(&self, inside: &str, to: &Path) -> Result<(), PlaceError> {
        let from = self.path.join(inside);
        sync_tree(&from)?;
        make_parent(to)?;
        if to.symlink_metadata().is_ok_and(|old| old.is_dir()) {
            let aside = self.path.join("replaced");
            fs::rename(to, &aside).at("move aside", to)?;
        }
        fs::rename(&from, to).at("rename to", to)?;
        sync_parent(to)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Whatever stays is removed by the next holder of the lock.
        _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes `link` point at `target` (relative to the link), in one step.
///
/// # Errors
/// When the disk does not take it.
pub fn point(link: &Path, target: &str) -> Result<(), PlaceError> {
    if fs::read_link(link).is_ok_and(|now| now == Path::new(target)) {
        return Ok(());
    }
    let next = link.with_extension("next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at("remove", &next),
        _ => {}
    }
    std::os::unix::fs::symlink(target, &next).at("make", &next)?;
    fs::rename(&next, link).at("rename to", link)?;
    sync_parent(link)
}

/// Makes the folder that `path` lies in.
fn make_parent(path: &Path) -> Result<(), PlaceError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).at("make", parent),
        None => Ok(()),
    }
}

/// Syncs the folder that `path` lies in, which makes a rename last.
fn sync_parent(path: &Path) -> Result<(), PlaceError> {
    match path.parent() {
        Some(parent) => File::open(parent).and_then(|folder| folder.sync_all()).at("sync", parent),
        None => Ok(()),
    }
}

/// Syncs a file, or a folder and the folders in it; the files were synced when written, or by the program that did.
fn sync_tree(path: &Path) -> Result<(), PlaceError> {
    if path.is_dir() {
        for entry in fs::read_dir(path).at("read", path)? {
            sync_tree(&entry.at("read", path)?.path())?;
        }
    }
    File::open(path).and_then(|file| file.sync_all()).at("sync", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        (folder, home)
    }

    #[test]
    fn a_folder_appears_whole_and_replaces_a_broken_one() {
        let (_keep, home) = home();
        let to = home.bundle_version("b", "1");
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("broken"), "x").unwrap();
        let lock = Lock::acquire(&home, "bundle-b", || ()).unwrap();
        let partial = lock.partial().unwrap();
        partial.write("whole/deep/file", b"content").unwrap();
        partial.publish("whole", &to).unwrap();
        drop(partial);
        assert_eq!(fs::read(to.join("deep/file")).unwrap(), b"content");
        assert!(!to.join("broken").exists());
        assert_eq!(fs::read_dir(home.partial()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_others_keep_theirs() {
        let (_keep, home) = home();
        for left in ["bundle-b.1", "bundle-b.77", "runtime.1"] {
            fs::create_dir_all(home.partial().join(left)).unwrap();
            fs::write(home.partial().join(left).join("half"), "x").unwrap();
        }
        let partial = Lock::acquire(&home, "bundle-b", || ()).unwrap().partial().unwrap();
        let mut there: Vec<_> = fs::read_dir(home.partial())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, [format!("bundle-b.{}", std::process::id()), "runtime.1".to_owned()]);
        assert_eq!(fs::read_dir(partial.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_second_writer_waits_for_the_first() {
        let (_keep, home) = home();
        let first = Lock::acquire(&home, "x", || panic!("nobody holds it")).unwrap();
        let (waits, waited) = std::sync::mpsc::channel();
        let other = home.clone();
        let second = std::thread::spawn(move || {
            Lock::acquire(&other, "x", move || waits.send(()).unwrap()).map(|lock| lock.what.clone())
        });
        waited.recv().expect("the second writer says that it waits");
        drop(first);
        assert_eq!(second.join().unwrap().unwrap(), "x");
        let other_thing = Lock::acquire(&home, "y", || panic!("another thing has another lock"));
        assert!(other_thing.is_ok());
    }

    #[test]
    fn a_link_is_set_and_moved() {
        let (_keep, home) = home();
        let link = home.bundle_current("b");
        fs::create_dir_all(home.bundle("b")).unwrap();
        // What a killed program may have left.
        std::os::unix::fs::symlink("0", link.with_extension("next")).unwrap();
        for version in ["1.0.0", "1.0.1", "1.0.1"] {
            point(&link, version).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(version));
        }
        assert_eq!(fs::read_dir(home.bundle("b")).unwrap().count(), 1);
    }
}
