//! From arguments to recordings: folders and prefixes are opened, sizes looked up, bounds checked. Nothing is uploaded.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use common::adapter::store::UrlStore;
use common::object_key;
use common::port::object_store::{ObjectInfo, ObjectStore, PAGE_OBJECTS_MAX, StoreError};
use common::reach::{Place, Reach};

use super::error::{AUDIO_BYTES_MAX, SubmitError};
use super::source::{Source, is_recording};
use crate::command::error::FleetError;
use crate::connect;

/// Most recordings of one call.
pub const RECORDINGS_MAX: usize = 100_000;
/// Deepest folder below one that is submitted.
const DEPTH_MAX: usize = 64;

/// A recording that exists, as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file of this machine, which is to be uploaded.
    File {
        /// Where.
        path: PathBuf,
    },
    /// An object that workers can reach.
    Object {
        /// Its address.
        uri: String,
        /// Its size.
        bytes: u64,
    },
    /// An address of the web, which workers check.
    Web {
        /// The address.
        uri: String,
    },
}

/// Everything that is needed to look.
pub struct Gatherer<'a> {
    /// The store.
    pub store: &'a UrlStore,
    /// What jobs may name.
    pub reach: &'a Reach,
    /// Whether to go below folders and prefixes.
    pub recursive: bool,
}

impl Gatherer<'_> {
    /// The recordings that an argument names.
    ///
    /// # Errors
    /// When there are none, or one cannot be taken.
    pub async fn gather(&self, text: &str) -> Result<Vec<Found>, SubmitError> {
        match Source::parse(text)? {
            Source::Path(path) => match self.uploaded(text).await? {
                Some(found) => Ok(vec![found]),
                None => self.local(&path),
            },
            Source::Web(uri) => Ok(vec![Found::Web { uri }]),
            Source::Object { bucket, key } => self.objects(text, &bucket, &key).await,
        }
    }

    /// What lies in a store that is a folder is an object already.
    async fn uploaded(&self, text: &str) -> Result<Option<Found>, SubmitError> {
        let key = match self.reach.place(text) {
            Place::Store(key) if text.starts_with("file://") && object_key::may_be_source(key) => key,
            _ => return Ok(None),
        };
        match self.store.head(key).await {
            Ok(info) => object(text.to_owned(), &info).map(Some),
            // A folder, or nothing: looked at as a path.
            Err(_) => Ok(None),
        }
    }

    fn local(&self, path: &Path) -> Result<Vec<Found>, SubmitError> {
        let metadata = metadata(path)?;
        if !metadata.is_dir() {
            return Ok(vec![file(path, &metadata)?]);
        }
        let mut found = Vec::new();
        self.folder(path, 0, &mut found)?;
        if found.is_empty() {
            return Err(SubmitError::Nothing { name: path.display().to_string(), shallow: !self.recursive });
        }
        Ok(found)
    }

    /// Files in the order of their names; links to folders are not followed, so that no circle is.
    fn folder(&self, path: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), SubmitError> {
        let unreadable = |source| SubmitError::Unreadable { path: path.to_owned(), source };
        let mut entries = std::fs::read_dir(path)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .map_err(unreadable)?;
        entries.sort_unstable_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                if self.recursive && depth < DEPTH_MAX {
                    self.folder(&entry.path(), depth + 1, found)?;
                }
            } else if is_recording(&entry.file_name().to_string_lossy()) {
                let path = entry.path();
                let metadata = metadata(&path)?;
                if metadata.is_file() {
                    found.push(file(&path, &metadata)?);
                }
            }
            if found.len() > RECORDINGS_MAX {
                return Err(SubmitError::TooMany { most: RECORDINGS_MAX });
            }
        }
        Ok(())
    }

    async fn objects(&self, uri: &str, bucket: &str, key: &str) -> Result<Vec<Found>, SubmitError> {
        let inside = match self.reach.place(uri) {
            Place::Store(key) if !object_key::may_be_source(key) => {
                return Err(SubmitError::Reserved { uri: uri.to_owned() });
            }
            Place::Store(_) => true,
            Place::Allowed => false,
            // The store's own address has no key, but lists everything in it.
            Place::Web | Place::Outside => {
                let own = uri.trim_end_matches('/') == self.reach.store().to_string();
                if !own {
                    return Err(SubmitError::NotAllowed { uri: uri.to_owned() });
                }
                true
            }
        };
        let prefix = key.is_empty() || key.ends_with('/');
        if prefix && !self.recursive {
            return Err(SubmitError::Prefix { uri: uri.to_owned() });
        }
        let location =
            format!("s3://{bucket}").parse().map_err(|_| SubmitError::Missing { uri: uri.to_owned() })?;
        let whole_bucket = connect::elsewhere(self.store, location).await;
        if !prefix {
            match whole_bucket.head(key).await {
                Ok(info) => return Ok(vec![object(uri.to_owned(), &info)?]),
                Err(StoreError::NotFound { .. }) if self.recursive => {}
                Err(error) => return Err(looked_up(uri, error, inside)),
            }
        }
        let folder = if prefix { key.to_owned() } else { format!("{key}/") };
        let mut found = list(&whole_bucket, bucket, &folder, uri, inside).await?;
        found.retain(|found| self.is_source(found, uri));
        if found.is_empty() {
            return Err(SubmitError::Nothing { name: uri.to_owned(), shallow: false });
        }
        Ok(found)
    }

    /// Whether what was found below a prefix is somebody's recording, not a part of somebody's result. Uploads count only
    /// where they are asked for: whoever sweeps a store does not mean what others submitted.
    fn is_source(&self, found: &Found, prefix: &str) -> bool {
        let uploads = self.reach.store().key(prefix).is_some_and(object_key::is_reserved);
        let wanted =
            |key| if uploads { object_key::may_be_source(key) } else { !object_key::is_reserved(key) };
        match found {
            Found::Object { uri, .. } => self.reach.store().key(uri).is_none_or(wanted),
            Found::File { .. } | Found::Web { .. } => true,
        }
    }
}

