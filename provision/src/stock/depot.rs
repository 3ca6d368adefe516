//! The store's side of bundles: pointer, manifest, signature, archive.
//!
//! Calls are synchronous: what provisions a machine does one thing after another, but for the parts of a download.

use std::future::Future;
use std::io;

use bytes::Bytes;
use common::adapter::folder::Durability;
use common::adapter::s3::S3Access;
use common::adapter::store::UrlStore;
use common::model::manifest::{self, Manifest, ManifestError, is_version};
use common::object_key;
use common::port::object_store::content::Content;
use common::port::object_store::{ObjectInfo, ObjectStore as _, PAGE_OBJECTS_MAX, PutOptions, StoreError};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::cache_dir::{Download, Identity};
use super::{fetch, signature};
use crate::digest;
use crate::progress::Progress;

/// Largest bundle, unpacked or packed (contract, section 9).
pub const BUNDLE_BYTES_MAX: u64 = 4 << 30;
/// Largest pointer that is read.
const POINTER_BYTES_MAX: u64 = 16 << 10;
/// Most objects of a listing that are looked at.
const LISTED_MAX: usize = 100_000;
/// Archive names of the layout's own, in the order in which they are looked for.
const ARCHIVES: [&str; 2] = ["bundle.tar.zst", "bundle.tar.gz"];
/// What archives of earlier deployments end in.
const ARCHIVE_ENDS: [&str; 3] = [".tar.zst", ".tar.gz", ".tgz"];
/// Where earlier deployments keep a copy of the newest version.
const LATEST: &str = "latest";

/// The object `bundles/{name}/latest`. Other keys are passed over, for later versions of Rollcall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The version.
    pub version: String,
    /// SHA-256 of its `manifest.json`, which names every other digest.
    pub sha256: String,
}

/// A version that a store offers.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its folder in the store, ending in `/`.
    pub folder: String,
    /// The manifest file as it is.
    pub json: Bytes,
    /// SHA-256 of it.
    pub sha256: String,
    /// What it says.
    pub manifest: Manifest,
    /// The signature beside it.
    pub signature: Option<String>,
}

/// A version as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Whether the pointer names it.
    pub latest: bool,
}

