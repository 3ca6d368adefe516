//! Commands that work with a store of bundles, or with what came from one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum StockCommand {
    /// Put a bundle into a store: immutable version, then the pointer to the newest
    Push(PushArgs),
    /// Make this machine hold a bundle of a store, proven, and current
    Ensure(EnsureArgs),
    /// Go back to the version of a bundle that was in use before
    Rollback(RollbackArgs),
    /// Remove versions of bundles that are no longer in use
    Gc(GcArgs),
    /// Publish the programs for `provision.sh`
    Release {
        /// What to do.
        #[command(subcommand)]
        command: ReleaseCommand,
    },
    /// Put the ONNX Runtime that is installed here into a store, for machines without a package registry
    PackRuntime(PackRuntimeArgs),
    /// Check whether this machine can be a worker: device, disk, clock, services, networks, decoders
    Preflight(PreflightArgs),
}

/// Who proves a bundle.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The `rollcall-worker` that runs the self-test [default: the one beside this program, else in PATH]
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
    /// Leave out the self-test
    #[arg(long, conflicts_with = "worker")]
    pub no_selftest: bool,
}

/// Whose signatures are believed.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// A minisign public key, or a file with one; may be given several times
    #[arg(long = "key", value_name = "KEY", env = "ROLLCALL_BUNDLE_KEYS", value_delimiter = ',')]
    pub keys: Vec<String>,
    /// Refuse bundles that are not signed by one of the keys
    #[arg(long, env = "ROLLCALL_REQUIRE_SIGNATURE", value_parser = clap::builder::BoolishValueParser::new())]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub require_signature: Option<bool>,
}

/// `push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Folder of the bundle
    pub folder: PathBuf,
    /// Where to: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(env = "ROLLCALL_STORE_URL", value_name = "STORE")]
    pub store: Option<String>,
    /// Leave the pointer to the newest version where it is
    #[arg(long)]
    pub no_latest: bool,
    /// A minisign signature of the bundle's `manifest.json`, to be put beside it
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Whose signatures are believed.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `ensure`.
#[derive(Debug, Args)]
pub struct EnsureArgs {
    /// NAME[@VERSION] in the store, or `s3://…/bundles/NAME[@VERSION]`
    #[arg(env = "ROLLCALL_BUNDLE")]
    pub bundle: String,
    /// The store: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(long, env = "ROLLCALL_STORE_URL", value_name = "URL")]
    pub store: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// Who proves it.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// Whose signatures are believed.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `release`.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Pack the programs, put them into a store, and say what to give to `provision.sh`
    Push(ReleasePushArgs),
}

/// `release push`.
#[derive(Debug, Args)]
pub struct ReleasePushArgs {
    /// Where to: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(env = "ROLLCALL_STORE_URL", value_name = "STORE")]
    pub store: Option<String>,
    /// Folder of the programs [default: this program's own]
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Version of the release [default: this program's own]
    #[arg(long, value_name = "VERSION")]
    pub release_version: Option<String>,
    /// The machines that it is for
    #[arg(long, value_name = "TARGET", default_value = "x86_64-unknown-linux-gnu")]
    pub target: String,
    /// Also make an address that needs no credentials, valid for so many hours
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u16).range(1..=168))]
    pub presign: Option<u16>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `pack-runtime`.
#[derive(Debug, Args)]
pub struct PackRuntimeArgs {
    /// The build for GPUs, with its CUDA libraries
    #[arg(long)]
    pub gpu: bool,
    /// Where to: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(env = "ROLLCALL_STORE_URL", value_name = "STORE")]
    pub store: Option<String>,
}

/// `preflight`.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    /// `auto`, `cpu`, `cuda` or `cuda:N` [default: auto]
    #[arg(long, env = "ROLLCALL_DEVICE")]
    pub device: Option<String>,
    /// The bundle that is to be used: NAME[@VERSION] of an installed one, or a folder [default: starter]
    #[arg(long, env = "ROLLCALL_BUNDLE")]
    pub bundle: Option<String>,
    /// Redis [default: redis://127.0.0.1:6379]
    #[arg(long, env = "ROLLCALL_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// The queue [default: Redis]
    #[arg(long, env = "ROLLCALL_QUEUE_URL", value_name = "URL", hide_env_values = true)]
    pub queue_url: Option<String>,
    /// The store: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(long, env = "ROLLCALL_STORE_URL", value_name = "URL")]
    pub store: Option<String>,
    /// The `rollcall-worker` that is to run here [default: the one beside this program, else in PATH]
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
    /// Leave out Redis, queue and store: for a machine that only uses `rollcall-worker run`
    #[arg(long)]
    pub no_services: bool,
    /// A JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Name of the bundle
    pub name: String,
    /// Go to this version instead of the one before
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Move the pointer of this store instead of this machine's link; needs `--to`
    #[arg(long, value_name = "URL", requires = "to")]
    pub store: Option<String>,
}

/// `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Name of the bundle [default: all]
    pub name: Option<String>,
    /// How many versions of each bundle stay; the current one always does
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: u16,
}
