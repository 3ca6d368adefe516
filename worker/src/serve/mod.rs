//! `rollcall-worker serve`: from flags and settings to a worker of the fleet.

pub mod connect;
mod diarizing;
mod error;
mod memory;

pub use error::ServeError;

use std::sync::Arc;
use std::time::Duration;

use common::config::Settings;
use common::fleet::keep::KeepRules;
use common::home::Home;
use common::port::job_store::StoreRules;
use common::reach::{Reach, StoreUrl};
use common::telemetry::logs::Beside;
use common::telemetry::traces;

use crate::cli::ServeArgs;
use crate::fetch::{Elsewhere, Fetcher};
use crate::metrics::{self, Board};
use crate::supervise::{self, Ended, Phases, Rules};
use crate::workbench::Workbench;
use connect::Addresses;
use diarizing::Diarizing;

const REDIS_URL: &str = "redis://127.0.0.1:6379";
/// Memory that jobs may need together unless somebody says otherwise.
const JOB_MEMORY: &str = "50%";
/// Jobs held beyond one for each engine: read, decoded, clustered or stored while the others compute.
const JOBS_BESIDE: usize = 2;
/// Longest time for the last spans of a trace.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// What hears of spans beside the log, where traces are wanted; they are carried away once the worker serves.
#[must_use]
pub fn traces() -> Option<Beside> {
    traces::start("rollcall-worker")
}

/// Works for the fleet until told to stop. `open` opens the bundle and the device; its error comes back as it is.
///
/// # Errors
/// See [`ServeError`].
pub fn serve<E>(
    args: ServeArgs,
    settings: &Settings,
    home: &Home,
    open: impl FnOnce() -> Result<Workbench, E>,
) -> Result<Result<bool, ServeError>, E> {
    let (addresses, rules, reach) = match plan(&args, settings) {
        Ok(plan) => plan,
        Err(error) => return Ok(Err(error)),
    };
    let bench = open()?;
    Ok(run(&args, addresses, rules, reach, home, bench))
}

fn run(
    args: &ServeArgs,
    addresses: Addresses,
    mut rules: Rules,
    reach: Reach,
    home: &Home,
    bench: Workbench,
) -> Result<bool, ServeError> {
    rules.audio = bench.limits;
    rules.jobs_max = args.max_jobs.map_or(bench.jobs() + JOBS_BESIDE, usize::from);
    if bench.device.gauges().is_some() {
        // `--device-memory` is the card's; of the machine's there is no flag.
        let share = memory::budget_bytes(JOB_MEMORY, memory::machine_bytes());
        rules.memory_bytes = share.unwrap_or(rules.memory_bytes);
    }
    let grace = (!args.drain).then(|| Duration::from_secs(args.grace.into()));
    let scratch = home.cache().join("fetched");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let phases = Phases::default();
        let carried = traces::carry();
        let board = Arc::new(Board::new(phases.clone()));
        if let Some(address) = args.metrics_listen {
            let unheard = |source| ServeError::Metrics { address, source };
            metrics::offer(address, Arc::clone(&board)).await.map_err(unheard)?;
        }
        let signals = tokio::spawn(supervise::signals(phases.clone(), grace));
        let mut ports = tokio::select! {
            ports = addresses.connect() => ports?,
            // Told to stop before it began.
            () = phases.reached(supervise::Phase::Draining) => return Ok(Ended::Told),
        };
        ports.objects = ports.objects.copying_to(reach.allowed());
        let elsewhere = Elsewhere::new(connect::s3_client(&ports.objects));
        let fetcher = Fetcher::new(ports.objects.clone(), reach, elsewhere, scratch);
        // Understood above already, so it is understood again.
        let keeper_store = addresses.job_store().map_err(ServeError::JobStore)?;
        let craft = Arc::new(Diarizing::new(bench));
        board.show(Arc::clone(&craft));
        let ended = supervise::supervise(ports, || keeper_store, fetcher, craft, rules, phases).await?;
        signals.abort();
        if let Some(carried) = carried {
            carried.flush(LAST_SPANS).await;
        }
        Ok::<_, ServeError>(ended)
    });
    // A job that did not stop must not keep the process.
    runtime.shutdown_background();
    match ended? {
        Ended::Told => Ok(true),
        Ended::DeviceLost => Err(ServeError::DeviceLost),
        Ended::LeasesLeft => Err(ServeError::LeasesLeft),
        Ended::Defect => Err(ServeError::Defect),
    }
}

/// What flags, environment and file say together.
fn plan(args: &ServeArgs, settings: &Settings) -> Result<(Addresses, Rules, Reach), ServeError> {
    let chosen = |flag: &Option<String>, file: &Option<String>| flag.clone().or_else(|| file.clone());
    let redis_url = chosen(&args.redis_url, &settings.redis_url).unwrap_or_else(|| REDIS_URL.to_owned());
    let queue_url = chosen(&args.queue_url, &settings.queue_url).unwrap_or_else(|| redis_url.clone());
    let store_url = chosen(&args.store_url, &settings.store_url).ok_or(ServeError::NoStore)?;
    let allow = args.allow.clone().or_else(|| settings.allow.clone()).unwrap_or_default();
    let allow = allow.into_iter().filter(|prefix| !prefix.is_empty()).collect();
    let reach = Reach::new(StoreUrl::new(&store_url), allow);
    let memory = args.device_memory.as_deref().unwrap_or(JOB_MEMORY);
    let memory_bytes =
        memory::budget_bytes(memory, memory::machine_bytes()).ok_or_else(|| ServeError::Setting {
            name: "--device-memory",
            detail: format!("not a number of bytes or a share of the machine: `{memory}`"),
        })?;
    let lasts = Duration::from_secs(args.lease.into());
    let keep = KeepRules { lasts, every: lasts / 3, again: (lasts / 30).max(Duration::from_millis(100)) };
    let mut lanes = args.lanes.clone();
    lanes.sort_unstable();
    lanes.dedup();
    let addresses = Addresses {
        redis_url,
        queue_url,
        store_url,
        durability: common::adapter::folder::Durability::Synced,
        rules: StoreRules::default(),
    };
    Ok((addresses, Rules { keep, lanes, memory_bytes, ..Rules::default() }, reach))
}
