//! ONNX Runtime through a store: for machines that reach no package registry.
//!
//! `runtimes/onnxruntime/{version}/runtime.tar.zst` (`onnxruntime-gpu` for the build for GPUs with its CUDA libraries), and
//! beside it `manifest.json` with the digest of every file; the
//! manifest is written last, so a runtime is there whole or not at all.

use std::fs;
use std::path::Path;

use common::home::{Home, ONNXRUNTIME_VERSION};
use common::model::manifest::is_inside;
use common::object_key;
use common::port::object_store::ObjectStore as _;
use common::port::object_store::content::Content;
use serde::{Deserialize, Serialize};

use super::cache_dir::Identity;
use super::depot::{Depot, DepotError, found};
use super::fetch::FetchError;
use super::push::{PushError, put_once};
use super::tarball::{self, Member, Packed, TarballError};
use super::unpacked::{Archive, UnpackedError};
use crate::digest;
use crate::place::{At as _, Lock, PlaceError};
use crate::progress::Progress;
use crate::runtime::Kind;

const SCHEMA: &str = "rollcall/runtime/1";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Most files of a runtime.
const FILES_MAX: usize = 64;
/// What the lock of every installation of the library is called.
const LOCK: &str = "onnxruntime";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuntimeManifest {
    schema: String,
    name: String,
    version: String,
    files: Vec<RuntimeFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuntimeFile {
    path: String,
    bytes: u64,
    sha256: String,
}

/// Why the library did not get into the store, or out of it.
#[derive(Debug, thiserror::Error)]
pub enum StockedRuntimeError {
    /// It is not installed here.
    #[error("ONNX Runtime {version} is not installed here, or damaged")]
    NotHere {
        /// The version that this program works with.
        version: &'static str,
    },
    /// The store has none.
    #[error("the store has no ONNX Runtime {version}: {store}")]
    NotThere {
        /// The version that this program works with.
        version: &'static str,
        /// Its address.
        store: String,
    },
    /// The manifest in the store is none.
    #[error("the manifest `{key}` is refused: {detail}")]
    Manifest {
        /// Its key.
        key: String,
        /// Why.
        detail: String,
    },
    /// The archive lies.
    #[error("the archive of ONNX Runtime is refused")]
    Archive(#[source] TarballError),
    /// The archive did not arrive.
    #[error("the archive of ONNX Runtime could not be fetched")]
    Fetch(#[from] FetchError),
    /// It was not sent.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The store.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

fn manifest_key(kind: Kind) -> String {
    format!("{}manifest.json", object_key::runtime(kind.name(), ONNXRUNTIME_VERSION))
}

fn archive_key(kind: Kind) -> String {
    format!("{}runtime.tar.zst", object_key::runtime(kind.name(), ONNXRUNTIME_VERSION))
}

/// Puts the library that is installed here into a store; says whether it was new there.
///
/// # Errors
/// Any [`StockedRuntimeError`].
pub fn push(
    depot: &Depot,
    home: &Home,
    kind: Kind,
    progress: &dyn Progress,
) -> Result<bool, StockedRuntimeError> {
    if !kind.is_installed(home) {
        return Err(StockedRuntimeError::NotHere { version: ONNXRUNTIME_VERSION });
    }
    let folder = kind.folder(home);
    let members = members_in(&folder, kind)?;
    let files = members.iter().map(|member| RuntimeFile {
        path: member.path.clone(),
        bytes: member.bytes,
        sha256: member.sha256.clone(),
    });
    let manifest = RuntimeManifest {
        schema: SCHEMA.to_owned(),
        name: kind.name().to_owned(),
        version: ONNXRUNTIME_VERSION.to_owned(),
        files: files.collect(),
    };
    let json = serde_json::to_vec_pretty(&manifest).map_err(|error| StockedRuntimeError::Manifest {
        key: manifest_key(kind),
        detail: error.to_string(),
    })?;
    let lock = Lock::acquire(home, "push-runtime", || progress.step("waiting for another process"))?;
    let partial = lock.partial()?;
    let archive = partial.path().join("runtime.tar.zst");
    progress.step(&format!("packing ONNX Runtime {ONNXRUNTIME_VERSION}"));
    let packed = tarball::pack(&folder, &members, 0o755, &archive).map_err(PushError::Pack)?;
    progress.step(&format!("sending it to {} ({:.1} MB)", depot.address(), packed.bytes as f64 / 1e6));
    put_once(depot, &archive_key(kind), Content::File(archive), &packed, "application/zstd")?;
    let described = Packed { sha256: digest::of(&json), bytes: json.len() as u64 };
    Ok(put_once(depot, &manifest_key(kind), Content::from(json), &described, "application/json")?)
}

/// The files right in a folder.
fn members_in(folder: &Path, kind: Kind) -> Result<Vec<Member>, PlaceError> {
    let mut members = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)?.flatten() {
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if path.is_file() {
            let (sha256, bytes) = digest::of_file(&path, kind.file_bytes_max()).at("read", &path)?;
            members.push(Member { path: name, bytes, sha256, required: true });
        }
    }
    members.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(members)
}

/// Installs the library out of a store, unless it is there; says whether it had to.
///
/// # Errors
/// Any [`StockedRuntimeError`]; the folder is complete or absent afterwards.
pub fn ensure(
    depot: &Depot,
    home: &Home,
    kind: Kind,
    progress: &dyn Progress,
) -> Result<bool, StockedRuntimeError> {
    if kind.is_installed(home) {
        return Ok(false);
    }
    let lock = Lock::acquire(home, LOCK, || progress.step("waiting for another installation"))?;
    if kind.is_installed(home) {
        return Ok(false);
    }
    let members = offered(depot, kind)?;
    let key = archive_key(kind);
    let info = depot.wait(depot.store().head(&key)).map_err(DepotError::from)?;
    let identity = Identity { bytes: info.bytes, etag: info.etag.unwrap_or_default() };
    let bytes_max = kind.archive_bytes_max();
    if identity.bytes > bytes_max {
        return Err(DepotError::TooLarge { bytes: identity.bytes, bytes_max }.into());
    }
    let archive = Archive {
        depot,
        key,
        identity,
        members,
        title: format!("ONNX Runtime {ONNXRUNTIME_VERSION}"),
        cache: home.cache().join("runtimes"),
        name: format!("{}-{ONNXRUNTIME_VERSION}", kind.name()),
    };
    let partial = lock.partial()?;
    let new = partial.path().join("new");
    let download = archive.unpack(archive.open()?, &new, progress).map_err(|error| match error {
        UnpackedError::Fetch(error) => error.into(),
        UnpackedError::Archive(error) => StockedRuntimeError::Archive(error),
        UnpackedError::Place(error) => error.into(),
    })?;
    // Of one whose manifest lies nothing stays either.
    download.remove()?;
    if !kind.is_whole(&new) {
        let detail = format!("it does not describe a library with its `{}`", kind.list_file());
        return Err(StockedRuntimeError::Manifest { key: manifest_key(kind), detail });
    }
    partial.publish("new", &kind.folder(home))?;
    Ok(true)
}

fn offered(depot: &Depot, kind: Kind) -> Result<Vec<Member>, StockedRuntimeError> {
    let key = manifest_key(kind);
    let json = found(depot.wait(depot.store().read(&key, MANIFEST_BYTES_MAX))).map_err(DepotError::from)?;
    let json = json.ok_or_else(|| StockedRuntimeError::NotThere {
        version: ONNXRUNTIME_VERSION,
        store: depot.address().to_owned(),
    })?;
    let refused = |detail: String| StockedRuntimeError::Manifest { key: key.clone(), detail };
    let manifest: RuntimeManifest =
        serde_json::from_slice(&json).map_err(|error| refused(error.to_string()))?;
    if (manifest.schema.as_str(), manifest.name.as_str()) != (SCHEMA, kind.name())
        || manifest.version != ONNXRUNTIME_VERSION
    {
        let described = format!("`{}` of {} {}", manifest.schema, manifest.name, manifest.version);
        return Err(refused(format!("it describes {described}")));
    }
    if manifest.files.len() > FILES_MAX {
        return Err(refused(format!("it names more than {FILES_MAX} files")));
    }
    let member = |file: RuntimeFile| {
        if !is_inside(&file.path) || file.bytes > kind.file_bytes_max() {
            return Err(refused(format!("it names `{}` of {} bytes", file.path, file.bytes)));
        }
        Ok(Member { path: file.path, bytes: file.bytes, sha256: file.sha256, required: true })
    };
    manifest.files.into_iter().map(member).collect()
}
