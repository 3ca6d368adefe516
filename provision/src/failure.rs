//! What a user is told when something fails: hints and the exit code, decided by the kind of error in one place.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;

use common::config::SettingsError;
use common::model::manifest::ManifestError;
use common::model::onnx::OnnxError;

use crate::build::BuildError;
use crate::onnx::DescribedError;
use crate::place::PlaceError;
use crate::recipe::community1::Community1Error;
use crate::runtime::RuntimeError;
use crate::selftest::SelfTestError;
use crate::verify::VerifyError;
use crate::wheel::WheelError;

/// Anything a command of `rollcall-provision` can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No home folder is known.
    #[error("there is no folder to keep bundles in: neither `ROLLCALL_HOME` nor `HOME` is set")]
    NoHome,
    /// No recipe of that name.
    #[error("there is no recipe for a bundle named `{name}`")]
    NoRecipe {
        /// The name.
        name: String,
    },
    /// An option of another bundle.
    #[error("`{option}` does not go with bundle `{name}`")]
    NotForThisBundle {
        /// The option.
        option: &'static str,
        /// The bundle.
        name: String,
    },
    /// community-1 without its files.
    #[error("bundle `community-1` is made from files that you bring")]
    NoFiles,
    /// A described bundle without its description.
    #[error("bundle `onnx` needs a manifest that describes it")]
    NoManifest,
    /// No such installed bundle.
    #[error("no bundle named `{name}` is installed")]
    NotInstalled {
        /// The name.
        name: String,
    },
    /// ONNX Runtime.
    #[error("ONNX Runtime could not be installed")]
    Runtime(#[from] RuntimeError),
    /// Building.
    #[error("bundle `{name}` could not be built")]
    Build {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: BuildError,
    },
    /// Checking.
    #[error("the bundle is not whole")]
    Verify(#[from] VerifyError),
    /// The worker that a build needs.
    #[error("bundle `{name}` cannot be tested")]
    NoWorker {
        /// Which bundle.
        name: String,
        /// Why.
        #[source]
        source: SelfTestError,
    },
    /// What works with a store.
    #[error(transparent)]
    Stock(Stock),
    /// The settings file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The home folder, or the output.
    #[error("cannot read or write")]
    Io(#[from] std::io::Error),
}

/// A failure of a command that works with a store; such commands may be left out of a build.
pub trait StockFailure: Error + Send + Sync + 'static {
    /// See [`Failure::exit_code`].
    fn exit_code(&self) -> u8;
    /// See [`Failure::hints`].
    fn hints(&self) -> Vec<String>;
}

/// Any [`StockFailure`].
#[derive(Debug)]
pub struct Stock(pub Box<dyn StockFailure>);

impl fmt::Display for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Stock {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Failure {
    /// 1 the request failed; 2 wrong usage or configuration; 3 the package registry or a service cannot be reached.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoHome
            | Self::NoRecipe { .. }
            | Self::NotForThisBundle { .. }
            | Self::NoFiles
            | Self::NoManifest
            | Self::Settings(_) => 2,
            Self::Stock(failure) => failure.0.exit_code(),
            Self::Runtime(RuntimeError::Wheel(WheelError::Download { .. }))
            | Self::Build { source: BuildError::Wheel(WheelError::Download { .. }), .. } => 3,
            _ => 1,
        }
    }

    /// What to try.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NoHome => vec!["set `ROLLCALL_HOME` to a folder with 200 MB to spare".to_owned()],
            Self::NoRecipe { .. } => {
                vec!["what can be built is `starter`, `community-1` and `onnx`".to_owned()]
            }
            Self::NotForThisBundle { .. } => {
                vec!["`rollcall-provision build --help` says which option is for which bundle".to_owned()]
            }
            Self::NoFiles => vec![
                "pass `--from DIR`: the files of pyannote/speaker-diarization-community-1, or a hub cache"
                    .to_owned(),
            ],
            Self::NoManifest => {
                vec!["pass `--manifest FILE`; `provision/BUNDLES.md` has an example".to_owned()]
            }
            Self::NotInstalled { .. } => vec!["`rollcall-provision list` shows what is installed".to_owned()],
            Self::Runtime(error) => of_runtime(error),
            Self::Build { source, .. } => of_build(source),
            Self::Verify(error) => of_verify(error),
            Self::NoWorker { source, .. } => of_selftest(source),
            Self::Stock(failure) => failure.0.hints(),
            Self::Settings(_) | Self::Io(_) => Vec::new(),
        }
    }
}

