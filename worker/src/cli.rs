//! The command line of `rollcall-worker`; nothing but clap.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use common::job::lane::Lane;

/// Finds out who spoke when.
#[derive(Debug, Parser)]
#[command(name = "rollcall-worker", version, about, max_term_width = 100)]
pub struct Cli {
    /// A file of settings; flags and the environment overrule it.
    #[arg(long, global = true, env = common::config::VARIABLE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log, as a tracing filter (`info`, `worker=debug`) [default: info].
    #[arg(long, global = true, env = "ROLLCALL_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log: `text` or `json` [default: text].
    #[arg(long, global = true, env = "ROLLCALL_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Diarize recordings on this machine, without servers.
    Run(RunArgs),
    /// Join the fleet: take jobs from the queue until told to stop.
    Serve(ServeArgs),
    /// Measure decoding, features, both networks, clustering and the whole.
    Bench(BenchArgs),
    /// Look whether this machine can be a worker: device, disk, clock, services, networks, decoders.
    Doctor(DoctorArgs),
    /// Record or check what a bundle's networks answer to a known signal.
    Selftest(SelftestArgs),
    /// Check what a GPU computes, and what it takes; `tests/gpu/run.sh` calls it.
    #[command(hide = true)]
    Gpu(GpuArgs),
}

/// `gpu`.
#[derive(Debug, Args)]
pub struct GpuArgs {
    /// What to check.
    #[command(subcommand)]
    pub check: GpuCheck,
    /// Where and with what to run.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Memory of the GPU that may be used.
    #[arg(long, global = true, value_name = "BYTES|PERCENT")]
    pub device_memory: Option<String>,
}

/// What `gpu` checks.
#[derive(Debug, Subcommand)]
pub enum GpuCheck {
    /// Compile every kernel for architectures; needs NVRTC and no GPU.
    Compile {
        /// Folders with libnvrtc.so.13.
        #[arg(long, value_name = "DIR")]
        nvrtc: Vec<PathBuf>,
        /// Architectures, `90` for sm_90.
        #[arg(long, value_delimiter = ',', default_value = "75,80,86,89,90,100,120")]
        arch: Vec<i32>,
    },
    /// Run every kernel against its reference.
    Kernels,
    /// Compare features, decisions and embeddings of recordings with the CPU's.
    Parity {
        /// The recordings.
        #[arg(required = true)]
        audio: Vec<PathBuf>,
    },
    /// Run batches of every size, and see whether memory grows.
    Leaks {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        batches: usize,
    },
}

