//! A fleet of real processes on real servers: under deaths and pauses (`chaos`), as fast as it goes (`rates`), and
//! with nobody to work (`backlog`).
//!
//! The engine is the stand-in of `tests::noop`; everything around it is what `rollcall-worker serve` runs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic and a closing line are the report")]

mod backlog;
mod load;
mod monkey;
mod rates;
mod verdict;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};

use load::Load;
use monkey::Monkey;
use world::{World, WorldOptions};

#[derive(Parser)]
#[command(about = "A fleet under faults, and as fast as it goes")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Kills and pauses whatever there is while jobs run, then looks whether every promise was kept.
    Chaos(Chaos),
    /// Jobs per second, latencies, memory.
    Rates(rates::Rates),
    /// Jobs without a worker, and a worker that is full for long.
    Backlog(backlog::Backlog),
}

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Queue {
    Amqp,
    Redis,
}

#[derive(Debug, Args)]
struct Chaos {
    /// How long faults happen.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Jobs submitted meanwhile.
    #[arg(long, default_value_t = 2000)]
    jobs: usize,
    /// What happens when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The queue.
    #[arg(long, value_enum, default_value_t = Queue::Amqp)]
    queue: Queue,
    /// Worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
}

/// How long the fleet gets after the last fault: several leases, bells and retries.
const CALM: Duration = Duration::from_secs(400);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let good = match Cli::parse().what {
        What::Chaos(options) => runtime.block_on(chaos(&options)),
        What::Backlog(options) => runtime.block_on(backlog::measure(&options)),
        What::Rates(options) => {
            runtime.block_on(rates::measure(&options));
            true
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn chaos(options: &Chaos) -> bool {
    let began = Instant::now();
    let options_of_world = WorldOptions {
        amqp: options.queue == Queue::Amqp,
        workers: options.workers,
        worker_flags: ["--lease-ms", "3000", "--max-jobs", "8", "--takers", "2", "--fetch"]
            .map(str::to_owned)
            .to_vec(),
        ..WorldOptions::default()
    };
    let world = World::start(&options_of_world).await;
    let load = Load::plan(&world, options.jobs, options.seed).await;
    let spread = Duration::from_secs(options.seconds).mul_f64(0.85);
    let (calls, deployment) = (load.clone(), world.deployment.clone());
    let submitting = tokio::spawn(async move { calls.submit(&deployment, spread).await });
    let monkey = Monkey::new(world, options.seed);
    let faults = Duration::from_secs(options.seconds);
    // On a thread of its own: starting and stopping servers blocks.
    let (mut world, deeds) = tokio::task::spawn_blocking(move || monkey.rage(faults)).await.unwrap();
    submitting.await.unwrap();
    let verdict = verdict::judge(&mut world, &load, CALM).await;
    for wrong in &verdict.wrong {
        println!("WRONG: {wrong}");
    }
    println!(
        "chaos: {:?}, seed {}, {} jobs, {} workers, {:.0} s: {verdict}; {deeds}",
        options.queue,
        options.seed,
        options.jobs,
        options.workers,
        began.elapsed().as_secs_f64()
    );
    if !verdict.wrong.is_empty() {
        println!("logs: {}", world.keep_logs().display());
    }
    verdict.wrong.is_empty()
}