async fn list(
    objects: &impl ObjectStore,
    bucket: &str,
    prefix: &str,
    uri: &str,
    inside: bool,
) -> Result<Vec<Found>, SubmitError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = objects.list(prefix, after.as_deref(), PAGE_OBJECTS_MAX).await;
        let page = page.map_err(|error| looked_up(uri, error, inside))?;
        for listed in page.objects.iter().filter(|listed| is_recording(&listed.key)) {
            found.push(object(format!("s3://{bucket}/{}", listed.key), &listed.info)?);
        }
        if found.len() > RECORDINGS_MAX {
            return Err(SubmitError::TooMany { most: RECORDINGS_MAX });
        }
        match page.next {
            Some(next) => after = Some(next),
            None if found.is_empty() => {
                return Err(SubmitError::Nothing { name: uri.to_owned(), shallow: false });
            }
            None => return Ok(found),
        }
    }
}

/// What it means that an object could not be looked up.
pub(super) fn looked_up(uri: &str, error: StoreError, inside: bool) -> SubmitError {
    let uri = uri.to_owned();
    match error {
        StoreError::NotFound { key } if key.matches('/').count() == 2 => SubmitError::Missing { uri: key },
        StoreError::NotFound { .. } => SubmitError::Missing { uri },
        // Without credentials the whole store is out of reach, not one object.
        StoreError::Forbidden { ref detail, .. } if inside && detail.starts_with("no credentials") => {
            FleetError::of_store(error).into()
        }
        source @ StoreError::Forbidden { .. } => SubmitError::Forbidden { uri, source },
        other => FleetError::of_store(other).into(),
    }
}

fn metadata(path: &Path) -> Result<Metadata, SubmitError> {
    std::fs::metadata(path).map_err(|source| SubmitError::Unreadable { path: path.to_owned(), source })
}

fn file(path: &Path, metadata: &Metadata) -> Result<Found, SubmitError> {
    if !metadata.is_file() {
        return Err(SubmitError::NotAFile { path: path.to_owned() });
    }
    bounded(&path.display().to_string(), metadata.len())?;
    Ok(Found::File { path: path.to_owned() })
}

fn object(uri: String, info: &ObjectInfo) -> Result<Found, SubmitError> {
    bounded(&uri, info.bytes)?;
    Ok(Found::Object { uri, bytes: info.bytes })
}

/// Whether a recording may be so large.
pub(super) fn bounded(name: &str, bytes: u64) -> Result<(), SubmitError> {
    if bytes <= AUDIO_BYTES_MAX {
        Ok(())
    } else {
        Err(SubmitError::TooLarge { name: name.to_owned(), bytes })
    }
}

#[cfg(test)]
mod tests {
    use common::adapter::folder::Durability;
    use common::adapter::s3::S3Access;
    use common::reach::StoreUrl;

    use super::*;
    use crate::command::{ExitStatus, Explain as _};

    async fn gather(folder: &Path, text: &str, recursive: bool) -> Result<Vec<Found>, SubmitError> {
        let url = format!("file://{}", folder.join("store").display());
        let store = UrlStore::open(&url, Durability::Cached, &S3Access::default()).await.unwrap();
        let reach = Reach::new(StoreUrl::new(&url), vec![]);
        Gatherer { store: &store, reach: &reach, recursive }.gather(text).await
    }

    #[tokio::test]
    async fn a_folder_gives_its_recordings_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::create_dir_all(input.join("deep/deeper")).unwrap();
        for name in ["b.wav", "a.flac", "notes.txt", "deep/c.mp3", "deep/deeper/d.ogg"] {
            std::fs::write(input.join(name), "x").unwrap();
        }
        let names = |found: Vec<Found>| -> Vec<String> {
            let name = |found: &Found| match found {
                Found::File { path } => path.strip_prefix(&input).unwrap().display().to_string(),
                other => panic!("{other:?}"),
            };
            found.iter().map(name).collect()
        };
        let text = input.to_str().unwrap();
        assert_eq!(names(gather(folder.path(), text, false).await.unwrap()), ["a.flac", "b.wav"]);
        assert_eq!(
            names(gather(folder.path(), text, true).await.unwrap()),
            ["a.flac", "b.wav", "deep/c.mp3", "deep/deeper/d.ogg"]
        );
        let notes = input.join("notes.txt");
        assert_eq!(
            names(gather(folder.path(), notes.to_str().unwrap(), false).await.unwrap()),
            ["notes.txt"]
        );
    }

    #[tokio::test]
    async fn what_cannot_be_taken_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("empty")).unwrap();
        let sparse = std::fs::File::create(path("huge.wav")).unwrap();
        for (bytes, good) in [(AUDIO_BYTES_MAX, true), (AUDIO_BYTES_MAX + 1, false)] {
            sparse.set_len(bytes).unwrap();
            assert_eq!(gather(folder.path(), &path("huge.wav"), false).await.is_ok(), good);
        }
        for (text, said, status) in [
            (path("none.wav"), "cannot read", ExitStatus::Failed),
            (path("empty"), "no recordings in", ExitStatus::Failed),
            ("/dev/null".to_owned(), "not a file or folder", ExitStatus::Failed),
            ("s3://elsewhere/a.wav".to_owned(), "outside the store", ExitStatus::Failed),
            ("http://x/a.wav".to_owned(), "only `https://`", ExitStatus::Usage),
        ] {
            let error = gather(folder.path(), &text, false).await.unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.status(), status, "{error}");
        }
    }
}
