//! Building a bundle: wheel, or an operator's files → files and manifest → self-test → renamed into place.

use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{FILE_NAME, Manifest};

use crate::onnx::{Described, DescribedError};
use crate::place::{self, Lock, Partial, PlaceError};
use crate::progress::Progress;
use crate::recipe::community1::{self, Community1Error, Repository, Variant};
use crate::recipe::{Recipe, RecipeError};
use crate::selftest::{self, SelfTestError};
use crate::verify::{self, VerifyError};
use crate::wheel::{self, Source, WheelError};

/// Why a bundle could not be built. Nothing of it is left behind in any case.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The package it is made from could not be had.
    #[error("the package that the bundle is made from could not be had")]
    Wheel(#[from] WheelError),
    /// The package did not give the networks.
    #[error("the package could not be converted")]
    Recipe(#[from] RecipeError),
    /// The repository's files did not give the networks.
    #[error("the files could not be converted")]
    Community1(#[source] Box<Community1Error>),
    /// What the user described is not what is there.
    #[error("the bundle is not as its manifest says")]
    Described(#[source] Box<DescribedError>),
    /// Another bundle of the same name and version is installed.
    #[error("another bundle is installed as version `{version}`")]
    OtherContents {
        /// The version.
        version: String,
    },
    /// The worker could not prove the networks.
    #[error("the networks could not be tested")]
    SelfTest(#[from] SelfTestError),
    /// What was written is not what was to be written.
    #[error("the bundle that was built is not whole")]
    Verify(#[from] VerifyError),
    /// The worker changed more of the manifest than its self-test, or nothing at all.
    #[error("the worker left a manifest that {what}")]
    Manifest {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl From<Community1Error> for BuildError {
    fn from(error: Community1Error) -> Self {
        Self::Community1(Box::new(error))
    }
}

impl From<DescribedError> for BuildError {
    fn from(error: DescribedError) -> Self {
        Self::Described(Box::new(error))
    }
}

/// What [`build`] works with.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Where the bundle goes.
    pub home: &'a Home,
    /// Where the wheel comes from.
    pub source: &'a Source,
    /// The program that runs the self-test; without one, the bundle stays unproven and is built anew next time.
    pub worker: Option<&'a Path>,
}

/// A bundle that lies in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it had to be built.
    pub fresh: bool,
}

/// Builds a bundle into the home folder and makes it the current one, unless it is there, whole and tested already.
/// Several processes may do so at once: one builds, the others wait and find it.
///
/// # Errors
/// Any [`BuildError`].
pub fn build(recipe: &Recipe, options: &Options<'_>, progress: &dyn Progress) -> Result<Built, BuildError> {
    let order = Order { name: recipe.name, version: recipe.version, contents: None };
    install(&order, options.home, options.worker, progress, |lock| {
        let wheel = wheel::obtain(&recipe.pin, options.source, &options.home.cache(), lock, progress)?;
        let made = (recipe.make)(&wheel, progress)?;
        drop(wheel);
        let partial = lock.partial()?;
        for file in &made.files {
            partial.write(&format!("{NEW}/{}", file.path), &file.content)?;
        }
        Ok((partial, recipe.manifest(&made)))
    })
}

/// Builds community-1 from the repository's files, as [`build`] does.
///
/// # Errors
/// Any [`BuildError`].
pub fn community1(
    repository: &Repository,
    variant: &Variant,
    home: &Home,
    worker: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let version = repository.version(variant);
    let order = Order { name: community1::NAME, version: &version, contents: None };
    install(&order, home, worker, progress, |lock| {
        let (files, manifest) = repository.convert(variant, progress)?;
        let partial = lock.partial()?;
        for file in &files {
            partial.write(&format!("{NEW}/{}", file.path), &file.content)?;
        }
        Ok((partial, manifest))
    })
}

/// Installs a bundle that a user described, as [`build`] does. What is installed under the same version has to be the
/// same.
///
/// # Errors
/// Any [`BuildError`].
pub fn described(
    bundle: &Described,
    home: &Home,
    worker: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let manifest = bundle.manifest();
    let order = Order { name: &manifest.name, version: &manifest.version, contents: Some(manifest) };
    install(&order, home, worker, progress, |lock| {
        let partial = lock.partial()?;
        for file in &manifest.files {
            progress.step(&format!("checking {}", file.path));
            partial.write(&format!("{NEW}/{}", file.path), &bundle.read_file(file)?)?;
        }
        Ok((partial, manifest.clone()))
    })
}

/// The folder of a new bundle inside its partial one.
const NEW: &str = "new";

/// What is to lie in place.
struct Order<'a> {
    name: &'a str,
    version: &'a str,
    /// What a bundle of this version has to say of itself, but for its self-test.
    contents: Option<&'a Manifest>,
}

impl Order<'_> {
    /// Whether a whole bundle of this name and version lies in `folder`.
    ///
    /// # Errors
    /// [`BuildError::OtherContents`].
    fn is_whole(&self, folder: &Path, tested: bool) -> Result<bool, BuildError> {
        let Ok(mut manifest) = verify::bundle(folder) else {
            return Ok(false);
        };
        let proven = manifest.selftest.take().is_some() || !tested;
        if self.contents.is_some_and(|contents| *contents != manifest) {
            return Err(BuildError::OtherContents { version: self.version.to_owned() });
        }
        Ok(manifest.name == self.name && manifest.version == self.version && proven)
    }
}

/// Puts what `make` writes below [`NEW`] in place, proven by the worker if there is one.
fn install(
    order: &Order<'_>,
    home: &Home,
    worker: Option<&Path>,
    progress: &dyn Progress,
    make: impl FnOnce(&Lock) -> Result<(Partial, Manifest), BuildError>,
) -> Result<Built, BuildError> {
    let folder = home.bundle_version(order.name, order.version);
    let mut fresh = false;
    if !order.is_whole(&folder, worker.is_some())? {
        let what = format!("bundle-{}", order.name);
        let lock = Lock::acquire(home, &what, || progress.step("waiting for another build of this bundle"))?;
        fresh = !order.is_whole(&folder, worker.is_some())?;
        if fresh {
            let (partial, manifest) = make(&lock)?;
            prove(&partial, &manifest, home, worker, progress)?;
            partial.publish(NEW, &folder)?;
        }
    }
    place::point(&home.bundle_current(order.name), order.version)?;
    Ok(Built { folder, fresh })
}

/// Writes the manifest, has the worker add its self-test, and checks the whole.
fn prove(
    partial: &Partial,
    manifest: &Manifest,
    home: &Home,
    worker: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    partial.write(&format!("{NEW}/{FILE_NAME}"), manifest.to_json().as_bytes())?;
    let new = partial.path().join(NEW);
    if let Some(worker) = worker {
        progress.step("testing the networks");
        selftest::record(worker, home, &new)?;
    }
    check(manifest, verify::bundle(&new)?, worker.is_some())
}

/// The manifest on disk may differ from ours by its self-test only, and must where one was run.
fn check(ours: &Manifest, mut written: Manifest, tested: bool) -> Result<(), BuildError> {
    let selftest = written.selftest.take();
    if *ours != written {
        return Err(BuildError::Manifest { what: "differs from the one it was given" });
    }
    if tested && selftest.is_none() {
        return Err(BuildError::Manifest { what: "has no self-test" });
    }
    Ok(())
}
