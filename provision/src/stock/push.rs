//! `push`: puts a bundle into a store.
//!
//! Archive, signature, manifest, pointer, in this order: a version exists for readers when its manifest does, and it is
//! the newest when the pointer says so. A version never changes; pushing the same again does what is missing of it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{self, FILE_NAME, Manifest};
use common::object_key;
use common::port::object_store::content::Content;
use common::port::object_store::{ByteRange, Condition, ObjectStore as _, PutOptions, StoreError};
use sha2::{Digest as _, Sha256};

use super::depot::{Depot, DepotError, Pointer, found};
use super::signature::{self, Policy, SignatureError};
use super::tarball::{self, Member, Packed, TarballError};
use crate::digest;
use crate::place::{At as _, Lock, PlaceError};
use crate::progress::Progress;
use crate::verify::{self, VerifyError};

/// Why a bundle was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It is not whole.
    #[error("the bundle is not whole")]
    Verify(#[from] VerifyError),
    /// No worker would take it.
    #[error("the bundle has no self-test: `{}`", folder.display())]
    Untested {
        /// The bundle.
        folder: PathBuf,
    },
    /// The signature is not over this manifest.
    #[error("the signature does not fit")]
    Signature(#[from] SignatureError),
    /// It could not be packed.
    #[error("the bundle could not be packed")]
    Pack(#[from] TarballError),
    /// This version is in the store with other content.
    #[error("the store has another `{key}`; a version never changes")]
    Taken {
        /// The key.
        key: String,
    },
    /// Somebody moved the pointer meanwhile.
    #[error("the pointer of `{name}` was moved by somebody else meanwhile")]
    PointerMoved {
        /// The bundle.
        name: String,
    },
    /// The store.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// What to push.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Where the archive is made.
    pub home: &'a Home,
    /// A minisign signature of the manifest.
    pub signature: Option<&'a Path>,
    /// Whose signatures are believed.
    pub policy: &'a Policy,
    /// Whether to make it the newest.
    pub latest: bool,
}

/// A version in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Name and version.
    pub bundle: String,
    /// SHA-256 of its manifest.
    pub sha256: String,
    /// Whether anything of it was new to the store.
    pub fresh: bool,
}

/// Pushes the bundle in `folder`.
///
/// # Errors
/// Any [`PushError`]. The pointer then names what it named before.
pub fn push(
    depot: &Depot,
    folder: &Path,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Pushed, PushError> {
    progress.step(&format!("checking {}", folder.display()));
    let manifest = verify::bundle(folder)?;
    if manifest.selftest.is_none() {
        return Err(PushError::Untested { folder: folder.to_owned() });
    }
    let json = read(&folder.join(FILE_NAME), manifest::BYTES_MAX)?;
    let signature = options.signature.map(|path| read(path, signature::BYTES_MAX)).transpose()?;
    let text = signature.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    options.policy.check(&json, text.as_deref())?;
    let (name, version) = (manifest.name.as_str(), manifest.version.as_str());
    let bundle = format!("{name}@{version}");
    let sha256 = digest::of(&json);
    // Looked at before anything is sent: whoever moves it from now on has the last word.
    let seen = depot.pointer(name)?;

    let manifest_key = object_key::bundle_manifest(name, version);
    let there = found(depot.wait(depot.store().read(&manifest_key, manifest::BYTES_MAX)));
    let there = there.map_err(DepotError::Store)?;
    if there.as_ref().is_some_and(|there| *there != json) {
        return Err(PushError::Taken { key: manifest_key });
    }
    let mut fresh = there.is_none();
    if fresh {
        send_archive(depot, &manifest, (&json, &sha256), folder, options.home, progress)?;
    }
    if let Some(signature) = signature {
        let key = object_key::bundle_signature(name, version);
        let options = PutOptions { content_type: Some("text/plain".to_owned()), ..PutOptions::default() };
        depot.wait(depot.store().put(&key, Content::from(signature), &options)).map_err(DepotError::Store)?;
    }
    if fresh {
        let described = Packed { sha256: sha256.clone(), bytes: json.len() as u64 };
        put_once(depot, &manifest_key, Content::from(json), &described, "application/json")?;
    }
    let to = Pointer { version: version.to_owned(), sha256: sha256.clone() };
    if options.latest && seen.as_ref().map(|(pointer, _)| pointer) != Some(&to) {
        progress.step(&format!("making {bundle} the newest"));
        move_pointer(depot, name, &to, seen.as_ref().map(|(_, etag)| etag.as_str()))?;
        fresh = true;
    }
    Ok(Pushed { bundle, sha256, fresh })
}

fn send_archive(
    depot: &Depot,
    manifest: &Manifest,
    (json, sha256): (&[u8], &str),
    folder: &Path,
    home: &Home,
    progress: &dyn Progress,
) -> Result<(), PushError> {
    let (name, version) = (manifest.name.as_str(), manifest.version.as_str());
    let lock = Lock::acquire(home, &format!("push-{name}"), || {
        progress.step(&format!("waiting for another process that pushes {name}"));
    })?;
    let partial = lock.partial()?;
    let archive = partial.path().join("bundle.tar.zst");
    progress.step(&format!("packing {name}@{version}"));
    let packed = tarball::pack(folder, &members(manifest, json, sha256), &archive)?;
    let size = packed.bytes as f64 / 1e6;
    progress.step(&format!("sending {name}@{version} to {} ({size:.1} MB)", depot.address()));
    let key = object_key::bundle_archive(name, version);
    put_once(depot, &key, Content::File(archive), &packed, "application/zstd")?;
    Ok(())
}

/// Makes a version that is in the store the newest, whichever was.
///
/// # Errors
/// Any [`PushError`].
pub fn promote(depot: &Depot, name: &str, version: &str) -> Result<Pointer, PushError> {
    let seen = depot.pointer(name)?;
    let offer = depot.offer(name, Some(version))?;
    let to = Pointer { version: offer.manifest.version, sha256: offer.sha256 };
    move_pointer(depot, name, &to, seen.as_ref().map(|(_, etag)| etag.as_str()))?;
    Ok(to)
}

fn move_pointer(depot: &Depot, name: &str, to: &Pointer, seen: Option<&str>) -> Result<(), PushError> {
    depot.move_pointer(name, to, seen).map_err(|error| match error {
        DepotError::Store(StoreError::PreconditionFailed { .. } | StoreError::NotFound { .. }) => {
            PushError::PointerMoved { name: name.to_owned() }
        }
        other => other.into(),
    })
}

/// Writes an object that must not be there, or must be the same; says whether it was new.
pub(super) fn put_once(
    depot: &Depot,
    key: &str,
    content: Content,
    described: &Packed,
    media: &str,
) -> Result<bool, PushError> {
    let store = depot.store();
    let options = PutOptions { condition: Condition::IfAbsent, content_type: Some(media.to_owned()) };
    match depot.wait(store.put(key, content, &options)) {
        Ok(_) => return Ok(true),
        Err(StoreError::PreconditionFailed { .. }) => {}
        Err(error) => return Err(DepotError::from(error).into()),
    }
    let same = depot.wait(async {
        let mut object = store.get(key, ByteRange::ALL).await?;
        if object.info.bytes != described.bytes {
            return Ok(false);
        }
        let mut hash = Sha256::new();
        while let Some(bytes) = object.body.next().await? {
            hash.update(&bytes);
        }
        Ok(digest::hex(&hash.finalize()) == described.sha256)
    });
    match same.map_err(DepotError::Store)? {
        true => Ok(false),
        false => Err(PushError::Taken { key: key.to_owned() }),
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, PlaceError> {
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut content)).at("read", path)?;
    Ok(content)
}

/// The manifest first, so that whoever unpacks by hand sees it first.
fn members(manifest: &Manifest, json: &[u8], sha256: &str) -> Vec<Member> {
    let itself = Member {
        path: FILE_NAME.to_owned(),
        bytes: json.len() as u64,
        sha256: sha256.to_owned(),
        required: true,
    };
    let files = manifest.files.iter().map(|file| Member {
        path: file.path.clone(),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        required: true,
    });
    std::iter::once(itself).chain(files).collect()
}
