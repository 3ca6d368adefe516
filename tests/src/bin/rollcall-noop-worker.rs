//! A worker of the fleet without networks: the real supervise, leases, queue and stores around a craft that does nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use common::adapter::folder::Durability;
use common::fleet::keep::KeepRules;
use common::job::lane::Lane;
use common::job::worker::WorkerId;
use common::random::{OsRandom, Random as _};
use common::reach::{Reach, StoreUrl};
use common::telemetry::logs::{self, LogPlan};
use common::telemetry::traces;
use tests::fleet::Deployment;
use tests::noop::Noop;
use worker::fetch::{Elsewhere, Fetcher};
use worker::metrics::{self, Board};
use worker::serve::connect;
use worker::supervise::upkeep::{self, UpkeepRules};
use worker::supervise::{self, Ended, Phases, Rules};

#[derive(Parser)]
#[command(about = "A worker that does nothing, as a real one would")]
struct Cli {
    /// Where the servers are, and how long things last.
    #[command(flatten)]
    deployment: Deployment,
    /// Only relays and rescues.
    #[arg(long)]
    steward: bool,
    /// Milliseconds that a lease lasts.
    #[arg(long, default_value_t = 30_000)]
    lease_ms: u64,
    /// Jobs at once.
    #[arg(long, default_value_t = 64)]
    max_jobs: usize,
    /// Tasks that take notices.
    #[arg(long, default_value_t = 4)]
    takers: usize,
    /// Milliseconds that held jobs get at SIGTERM.
    #[arg(long, default_value_t = 10_000)]
    grace_ms: u64,
    /// Fetch the audio.
    #[arg(long)]
    fetch: bool,
    /// Wait for the disk with each document.
    #[arg(long)]
    sync: bool,
    /// Threads of the runtime.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Folder for fetched audio.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// Where to answer `GET /metrics`.
    #[arg(long)]
    metrics_listen: Option<SocketAddr>,
    /// What to log.
    #[arg(long, env = "ROLLCALL_LOG", default_value = "warn")]
    log: String,
    /// `text` or `json`.
    #[arg(long, env = "ROLLCALL_LOG_FORMAT", default_value = "text")]
    log_format: String,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let plan = LogPlan { filter: &cli.log, quiet: "", format: &cli.log_format, colour: false };
    logs::start(plan, traces::start("rollcall-noop-worker"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cli.threads).enable_all().build()?;
    let outcome = runtime.block_on(serve(cli));
    runtime.shutdown_background();
    outcome
}

async fn serve(cli: Cli) -> anyhow::Result<()> {
    let phases = Phases::default();
    let carried = traces::carry();
    let board = Arc::new(Board::new(phases.clone()));
    if let Some(address) = cli.metrics_listen {
        metrics::offer(address, Arc::clone(&board)).await?;
    }
    let grace = Duration::from_millis(cli.grace_ms);
    tokio::spawn(supervise::signals(phases.clone(), Some(grace)));
    let durability = if cli.sync { Durability::Synced } else { Durability::Cached };
    // Boxed: together these futures are nested deeper than the compiler follows.
    let ports = Box::pin(cli.deployment.connect(durability)).await.context("the servers cannot be used")?;
    let upkeep = if cli.deployment.quick {
        UpkeepRules {
            rescue_every: Duration::from_millis(500),
            claim: Duration::from_secs(10),
            ..UpkeepRules::default()
        }
    } else {
        UpkeepRules::default()
    };
    if cli.steward {
        let owner = WorkerId::new("steward", OsRandom.bytes());
        let relays = Lane::ALL.map(|lane| {
            upkeep::relay(ports.store.clone(), ports.broker.clone(), lane, upkeep, Arc::default())
        });
        let relay = Box::pin(futures::future::join_all(relays));
        let rescue = Box::pin(upkeep::rescue(ports.store.clone(), ports.broker, owner, upkeep));
        let clear = Box::pin(upkeep::clear(ports.store, ports.objects, upkeep));
        tokio::select! {
            (_, (), ()) = async { tokio::join!(relay, rescue, clear) } => {}
            () = phases.reached(supervise::Phase::Draining) => {}
        }
        return Ok(());
    }
    let lasts = Duration::from_millis(cli.lease_ms);
    let rules = Rules {
        keep: KeepRules { lasts, every: lasts / 3, again: lasts / 20 },
        jobs_max: cli.max_jobs,
        takers: cli.takers,
        upkeep,
        ..Rules::default()
    };
    let keeper_store = cli.deployment.job_store()?;
    let elsewhere = Elsewhere::new(connect::s3_client(&ports.objects));
    let reach = Reach::new(StoreUrl::new(&cli.deployment.store_url), Vec::new());
    let fetcher = Fetcher::new(ports.objects.clone(), reach, elsewhere, cli.scratch);
    let craft = Arc::new(Noop { sources: cli.fetch });
    board.show(Arc::clone(&craft));
    let ended = Box::pin(supervise::supervise(ports, || keeper_store, fetcher, craft, rules, phases)).await?;
    if let Some(carried) = carried {
        carried.flush(Duration::from_secs(2)).await;
    }
    match ended {
        Ended::Told => Ok(()),
        other => bail!("ended otherwise: {other:?}"),
    }
}
