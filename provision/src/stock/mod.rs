//! Bundles in a store: put there, made to lie here, kept and cleared up here.

pub mod address;
pub mod cache_dir;
pub mod cache_table;
pub mod depot;
pub mod ensure;
pub mod failure;
pub mod fetch;
pub mod push;
pub mod room;
pub mod signature;
pub mod switch;
pub mod tarball;

use std::path::PathBuf;

use common::config::Settings;
use common::home::Home;

use crate::cli::{EnsureArgs, GcArgs, PushArgs, RollbackArgs, StockCommand, TrustArgs, WorkerArgs};
use crate::failure::Failure;
use crate::output::{self, Steps};
use crate::progress::Progress as _;
use crate::selftest;
use address::{BundleAddress, store_of};
use depot::Depot;
use failure::Refused;
use signature::Policy;

/// Runs a command.
///
/// # Errors
/// What it fails with.
pub fn run(command: StockCommand, home: &Home, settings: &Settings, steps: &Steps) -> Result<(), Failure> {
    match command {
        StockCommand::Push(arguments) => push(arguments, home, settings, steps),
        StockCommand::Ensure(arguments) => ensure(arguments, home, settings, steps),
        StockCommand::Rollback(arguments) => rollback(&arguments, home, steps),
        StockCommand::Gc(arguments) => gc(&arguments, home, steps),
    }
}

/// Prints what a store holds.
///
/// # Errors
/// The store, or stdout.
pub fn list(store: &str, json: bool) -> Result<(), Failure> {
    let depot = Depot::open(store_of(store)).map_err(Refused::from)?;
    for row in depot.list(None).map_err(Refused::from)? {
        output::line(&if json {
            serde_json::json!({"name": row.name, "version": row.version, "latest": row.latest}).to_string()
        } else {
            format!("{} {}@{}", if row.latest { '*' } else { ' ' }, row.name, row.version)
        })?;
    }
    Ok(())
}

fn push(arguments: PushArgs, home: &Home, settings: &Settings, steps: &Steps) -> Result<(), Failure> {
    let store = arguments.store.as_deref().or(settings.store_url.as_deref()).ok_or(Refused::NoStore)?;
    let policy = policy(arguments.trust, settings)?;
    let depot = Depot::open(store_of(store)).map_err(Refused::from)?;
    let options = push::Options {
        home,
        signature: arguments.signature.as_deref(),
        policy: &policy,
        latest: !arguments.no_latest,
    };
    let pushed = push::push(&depot, &arguments.folder, &options, steps).map_err(Refused::from)?;
    let state = if pushed.fresh { "pushed" } else { "was there already" };
    steps.step(&format!("{} {state}: {}", pushed.bundle, pushed.sha256));
    Ok(())
}

fn ensure(arguments: EnsureArgs, home: &Home, settings: &Settings, steps: &Steps) -> Result<(), Failure> {
    let address: BundleAddress = arguments.bundle.parse().map_err(Refused::Address)?;
    let configured = arguments.store.as_deref().or(settings.store_url.as_deref()).map(store_of);
    let store = address.store.as_deref().or(configured).ok_or(Refused::NoStore)?;
    let policy = policy(arguments.trust, settings)?;
    let worker = worker(arguments.worker)?;
    let depot = Depot::open(store).map_err(Refused::from)?;
    let options = ensure::Options { home, worker: worker.as_deref(), policy: &policy };
    let ensured = ensure::ensure(&depot, &address.name, address.version.as_deref(), &options, steps);
    let ensured = ensured.map_err(Refused::from)?;
    let state = match ensured.outcome {
        ensure::Outcome::Already => "was there already",
        ensure::Outcome::Pointed => "was there and is current now",
        ensure::Outcome::Installed => "installed",
    };
    steps.step(&format!("{}@{} {state}: {}", address.name, ensured.version, ensured.folder.display()));
    if arguments.json {
        let installed = ensured.outcome == ensure::Outcome::Installed;
        let folder = ensured.folder.to_string_lossy();
        output::line(
            &serde_json::json!({
                "name": address.name, "version": ensured.version, "folder": folder, "installed": installed,
            })
            .to_string(),
        )?;
    }
    Ok(())
}

fn rollback(arguments: &RollbackArgs, home: &Home, steps: &Steps) -> Result<(), Failure> {
    let name = &arguments.name;
    if let (Some(store), Some(to)) = (&arguments.store, &arguments.to) {
        let depot = Depot::open(store_of(store)).map_err(Refused::from)?;
        let pointer = push::promote(&depot, name, to).map_err(Refused::from)?;
        steps.step(&format!("the newest {name} in {} is {} now", depot.address(), pointer.version));
        return Ok(());
    }
    let version = switch::rollback(home, name, arguments.to.as_deref(), steps).map_err(Refused::from)?;
    steps.step(&format!("{name}@{version} is the current one now; `ensure {name}@{version}` keeps it"));
    Ok(())
}

fn gc(arguments: &GcArgs, home: &Home, steps: &Steps) -> Result<(), Failure> {
    let removed = switch::gc(home, arguments.name.as_deref(), arguments.keep.into(), steps);
    for (name, version) in removed.map_err(Refused::from)? {
        output::line(&format!("removed {name}@{version}"))?;
    }
    Ok(())
}

fn policy(arguments: TrustArgs, settings: &Settings) -> Result<Policy, Refused> {
    let known = if arguments.keys.is_empty() {
        settings.bundle_keys.clone().unwrap_or_default()
    } else {
        arguments.keys
    };
    let required = arguments.require_signature.or(settings.require_signature).unwrap_or(false);
    Policy::new(&known, required).map_err(Refused::Policy)
}

fn worker(arguments: WorkerArgs) -> Result<Option<PathBuf>, Refused> {
    if arguments.no_selftest {
        return Ok(None);
    }
    let beside = std::env::current_exe().ok();
    let path = std::env::var("PATH").unwrap_or_default();
    selftest::find_worker(arguments.worker.as_deref(), beside.as_deref(), &path)
        .map(Some)
        .map_err(Refused::NoWorker)
}