fn of_runtime(error: &RuntimeError) -> Vec<String> {
    match error {
        RuntimeError::Platform { .. } => vec![
            "put an ONNX Runtime of your own at `ROLLCALL_HOME/runtimes/onnxruntime/VERSION/libonnxruntime.so`"
                .to_owned(),
        ],
        RuntimeError::Wheel(error) => of_wheel(error),
        RuntimeError::Unpack(_) => Vec::new(),
        RuntimeError::Place(error) => of_place(error),
    }
}

fn of_build(error: &BuildError) -> Vec<String> {
    match error {
        BuildError::Wheel(error) => of_wheel(error),
        BuildError::SelfTest(error) => of_selftest(error),
        BuildError::Verify(error) => of_verify(error),
        BuildError::Place(error) => of_place(error),
        BuildError::Manifest { .. } => vec![same_checkout()],
        BuildError::Recipe(_) => Vec::new(),
        BuildError::Community1(error) => of_community1(error),
        BuildError::Described(error) => of_described(error),
        BuildError::OtherContents { .. } => {
            vec!["a version never changes: raise `version` in the manifest".to_owned()]
        }
    }
}

fn of_community1(error: &Community1Error) -> Vec<String> {
    match error {
        Community1Error::Missing { .. } => vec![
            "accept the conditions of pyannote/speaker-diarization-community-1, download its files, and pass their folder, or the hub cache they are in".to_owned(),
        ],
        _ => Vec::new(),
    }
}

fn of_described(error: &DescribedError) -> Vec<String> {
    match error {
        DescribedError::Manifest { .. } => vec!["`provision/BUNDLES.md` explains every key".to_owned()],
        DescribedError::Reserved { .. } => vec!["give the bundle another `name`".to_owned()],
        DescribedError::Differs { .. } => vec![
            "`sha256sum FILE` and `stat -c %s FILE` tell what belongs into the manifest, if this is the file you mean"
                .to_owned(),
        ],
        DescribedError::Network { source: OnnxError::External { .. }, .. } => vec![
            "save the network as one file: `onnx.save(model, path, save_as_external_data=False)`".to_owned(),
        ],
        _ => Vec::new(),
    }
}

fn of_wheel(error: &WheelError) -> Vec<String> {
    let offline = |requirement: &str| {
        format!(
            "or copy the wheel of {requirement} (built for cp311, manylinux_2_28_x86_64) into a folder and pass `--from DIR`"
        )
    };
    match error {
        WheelError::NoPython { requirement, .. } => vec![
            "install Python 3 with pip (Debian: `apt-get install python3-pip`), or name one with `--python PATH`".to_owned(),
            offline(requirement),
        ],
        WheelError::NoPip { requirement, .. } => vec![
            "install pip (Debian: `apt-get install python3-pip`), or name another Python with `--python PATH`".to_owned(),
            offline(requirement),
        ],
        WheelError::Download { requirement, complaint } if complaint.contains("No space left") => {
            vec![disk(), offline(requirement)]
        }
        WheelError::Download { requirement, .. } => vec![
            "check that this machine reaches its package registry; `python3 -m pip config list` shows which one pip uses".to_owned(),
            offline(requirement),
        ],
        WheelError::Digest { .. } => vec![
            "the file was damaged on the way, or the registry serves another one: delete it and try again".to_owned(),
        ],
        WheelError::NotInFolder { .. } => {
            vec!["leave out `--from` to download it".to_owned()]
        }
        WheelError::Place(error) => of_place(error),
    }
}

pub(crate) fn of_selftest(error: &SelfTestError) -> Vec<String> {
    match error {
        SelfTestError::NoWorker => vec![
            "build it with `cargo build --release -p worker`, or name it with `--worker PATH`".to_owned(),
        ],
        SelfTestError::Start { .. } | SelfTestError::Failed { .. } | SelfTestError::Hangs => {
            vec![same_checkout()]
        }
    }
}

pub(crate) fn of_verify(error: &VerifyError) -> Vec<String> {
    match error {
        VerifyError::Manifest {
            source: ManifestError::Schema { .. } | ManifestError::Malformed(_), ..
        } => {
            vec!["it may have been written by another version of Rollcall".to_owned()]
        }
        _ => vec!["build it again with `rollcall-provision build NAME`".to_owned()],
    }
}

pub(crate) fn of_place(error: &PlaceError) -> Vec<String> {
    match error.source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => vec![disk()],
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            vec!["set `ROLLCALL_HOME` to a folder that you may write to".to_owned()]
        }
        _ => Vec::new(),
    }
}

pub(crate) fn disk() -> String {
    "free 300 MB, or set `ROLLCALL_HOME` and `TMPDIR` to folders on another disk".to_owned()
}

fn same_checkout() -> String {
    format!("run the `{}` of the same version: `{0} --version`", crate::selftest::WORKER)
}