/// Why a store does not give what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// The store's own refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No asynchronous runtime.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    /// No pointer, no earlier layout.
    #[error("the store has no bundle `{name}`: {store}")]
    NoBundle {
        /// The name.
        name: String,
        /// Address.
        store: String,
    },
    /// No such version.
    #[error("the store has no `{name}@{version}`: {store}")]
    NoVersion {
        /// The name.
        name: String,
        /// The version.
        version: String,
        /// Address.
        store: String,
    },
    /// The pointer does not parse.
    #[error("the pointer `{key}` is damaged: {detail}")]
    Pointer {
        /// Its key.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// The manifest is not the one that the pointer names.
    #[error("the manifest `{key}` has the digest {found}; the pointer names {expected}")]
    ManifestDigest {
        /// Its key.
        key: String,
        /// What it has.
        found: String,
        /// What the pointer says.
        expected: String,
    },
    /// The manifest is refused.
    #[error("the manifest `{key}` is refused")]
    Manifest {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The manifest of another bundle.
    #[error("the manifest `{key}` describes `{found}`")]
    Misplaced {
        /// Its key.
        key: String,
        /// Name and version in it.
        found: String,
    },
    /// More than a bundle may have.
    #[error("the bundle is too large: {bytes} bytes, at most {bytes_max}")]
    TooLarge {
        /// Size.
        bytes: u64,
        /// Bound.
        bytes_max: u64,
    },
    /// No archive, or no telling which.
    #[error("`{folder}` in the store has {count} archives instead of one")]
    Archive {
        /// The folder.
        folder: String,
        /// How many.
        count: usize,
    },
}

/// A store of bundles.
#[derive(Debug)]
pub struct Depot {
    runtime: Runtime,
    store: UrlStore,
    address: String,
}

impl Depot {
    /// The store at an address; credentials come from the environment. To S3 nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none, or a folder cannot be made.
    pub fn open(address: &str) -> Result<Self, DepotError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(DepotError::Threads)?;
        let store = runtime.block_on(UrlStore::open(address, Durability::Synced, &S3Access::default()))?;
        Ok(Self { runtime, store, address: address.to_owned() })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &UrlStore {
        &self.store
    }

    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The pointer of a bundle with its ETag; `None` when there is none.
    ///
    /// # Errors
    /// A damaged pointer, or the store.
    pub fn pointer(&self, name: &str) -> Result<Option<(Pointer, String)>, DepotError> {
        let key = object_key::bundle_latest(name);
        // Described first: should it change in between, a write under this ETag fails, as it should.
        let Some(info) = found(self.wait(self.store.head(&key)))? else { return Ok(None) };
        let Some(json) = found(self.wait(self.store.read(&key, POINTER_BYTES_MAX)))? else { return Ok(None) };
        let damaged = |detail: String| DepotError::Pointer { key: key.clone(), detail };
        let pointer: Pointer = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if !is_version(&pointer.version) {
            let shown: String = pointer.version.chars().take(64).collect();
            return Err(damaged(format!("not a version: {shown:?}")));
        }
        if !is_digest(&pointer.sha256) {
            return Err(damaged("no SHA-256 in `sha256`".to_owned()));
        }
        Ok(Some((pointer, info.etag.unwrap_or_default())))
    }

    /// Makes the pointer name a version, if it is still the one with the ETag `seen` (`None`: if there still is none).
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] when it moved meanwhile to another version; the store.
    pub fn move_pointer(&self, name: &str, to: &Pointer, seen: Option<&str>) -> Result<(), DepotError> {
        let key = object_key::bundle_latest(name);
        let mut json = serde_json::to_vec(to)
            .map_err(|error| DepotError::Pointer { key: key.clone(), detail: error.to_string() })?;
        json.push(b'\n');
        let mut options = seen.map_or_else(PutOptions::if_absent, PutOptions::if_etag);
        options.content_type = Some("application/json".to_owned());
        match self.wait(self.store.put(&key, Content::from(json), &options)) {
            Ok(_) => Ok(()),
            // After a lost answer the repetition meets what the first try wrote.
            Err(StoreError::PreconditionFailed { .. })
                if self.pointer(name)?.is_some_and(|(now, _)| now == *to) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The version that is asked for, or else the one that the pointer names, without its archive.
    ///
    /// # Errors
    /// Any [`DepotError`].
    pub fn offer(&self, name: &str, version: Option<&str>) -> Result<Offer, DepotError> {
        if let Some(version) = version {
            let none = || DepotError::NoVersion {
                name: name.to_owned(),
                version: version.to_owned(),
                store: self.address.clone(),
            };
            // Folders of earlier deployments begin with a `v`.
            for folder in [version.to_owned(), format!("v{version}")] {
                if let Some(offer) = self.offer_in(name, &folder, None)? {
                    return Ok(offer);
                }
            }
            return Err(none());
        }
        if let Some((pointer, _)) = self.pointer(name)? {
            let offer = self.offer_in(name, &pointer.version, Some(&pointer.sha256))?;
            return offer.ok_or_else(|| DepotError::NoVersion {
                name: name.to_owned(),
                version: pointer.version,
                store: self.address.clone(),
            });
        }
        self.offer_in(name, LATEST, None)?
            .ok_or_else(|| DepotError::NoBundle { name: name.to_owned(), store: self.address.clone() })
    }

    fn offer_in(&self, name: &str, folder: &str, sha256: Option<&str>) -> Result<Option<Offer>, DepotError> {
        let key = object_key::bundle_manifest(name, folder);
        let Some(json) = found(self.wait(self.store.read(&key, manifest::BYTES_MAX)))? else {
            return Ok(None);
        };
        let found_digest = digest::of(&json);
        if let Some(expected) = sha256.filter(|expected| *expected != found_digest) {
            return Err(DepotError::ManifestDigest {
                key,
                found: found_digest,
                expected: expected.to_owned(),
            });
        }
        let manifest =
            Manifest::parse(&json).map_err(|source| DepotError::Manifest { key: key.clone(), source })?;
        let bare = |version: &str| version.strip_prefix('v').unwrap_or(version).to_owned();
        let placed = folder == LATEST || bare(&manifest.version) == bare(folder);
        if manifest.name != name || !placed {
            return Err(DepotError::Misplaced {
                key,
                found: format!("{}@{}", manifest.name, manifest.version),
            });
        }
        let bytes = manifest.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        if bytes > BUNDLE_BYTES_MAX {
            return Err(DepotError::TooLarge { bytes, bytes_max: BUNDLE_BYTES_MAX });
        }
        let key = object_key::bundle_signature(name, folder);
        let signature = found(self.wait(self.store.read(&key, signature::BYTES_MAX)))?;
        let signature = signature.map(|text| String::from_utf8_lossy(&text).into_owned());
        let folder = object_key::bundle_version(name, folder);
        Ok(Some(Offer { folder, json, sha256: found_digest, manifest, signature }))
    }

    /// Key and description of an offer's archive.
    ///
    /// # Errors
    /// None or several of them, too large a one, the store.
    pub fn archive(&self, offer: &Offer) -> Result<(String, Identity), DepotError> {
        for name in ARCHIVES {
            let key = format!("{}{name}", offer.folder);
            if let Some(info) = found(self.wait(self.store.head(&key)))? {
                return Ok((key, identity(&info)?));
            }
        }
        let page = self.wait(self.store.list(&offer.folder, None, PAGE_OBJECTS_MAX))?;
        let is_archive = |key: &str| ARCHIVE_ENDS.iter().any(|end| key.ends_with(end));
        let mut archives = page.objects.into_iter().filter(|row| is_archive(&row.key)).collect::<Vec<_>>();
        match (archives.len(), archives.pop()) {
            (1, Some(row)) => Ok((row.key, identity(&row.info)?)),
            (count, _) => Err(DepotError::Archive { folder: offer.folder.clone(), count }),
        }
    }

    /// Fetches what is missing of a download.
    ///
    /// # Errors
    /// See [`fetch::FetchError`].
    pub fn fetch(
        &self,
        key: &str,
        identity: &Identity,
        download: &Download,
        progress: &dyn Progress,
    ) -> Result<(), fetch::FetchError> {
        self.wait(fetch::parts(&self.store, key, identity, download, progress))
    }

    /// Every version in the store, of one bundle or of all, in byte order.
    ///
    /// # Errors
    /// The store.
    pub fn list(&self, name: Option<&str>) -> Result<Vec<Listed>, DepotError> {
        let prefix = name.map_or_else(|| object_key::BUNDLES.to_owned(), object_key::bundle);
        let (mut found, mut after, mut seen) = (Vec::new(), None::<String>, 0);
        loop {
            let page = self.wait(self.store.list(&prefix, after.as_deref(), PAGE_OBJECTS_MAX))?;
            seen += page.objects.len();
            for row in &page.objects {
                let path = row.key.strip_prefix(object_key::BUNDLES).unwrap_or_default();
                if let [name, version, manifest::FILE_NAME] = path.split('/').collect::<Vec<_>>()[..] {
                    found.push((name.to_owned(), version.to_owned()));
                }
            }
            after = page.next;
            if after.is_none() || seen >= LISTED_MAX {
                break;
            }
        }
        let mut listed = Vec::new();
        let mut latest = (String::new(), None);
        for (name, version) in found {
            if latest.0 != name {
                latest = (name.clone(), self.pointer(&name)?.map(|(pointer, _)| pointer.version));
            }
            let is_latest = latest.1.as_deref() == Some(&version);
            listed.push(Listed { name, version, latest: is_latest });
        }
        Ok(listed)
    }
}

fn identity(info: &ObjectInfo) -> Result<Identity, DepotError> {
    if info.bytes > BUNDLE_BYTES_MAX {
        return Err(DepotError::TooLarge { bytes: info.bytes, bytes_max: BUNDLE_BYTES_MAX });
    }
    Ok(Identity { bytes: info.bytes, etag: info.etag.clone().unwrap_or_default() })
}

/// `None` for an object that is not there.
pub(super) fn found<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
