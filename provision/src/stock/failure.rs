//! What a user is told when a command that works with a store fails.

use common::port::object_store::StoreError;

use super::address::BundleAddressError;
use super::depot::DepotError;
use super::ensure::EnsureError;
use super::fetch::FetchError;
use super::push::PushError;
use super::release::ReleaseError;
use super::runtime::StockedRuntimeError;
use super::signature::{PolicyError, SignatureError};
use super::switch::SwitchError;
use crate::failure::{Failure, Stock, StockFailure, disk, of_place, of_selftest, of_verify};
use crate::selftest::SelfTestError;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No store is known.
    #[error("no store is known")]
    NoStore,
    /// Not the name of a bundle.
    #[error(transparent)]
    Address(BundleAddressError),
    /// The signature policy.
    #[error(transparent)]
    Policy(PolicyError),
    /// Nobody can prove a bundle.
    #[error("the bundle cannot be tested")]
    NoWorker(#[source] SelfTestError),
    /// Not a device.
    #[error("not a device: `{text}`")]
    Device {
        /// What was given.
        text: String,
    },
    /// The machine cannot be a worker.
    #[error("{failed} of {of} checks failed")]
    Preflight {
        /// Failures.
        failed: usize,
        /// Checks.
        of: usize,
    },
    /// Reading a store.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// `ensure`.
    #[error("the bundle was not installed")]
    Ensure(#[from] EnsureError),
    /// `push`.
    #[error("the bundle was not pushed")]
    Push(#[from] PushError),
    /// `release push`.
    #[error("the release was not pushed")]
    Release(#[from] ReleaseError),
    /// `pack-runtime`, `runtime --store`.
    #[error("ONNX Runtime was not moved")]
    Runtime(#[from] StockedRuntimeError),
    /// `rollback`, `gc`.
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Stock(Stock(Box::new(refused)))
    }
}

impl StockFailure for Refused {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NoStore
            | Self::Address(_)
            | Self::Policy(_)
            | Self::Device { .. }
            | Self::Release(ReleaseError::Version { .. }) => 2,
            Self::Depot(error) | Self::Push(PushError::Depot(error)) => of_depot(error).0,
            Self::Ensure(EnsureError::Depot(error)) => of_depot(error).0,
            Self::Release(ReleaseError::Push(PushError::Depot(error))) => of_depot(error).0,
            Self::Runtime(
                StockedRuntimeError::Depot(error) | StockedRuntimeError::Push(PushError::Depot(error)),
            ) => of_depot(error).0,
            Self::Runtime(StockedRuntimeError::Fetch(FetchError::Store(error))) => of_store(error).0,
            Self::Ensure(EnsureError::Fetch(FetchError::Store(error))) => of_store(error).0,
            _ => 1,
        }
    }

    fn hints(&self) -> Vec<String> {
        let say = |text: &str| vec![text.to_owned()];
        match self {
            Self::NoStore => say(
                "name one with `--store URL` (`push`, `pack-runtime` and `release push`: as an argument), or set \
                 `ROLLCALL_STORE_URL`",
            ),
            Self::Device { .. } => say("`auto`, `cpu`, `cuda` or `cuda:N`"),
            Self::Preflight { .. } => say("each failed check says above what to do"),
            Self::Address(_) => say("NAME, NAME@VERSION or s3://bucket/prefix/bundles/NAME[@VERSION]"),
            Self::Policy(PolicyError::NotAKey { .. }) => {
                say("`minisign -G` makes a pair; give the public key")
            }
            Self::Policy(PolicyError::NoKeys) => {
                say("name one with `--key KEY`, or set `ROLLCALL_BUNDLE_KEYS`")
            }
            Self::NoWorker(error) => of_selftest(error),
            Self::Depot(error) => of_depot(error).1,
            Self::Ensure(error) => of_ensure(error),
            Self::Push(error) => of_push(error),
            Self::Release(ReleaseError::Push(error)) => of_push(error),
            Self::Release(ReleaseError::NoProgram { .. }) => {
                say("build them with `cargo build --release`, and name their folder with `--programs DIR`")
            }
            Self::Release(ReleaseError::Unreadable { .. } | ReleaseError::Version { .. }) => Vec::new(),
            Self::Release(ReleaseError::Place(error)) => of_place(error),
            Self::Runtime(StockedRuntimeError::NotHere { .. }) => {
                say("`rollcall-provision runtime` installs it")
            }
            Self::Runtime(StockedRuntimeError::NotThere { .. }) => {
                say("`rollcall-provision pack-runtime` puts it there, from a machine that has it")
            }
            Self::Runtime(StockedRuntimeError::Depot(error)) => of_depot(error).1,
            Self::Runtime(StockedRuntimeError::Fetch(FetchError::Store(error))) => of_store(error).1,
            Self::Runtime(StockedRuntimeError::Push(error)) => of_push(error),
            Self::Runtime(StockedRuntimeError::Place(error)) => of_place(error),
            Self::Runtime(_) => Vec::new(),
            Self::Switch(SwitchError::Verify(error)) => of_verify(error),
            Self::Switch(SwitchError::Place(error)) => of_place(error),
            Self::Switch(SwitchError::NoPrevious { .. }) => say("name a version with `--to VERSION`"),
            Self::Switch(SwitchError::NotInstalled { name, version }) => {
                vec![format!("`rollcall-provision ensure {name}@{version}` installs it from the store")]
            }
            Self::Switch(SwitchError::Unreadable { .. }) => Vec::new(),
        }
    }
}

fn of_ensure(error: &EnsureError) -> Vec<String> {
    match error {
        EnsureError::Depot(error) => of_depot(error).1,
        EnsureError::Fetch(FetchError::Store(error)) => {
            let mut hints = of_store(error).1;
            hints.push("run it again to go on; what was fetched is kept".to_owned());
            hints
        }
        EnsureError::Fetch(FetchError::Changed { .. }) => {
            vec!["somebody replaced a version in the store, which must not be; run it again".to_owned()]
        }
        EnsureError::Fetch(FetchError::Place(error)) | EnsureError::Place(error) => of_place(error),
        EnsureError::NoRoom { .. } => vec![disk()],
        EnsureError::Signature { source, .. } => of_signature(source),
        EnsureError::Archive { .. } => vec![
            "what this machine had before is untouched; the archive in the store is damaged or not what it claims: push the version under another number".to_owned(),
        ],
        EnsureError::Verify(error) => of_verify(error),
        EnsureError::SelfTest(error) => of_selftest(error),
    }
}

fn of_push(error: &PushError) -> Vec<String> {
    match error {
        PushError::Verify(error) => of_verify(error),
        PushError::Untested { .. } => {
            vec!["record one with `rollcall-worker selftest --record FOLDER`".to_owned()]
        }
        PushError::Signature(error) => of_signature(error),
        PushError::Taken { .. } => {
            vec!["give the bundle another version; if an earlier push was broken off and nobody uses it, delete the key".to_owned()]
        }
        PushError::PointerMoved { .. } => {
            vec!["`rollcall-provision list --store URL` shows where it is; `rollback NAME --to VERSION --store URL` moves it".to_owned()]
        }
        PushError::Depot(error) => of_depot(error).1,
        PushError::Place(error) => of_place(error),
        PushError::Pack(_) => Vec::new(),
    }
}

fn of_signature(error: &SignatureError) -> Vec<String> {
    vec![match error {
        SignatureError::Missing => {
            "sign it with `minisign -Sm manifest.json` and push it with `--signature FILE`".to_owned()
        }
        SignatureError::Malformed { .. } => "it has to be what `minisign -Sm manifest.json` wrote".to_owned(),
        SignatureError::Untrusted => {
            "check which keys are trusted here: `--key`, `ROLLCALL_BUNDLE_KEYS`".to_owned()
        }
    }]
}

/// Exit code and hints.
fn of_depot(error: &DepotError) -> (u8, Vec<String>) {
    match error {
        DepotError::Store(error) => of_store(error),
        DepotError::NoBundle { .. } | DepotError::NoVersion { .. } => {
            (1, vec!["`rollcall-provision list --store URL` shows what it holds".to_owned()])
        }
        DepotError::Pointer { .. } | DepotError::ManifestDigest { .. } => (
            1,
            vec![
                "`rollcall-provision rollback NAME --to VERSION --store URL` writes the pointer anew"
                    .to_owned(),
            ],
        ),
        DepotError::Manifest { .. } => {
            (1, vec!["it may have been written by another version of Rollcall".to_owned()])
        }
        _ => (1, Vec::new()),
    }
}

/// Exit code and hints.
fn of_store(error: &StoreError) -> (u8, Vec<String>) {
    match error {
        StoreError::Unavailable { .. } => (
            3,
            vec!["check the address, `AWS_ENDPOINT_URL_S3` and the network; `rollcall-provision preflight` looks at all of it".to_owned()],
        ),
        StoreError::Forbidden { .. } => {
            (3, vec!["check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` or `AWS_PROFILE`, and what they may read".to_owned()])
        }
        StoreError::Rejected { .. } => (2, Vec::new()),
        _ => (1, Vec::new()),
    }
}
