//! `rollcall-provision`: makes, checks, keeps and passes on model bundles, and installs ONNX Runtime.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use common::config::Settings;
use common::environment;
use common::home::Home;
use provision::build::{self, BuildError, Built, Options};
use provision::cli::{Cli, Clustering, Command, SourceArgs};
use provision::failure::Failure;
use provision::onnx::Described;
use provision::output::{self, Steps};
use provision::progress::Progress;
use provision::recipe::Recipe;
use provision::recipe::community1::{self, Repository, Variant};
use provision::runtime::Kind;
use provision::wheel::Source;
use provision::{gpu_runtime, installed, runtime, selftest, stock, verify};

/// What `build` calls a bundle that a user describes.
const ONNX: &str = "onnx";

fn main() -> ExitCode {
    // What cannot be put in order is refused where it is read.
    let _ = environment::settle(&[]);
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let settings = Settings::read(cli.config.as_deref())?;
    let named = cli.home.or_else(|| settings.home.clone()).map(Home::at);
    let home = named.or_else(|| Home::from_environment(|name| std::env::var(name).ok()));
    let home = home.ok_or(Failure::NoHome)?;
    let steps = Steps::default();
    match cli.command {
        Command::Build { name, source, worker, no_selftest, manifest, sliding_mean, clustering } => {
            let worker = if no_selftest { None } else { Some(worker_of(&name, worker.as_deref())?) };
            let bench = Bench { home: &home, worker: worker.as_deref(), steps: &steps };
            let variant = Variant { sliding: sliding_mean, linkage: clustering == Clustering::Ahc };
            match name.as_str() {
                _ if name != community1::NAME && variant != Variant::EXACT => {
                    Err(Failure::NotForThisBundle { option: "--sliding-mean` and `--clustering", name })
                }
                onnx if onnx != ONNX && manifest.is_some() => {
                    Err(Failure::NotForThisBundle { option: "--manifest", name })
                }
                community1::NAME => build_community1(&bench, &source, &variant),
                ONNX => build_onnx(&bench, source, manifest.as_deref()),
                _ => build_recipe(&bench, &name, &source_of(source)),
            }
        }
        Command::Runtime { store: Some(store), gpu, .. } => {
            stock::install_runtime(&store, &home, kind_of(gpu), &steps)
        }
        Command::Runtime { store: None, gpu: true, source } => {
            install_gpu_runtime(&home, &source_of(source), &steps)
        }
        Command::Runtime { store: None, gpu: false, source } => {
            install_runtime(&home, &source_of(source), &steps)
        }
        Command::Verify { bundle } => verify(&home, bundle),
        Command::List { store: None, json } => Ok(output::bundles(&installed::bundles(&home)?, json)?),
        Command::List { store: Some(store), json } => stock::list(&store, json),
        Command::Stock(command) => stock::run(command, &home, &settings, &steps),
    }
}

fn source_of(arguments: SourceArgs) -> Source {
    arguments.from.map_or(Source::Registry { python: arguments.python }, Source::Folder)
}

fn worker_of(name: &str, named: Option<&Path>) -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe().ok();
    let path = std::env::var("PATH").unwrap_or_default();
    selftest::find_worker(named, beside.as_deref(), &path)
        .map_err(|source| Failure::NoWorker { name: name.to_owned(), source })
}

/// What every build works with.
struct Bench<'a> {
    home: &'a Home,
    worker: Option<&'a Path>,
    steps: &'a Steps,
}

impl Bench<'_> {
    fn runtime(&self, source: &Source) -> Result<(), Failure> {
        if self.worker.is_some() { install_runtime(self.home, source, self.steps) } else { Ok(()) }
    }

    fn tell(&self, name: &str, version: &str, built: Result<Built, BuildError>) -> Result<(), Failure> {
        let built = built.map_err(|source| Failure::Build { name: name.to_owned(), source })?;
        let state = if built.fresh { "built" } else { "was there already" };
        self.steps.step(&format!("bundle {name}@{version} {state}: {}", built.folder.display()));
        Ok(())
    }
}

fn build_recipe(bench: &Bench<'_>, name: &str, source: &Source) -> Result<(), Failure> {
    let recipe = Recipe::of(name).ok_or_else(|| Failure::NoRecipe { name: name.to_owned() })?;
    bench.runtime(source)?;
    let options = Options { home: bench.home, source, worker: bench.worker };
    bench.tell(name, recipe.version, build::build(&recipe, &options, bench.steps))
}

fn build_community1(bench: &Bench<'_>, source: &SourceArgs, variant: &Variant) -> Result<(), Failure> {
    let folder = source.from.as_deref().ok_or(Failure::NoFiles)?;
    let failed = |source: BuildError| Failure::Build { name: community1::NAME.to_owned(), source };
    let repository = Repository::read(folder).map_err(|source| failed(source.into()))?;
    bench.runtime(&Source::Registry { python: source.python.clone() })?;
    let built = build::community1(&repository, variant, bench.home, bench.worker, bench.steps);
    bench.tell(community1::NAME, &repository.version(variant), built)
}

fn build_onnx(bench: &Bench<'_>, source: SourceArgs, manifest: Option<&Path>) -> Result<(), Failure> {
    let manifest = manifest.ok_or(Failure::NoManifest)?;
    let failed = |source: BuildError| Failure::Build { name: ONNX.to_owned(), source };
    let described = Described::read(manifest).map_err(|source| failed(source.into()))?;
    bench.runtime(&source_of(source))?;
    let built = build::described(&described, bench.home, bench.worker, bench.steps);
    bench.tell(&described.manifest().name, &described.manifest().version, built)
}

fn kind_of(gpu: bool) -> Kind {
    if gpu { Kind::Gpu } else { Kind::Cpu }
}

fn install_gpu_runtime(home: &Home, source: &Source, steps: &Steps) -> Result<(), Failure> {
    let state = match gpu_runtime::install(home, source, steps)? {
        runtime::Installed::Already => "was there already",
        runtime::Installed::Fresh => "installed",
    };
    steps.step(&format!("ONNX Runtime for GPUs {state}: {}", home.onnxruntime_gpu().display()));
    Ok(())
}

fn install_runtime(home: &Home, source: &Source, steps: &Steps) -> Result<(), Failure> {
    let state = match runtime::install(home, &runtime::pin()?, source, steps)? {
        runtime::Installed::Already => "was there already",
        runtime::Installed::Fresh => "installed",
    };
    steps.step(&format!("ONNX Runtime {state}: {}", home.onnxruntime_library().display()));
    Ok(())
}

/// A name of an installed bundle, a folder, or everything.
fn verify(home: &Home, bundle: Option<PathBuf>) -> Result<(), Failure> {
    let folders = match bundle {
        None => installed::bundles(home)?.into_iter().map(|bundle| bundle.folder).collect(),
        Some(path) => match path.to_str().map(|name| home.bundle_current(name)) {
            Some(current) if path.components().count() == 1 && current.exists() => vec![current],
            _ if path.is_dir() => vec![path],
            _ => return Err(Failure::NotInstalled { name: path.display().to_string() }),
        },
    };
    for folder in folders {
        let manifest = verify::bundle(&folder)?;
        let files = manifest.files.len();
        output::line(&format!(
            "{}@{}: {files} files as the manifest says: {}",
            manifest.name,
            manifest.version,
            folder.display()
        ))?;
    }
    Ok(())
}
