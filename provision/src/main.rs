//! `rollcall-provision`: makes, checks, keeps and passes on model bundles, and installs ONNX Runtime.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use common::config::Settings;
use common::home::Home;
use provision::build::{self, Options};
use provision::cli::{Cli, Command, SourceArgs};
use provision::failure::Failure;
use provision::output::{self, Steps};
use provision::progress::Progress;
use provision::recipe::Recipe;
use provision::wheel::Source;
use provision::{installed, runtime, selftest, stock, verify};

fn main() -> ExitCode {
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
        Command::Build { name, source, worker, no_selftest } => {
            let worker = if no_selftest { None } else { Some(worker_of(&name, worker.as_deref())?) };
            build(&home, &name, &source_of(source), worker.as_deref(), &steps)
        }
        Command::Runtime { store: Some(store), .. } => stock::install_runtime(&store, &home, &steps),
        Command::Runtime { store: None, source } => install_runtime(&home, &source_of(source), &steps),
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

fn build(
    home: &Home,
    name: &str,
    source: &Source,
    worker: Option<&Path>,
    steps: &Steps,
) -> Result<(), Failure> {
    let recipe = Recipe::of(name).ok_or_else(|| Failure::NoRecipe { name: name.to_owned() })?;
    if worker.is_some() {
        install_runtime(home, source, steps)?;
    }
    let options = Options { home, source, worker };
    let built = build::build(&recipe, &options, steps)
        .map_err(|source| Failure::Build { name: name.to_owned(), source })?;
    let state = if built.fresh { "built" } else { "was there already" };
    steps.step(&format!("bundle {name}@{} {state}: {}", recipe.version, built.folder.display()));
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
