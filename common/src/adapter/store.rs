//! The store that `ROLLCALL_STORE_URL` names, chosen at run time.

use std::path::PathBuf;
use std::time::Duration;

use crate::adapter::folder::{Durability, FolderStore};
use crate::adapter::s3::{S3Access, S3Options, S3Store};
use crate::port::object_store::content::Content;
use crate::port::object_store::{ByteRange, Object, ObjectInfo, ObjectStore, Page, PutOptions, StoreError};

/// One of the stores.
#[derive(Debug, Clone)]
pub enum UrlStore {
    /// `s3://bucket/prefix`
    S3(S3Store),
    /// `file:///dir`
    Folder(FolderStore),
}

impl UrlStore {
    /// The store at an address. A folder is created; to S3 nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when the address is none, and what a folder says.
    pub async fn open(url: &str, durability: Durability, access: &S3Access) -> Result<Self, StoreError> {
        if url.starts_with("s3://") {
            let location = url
                .parse()
                .map_err(|error| StoreError::Rejected { key: url.to_owned(), detail: format!("{error}") })?;
            return Ok(Self::S3(S3Store::connect(location, access, S3Options::default()).await));
        }
        match folder_path(url) {
            Some(path) => FolderStore::open(path, durability).await.map(Self::Folder),
            None => Err(StoreError::Rejected {
                key: url.to_owned(),
                detail: "a store's address is `s3://bucket/prefix` or `file:///folder`".to_owned(),
            }),
        }
    }

    /// The same, which may copy objects to these prefixes outside its place as well. A folder copies to none.
    #[must_use]
    pub fn copying_to(self, prefixes: &[String]) -> Self {
        match self {
            Self::S3(store) => Self::S3(store.copying_to(prefixes)),
            folder @ Self::Folder(_) => folder,
        }
    }
}

/// The absolute path of a `file:///…` address, percent-decoded; `None` when it is none.
#[must_use]
pub fn folder_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'))?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |pair: &[u8]| {
            // `from_str_radix` alone would take a sign.
            let digits =
                std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        };
        match (first, tail) {
            (b'%', pair) if pair.len() >= 2 => {
                bytes.push(hex(&pair[..2])?);
                rest = &pair[2..];
            }
            (b'%', _) => return None,
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0')).map(PathBuf::from)
}

impl ObjectStore for UrlStore {
    async fn put(&self, key: &str, content: Content, options: &PutOptions) -> Result<ObjectInfo, StoreError> {
        match self {
            Self::S3(store) => store.put(key, content, options).await,
            Self::Folder(store) => store.put(key, content, options).await,
        }
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Object, StoreError> {
        match self {
            Self::S3(store) => store.get(key, range).await,
            Self::Folder(store) => store.get(key, range).await,
        }
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        match self {
            Self::S3(store) => store.head(key).await,
            Self::Folder(store) => store.head(key).await,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        match self {
            Self::S3(store) => store.list(prefix, after, limit).await,
            Self::Folder(store) => store.list(prefix, after, limit).await,
        }
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        match self {
            Self::S3(store) => store.copy(from, to).await,
            Self::Folder(store) => store.copy(from, to).await,
        }
    }

    async fn copy_to(&self, from: &str, uri: &str) -> Result<(), StoreError> {
        match self {
            Self::S3(store) => store.copy_to(from, uri).await,
            Self::Folder(store) => store.copy_to(from, uri).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self {
            Self::S3(store) => store.delete(key).await,
            Self::Folder(store) => store.delete(key).await,
        }
    }

    async fn presign_get(&self, key: &str, valid: Duration) -> Result<String, StoreError> {
        match self {
            Self::S3(store) => store.presign_get(key, valid).await,
            Self::Folder(store) => store.presign_get(key, valid).await,
        }
    }

    async fn presign_put(&self, key: &str, valid: Duration) -> Result<String, StoreError> {
        match self {
            Self::S3(store) => store.presign_put(key, valid).await,
            Self::Folder(store) => store.presign_put(key, valid).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_addresses_are_absolute_and_decoded() {
        assert_eq!(folder_path("file:///a/b%20c"), Some(PathBuf::from("/a/b c")));
        assert_eq!(folder_path("file:///%C3%BC"), Some(PathBuf::from("/ü")));
        for url in [
            "file://host/a",
            "file:a",
            "/a",
            "file:///%",
            "file:///%2",
            "file:///%zz",
            "file:///%+f",
            "file:///%ff",
            "file:///%00",
        ] {
            assert_eq!(folder_path(url), None, "{url}");
        }
    }

    #[tokio::test]
    async fn the_scheme_decides() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/store", folder.path().display());
        let access = S3Access::default();
        assert!(matches!(UrlStore::open(&url, Durability::Cached, &access).await, Ok(UrlStore::Folder(_))));
        assert!(folder.path().join("store").is_dir());
        for url in ["http://h/b", "s3://", "bucket"] {
            let error = UrlStore::open(url, Durability::Cached, &access).await.unwrap_err();
            assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
        }
    }
}
