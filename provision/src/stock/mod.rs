//! Bundles in a store: put there, made to lie here, kept and cleared up here.

pub mod address;
pub mod cache_dir;
pub mod cache_table;
pub mod depot;
pub mod ensure;
pub mod failure;
pub mod fetch;
pub mod push;
pub mod release;
pub mod room;
pub mod runtime;
pub mod signature;
pub mod switch;
pub mod tarball;
mod unpacked;

use std::path::PathBuf;

use common::config::Settings;
use common::home::Home;

use crate::cli::{
    EnsureArgs, GcArgs, PackRuntimeArgs, PreflightArgs, PushArgs, ReleaseCommand, ReleasePushArgs,
    RollbackArgs, StockCommand, TrustArgs, WorkerArgs,
};
use crate::failure::Failure;
use crate::output::{self, Steps};
use crate::preflight::{self, Check, Device, Verdict};
use crate::progress::Progress as _;
use crate::runtime::Kind;
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
        StockCommand::Release { command: ReleaseCommand::Push(arguments) } => {
            release(&arguments, home, settings, steps)
        }
        StockCommand::PackRuntime(arguments) => pack_runtime(&arguments, home, settings, steps),
        StockCommand::Preflight(arguments) => preflight(&arguments, home, settings, steps),
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

fn release(
    arguments: &ReleasePushArgs,
    home: &Home,
    settings: &Settings,
    steps: &Steps,
) -> Result<(), Failure> {
    let store = arguments.store.as_deref().or(settings.store_url.as_deref()).ok_or(Refused::NoStore)?;
    let depot = Depot::open(store_of(store)).map_err(Refused::from)?;
    let beside = || std::env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let folder = arguments.programs.clone().or_else(beside).unwrap_or_default();
    let options = release::Options {
        home,
        programs: &folder,
        version: arguments.release_version.as_deref().unwrap_or(env!("CARGO_PKG_VERSION")),
        target: &arguments.target,
        presign_h: arguments.presign,
    };
    let pushed = release::push(&depot, &options, steps).map_err(Refused::from)?;
    steps.finish();
    output::line(&if arguments.json {
        serde_json::json!({"release": pushed.address, "sha256": pushed.sha256, "presigned": pushed.presigned})
            .to_string()
    } else {
        let url = pushed.presigned.as_ref().unwrap_or(&pushed.address);
        format!("--release '{url}' --sha256 {}", pushed.sha256)
    })?;
    Ok(())
}

fn pack_runtime(
    arguments: &PackRuntimeArgs,
    home: &Home,
    settings: &Settings,
    steps: &Steps,
) -> Result<(), Failure> {
    let store = arguments.store.as_deref().or(settings.store_url.as_deref()).ok_or(Refused::NoStore)?;
    let depot = Depot::open(store_of(store)).map_err(Refused::from)?;
    let kind = if arguments.gpu { Kind::Gpu } else { Kind::Cpu };
    let fresh = runtime::push(&depot, home, kind, steps).map_err(Refused::from)?;
    let state = if fresh { "pushed" } else { "was there already" };
    steps.step(&format!("{} {} {state}", kind.name(), common::home::ONNXRUNTIME_VERSION));
    Ok(())
}

/// Installs ONNX Runtime out of a store.
///
/// # Errors
/// The store does not have it, or has something else.
pub fn install_runtime(store: &str, home: &Home, kind: Kind, steps: &Steps) -> Result<(), Failure> {
    let depot = Depot::open(store_of(store)).map_err(Refused::from)?;
    let fresh = runtime::ensure(&depot, home, kind, steps).map_err(Refused::from)?;
    let state = if fresh { "installed" } else { "was there already" };
    steps.step(&format!("{} {state}: {}", kind.name(), kind.folder(home).display()));
    Ok(())
}

/// What Redis is where nobody says it (contract, section 2).
const REDIS_URL: &str = "redis://127.0.0.1:6379";

fn preflight(
    arguments: &PreflightArgs,
    home: &Home,
    settings: &Settings,
    steps: &Steps,
) -> Result<(), Failure> {
    let device = arguments.device.as_deref().or(settings.device.as_deref()).unwrap_or("auto");
    let device = Device::parse(device).ok_or_else(|| Refused::Device { text: device.to_owned() })?;
    let bundle = arguments.bundle.as_deref().or(settings.bundle.as_deref()).unwrap_or("starter");
    let beside = std::env::current_exe().ok();
    let path = std::env::var("PATH").unwrap_or_default();
    let redis = arguments.redis_url.as_deref().or(settings.redis_url.as_deref()).unwrap_or(REDIS_URL);
    let queue = arguments.queue_url.as_deref().or(settings.queue_url.as_deref()).unwrap_or(redis);
    let store = arguments.store.as_deref().or(settings.store_url.as_deref());
    let asked = !arguments.no_services;
    let plan = preflight::Plan {
        home,
        device,
        bundle: bundle.rsplit("/bundles/").next().unwrap_or(bundle),
        worker: selftest::find_worker(arguments.worker.as_deref(), beside.as_deref(), &path).ok(),
        redis_url: Some(redis).filter(|_| asked),
        queue_url: Some(queue).filter(|_| asked),
        store_url: store.filter(|_| asked),
    };
    let mut checks = preflight::run(&plan, steps);
    if asked && store.is_none() {
        let fix = "set `ROLLCALL_STORE_URL`, or pass `--no-services`";
        checks.push(Check::failure("store", "none is configured", fix));
    }
    steps.finish();
    let worst = preflight::worst(&checks);
    for line in report(&checks, worst, arguments.json) {
        output::line(&line)?;
    }
    let failed = checks.iter().filter(|check| check.verdict == Verdict::Failure).count();
    if failed == 0 { Ok(()) } else { Err(Refused::Preflight { failed, of: checks.len() }.into()) }
}

fn report(checks: &[Check], worst: Verdict, json: bool) -> Vec<String> {
    if json {
        return vec![serde_json::json!({"verdict": worst, "checks": checks}).to_string()];
    }
    let row = |check: &Check| {
        let word = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failure => "FAILURE",
        };
        let latency = check.latency_ms.map_or(String::new(), |ms| format!(" ({ms:.1} ms)"));
        let fix = check.fix.iter().map(|fix| format!("{:29}fix: {fix}", ""));
        let line = format!("{word:<8} {:<19} {}{latency}", check.name, check.found);
        std::iter::once(line).chain(fix).collect::<Vec<_>>()
    };
    checks.iter().flat_map(row).collect()
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