/// Where and with what to run.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// The model bundle: a folder, or NAME[@VERSION] in ROLLCALL_HOME [default: starter].
    #[arg(long, env = "ROLLCALL_BUNDLE")]
    pub bundle: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N` [default: auto].
    #[arg(long, env = "ROLLCALL_DEVICE")]
    pub device: Option<String>,
    /// Where bundles and ONNX Runtime lie [default: the XDG data folder, `rollcall`].
    #[arg(long, env = "ROLLCALL_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Engines: on the CPU one thread each [default: one per core; 2 on a GPU].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Most rows of a batch; results do not depend on it.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub batch_rows: Option<u16>,
}

/// `run`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("exact").args(["num_speakers"]).conflicts_with_all(["min_speakers", "max_speakers"]))]
pub struct RunArgs {
    /// Recordings: WAV, FLAC, MP3, M4A, Ogg, WebM, ...
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// Folder for the results; each recording gets one of its own in it.
    #[arg(long, default_value = "rollcall-out")]
    pub out: PathBuf,
    /// Which files to write.
    #[arg(long, value_delimiter = ',', default_value = "json,rttm,html")]
    pub formats: Vec<Format>,
    /// How many speakers there are, when it is known.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub num_speakers: Option<u8>,
    /// At least this many speakers.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub min_speakers: Option<u8>,
    /// At most this many speakers.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub max_speakers: Option<u8>,
    /// A transcript to give speakers to: Whisper, WhisperLive or WhisperX JSON, SRT or VTT; for one recording.
    #[arg(long)]
    pub transcript: Option<PathBuf>,
    /// `separate` for calls with their people on separate channels: each channel gets people of its own, the faint echo of
    /// the others is no speech, and numbers of speakers hold for each channel. One channel is as with `mix`.
    #[arg(long, default_value = "mix")]
    pub channels: ChannelsArg,
    /// Folder of known voices: `NAME.json` from `rollcall speakers enroll`, or a recording of each person, `NAME.wav`.
    #[arg(long, value_name = "DIR")]
    pub speakers: Option<PathBuf>,
    /// Print a JSON line for each recording on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Recordings worked on at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Where and with what to run.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// What the channels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChannelsArg {
    /// One scene, mixed before the work.
    Mix,
    /// A call: its people are on separate channels.
    Separate,
}

/// A file that `run` can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// `segments.json`
    Json,
    /// `turns.rttm`
    Rttm,
    /// `subtitles.srt`
    Srt,
    /// `subtitles.vtt`
    Vtt,
    /// `timeline.html`
    Html,
    /// `transcript.txt`
    Txt,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Job records, leases, outbox: `redis://` or `rediss://` [default: redis://127.0.0.1:6379].
    #[arg(long, env = "ROLLCALL_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<String>,
    /// Delivery: `amqp://`, `amqps://`, `redis://` or `rediss://` [default: the Redis URL].
    #[arg(long, env = "ROLLCALL_QUEUE_URL", hide_env_values = true, value_name = "URL")]
    pub queue_url: Option<String>,
    /// Audio and results: `s3://BUCKET[/PREFIX]` or `file:///FOLDER`.
    #[arg(long, env = "ROLLCALL_STORE_URL", value_name = "URL")]
    pub store_url: Option<String>,
    /// Prefixes outside the store that jobs may name, separated by commas.
    #[arg(long, env = "ROLLCALL_ALLOW", value_delimiter = ',', value_name = "PREFIX")]
    pub allow: Option<Vec<String>>,
    /// Jobs held at once [default: two more than there are engines, so that reading and decoding go on meanwhile; on a GPU
    /// two more than 8 for each engine].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub max_jobs: Option<u16>,
    /// Priorities to take: `high`, `normal`, `low`.
    #[arg(long, value_delimiter = ',', default_value = "high,normal,low")]
    pub lanes: Vec<Lane>,
    /// Bytes (`6GiB`) or a share: on a GPU, what the worker may use of its memory [default: 80%]; on a CPU, what jobs may need of
    /// the machine's together [default: 50%, which is also what they may on a GPU's machine].
    #[arg(long, value_name = "BYTES|PERCENT")]
    pub device_memory: Option<String>,
    /// Seconds after SIGTERM in which held jobs may finish; then they are handed back.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=86_400), value_name = "SECONDS")]
    pub grace: u32,
    /// At SIGTERM finish what is held, however long it takes, take nothing, and exit.
    #[arg(long)]
    pub drain: bool,
    /// Seconds that a lease lasts; it is renewed after a third of it. A killed worker's jobs run again after that time.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(2..=3600), value_name = "SECONDS")]
    pub lease: u16,
    /// Where to answer `GET /metrics`, `/healthz` and `/readyz`, such as `127.0.0.1:7701`. Nobody is asked for a key there.
    #[arg(long, env = "ROLLCALL_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
    /// Where and with what to run.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Recordings to measure [default: two minutes of a synthetic signal, without the end-to-end part's accuracy].
    pub audio: Vec<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Repetitions; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub repeat: u16,
    /// Where and with what to run.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The model bundle: a folder, or NAME[@VERSION] in ROLLCALL_HOME [default: starter].
    #[arg(long, env = "ROLLCALL_BUNDLE")]
    pub bundle: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N` [default: auto].
    #[arg(long, env = "ROLLCALL_DEVICE")]
    pub device: Option<String>,
    /// Where bundles and ONNX Runtime lie [default: the XDG data folder, `rollcall`].
    #[arg(long, env = "ROLLCALL_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Job records: `redis://` or `rediss://` [env: ROLLCALL_REDIS_URL] [default: redis://127.0.0.1:6379].
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// Delivery: `amqp://`, `amqps://`, `redis://` or `rediss://` [env: ROLLCALL_QUEUE_URL] [default: the
    /// Redis URL].
    #[arg(long, value_name = "URL")]
    pub queue_url: Option<String>,
    /// Audio and results: `s3://BUCKET[/PREFIX]` or `file:///FOLDER` [env: ROLLCALL_STORE_URL].
    #[arg(long, value_name = "URL")]
    pub store_url: Option<String>,
    /// Leave out Redis, queue and store: for a machine that only uses `run`.
    #[arg(long)]
    pub no_services: bool,
    /// Print a JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Folder of the bundle.
    pub bundle: PathBuf,
    /// Write what the networks answer into the manifest, instead of checking it.
    #[arg(long)]
    pub record: bool,
    /// Where bundles and ONNX Runtime lie [default: the XDG data folder, `rollcall`].
    #[arg(long, env = "ROLLCALL_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
}
