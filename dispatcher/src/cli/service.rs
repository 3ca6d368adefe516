//! The commands about the HTTP API: serving it, its keys, its webhooks.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use common::job::id::JobId;
use common::port::key_store::{KeyId, Scope};

use super::{JsonArguments, duration};

/// `rollcall serve`
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Address to listen at; one that is not of the loopback needs keys
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7700")]
    pub listen: SocketAddr,
    /// Ask for keys also at a loopback address, as behind a proxy
    #[arg(long)]
    pub require_keys: bool,
    /// Largest uploaded recording, bytes
    #[arg(long, value_name = "BYTES", default_value_t = crate::submit::error::AUDIO_BYTES_MAX)]
    pub max_upload: u64,
    /// Requests a second that one key may make in the long run
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Longest wait for the head of a request and for the next bytes of its body
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration::parse)]
    pub patience: Duration,
}

/// `rollcall keys ...`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it; it is not shown again
    Create(KeyCreateArguments),
    /// List the keys, the oldest first
    List(JsonArguments),
    /// Make keys good for nothing, at once
    Revoke(KeyRevokeArguments),
}

/// `rollcall keys create`
#[derive(Debug, Args)]
pub struct KeyCreateArguments {
    /// What it is for
    pub name: String,
    /// What it is good for: read, submit, admin
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "submit,read", value_parser = scope)]
    pub scopes: Vec<Scope>,
    /// Print as JSON
    #[command(flatten)]
    pub json: JsonArguments,
}

/// `rollcall keys revoke`
#[derive(Debug, Args)]
pub struct KeyRevokeArguments {
    /// Ids, as `keys list` shows them
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<KeyId>,
}

/// `rollcall webhooks ...`
#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// List the last tries to deliver, the newest first
    List(DeliveriesArguments),
    /// Deliver the webhooks of ended jobs again
    Redeliver(RedeliverArguments),
}

/// `rollcall webhooks list`
#[derive(Debug, Args)]
pub struct DeliveriesArguments {
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Print as JSON
    #[command(flatten)]
    pub json: JsonArguments,
}

/// `rollcall webhooks redeliver`
#[derive(Debug, Args)]
pub struct RedeliverArguments {
    /// Jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<JobId>,
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "a scope is one of read, submit, admin".to_owned())
}
