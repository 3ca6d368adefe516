//! From settings to the services that they name. Nothing is sent before the first call.

use std::time::Duration;

use common::adapter::folder::Durability;
use common::adapter::queue::QueueBroker;
use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::adapter::s3::{RepeatPolicy, S3Access, S3Location, S3Options, S3Store};
use common::adapter::store::UrlStore;
use common::port::job_store::StoreRules;
use common::port::object_store::StoreError;

use crate::command::error::FleetError;
use crate::settings::Settings;

/// How long a person waits for Redis before they are told that it is away.
const JOB_STORE_PATIENCE: Duration = Duration::from_secs(3);

/// The job records.
///
/// # Errors
/// When the address is none.
pub fn job_store(settings: &Settings) -> Result<RedisJobStore, FleetError> {
    let options =
        RedisOptions { budget: JOB_STORE_PATIENCE, ..RedisOptions::new(&settings.redis_url.value.0) };
    Ok(RedisJobStore::new(options, &StoreRules::default())?)
}

/// The queue.
///
/// # Errors
/// When the address is none.
pub fn queue(settings: &Settings) -> Result<QueueBroker, FleetError> {
    Ok(QueueBroker::new(&settings.queue_url.value.0)?)
}

/// The object store.
///
/// # Errors
/// When none is configured, or the address is none.
pub async fn object_store(settings: &Settings) -> Result<UrlStore, FleetError> {
    open(settings, s3_options()).await
}

/// The object store of a process that streams uploads into it: each holds at most three parts of 8 MiB.
///
/// # Errors
/// When none is configured, or the address is none.
pub async fn streaming_store(settings: &Settings) -> Result<UrlStore, FleetError> {
    open(settings, S3Options { part_bytes: 8 << 20, parts_in_flight: 2, ..s3_options() }).await
}

async fn open(settings: &Settings, options: S3Options) -> Result<UrlStore, FleetError> {
    let url = settings.store_url.value.as_deref().ok_or(FleetError::NoStore)?;
    if url.starts_with("s3://") {
        let location: S3Location = url.parse().map_err(|_| FleetError::Setting {
            setting: "store_url",
            value: url.to_owned(),
            hint: "a store is `s3://BUCKET[/PREFIX]` or `file:///FOLDER`".to_owned(),
        })?;
        let store = S3Store::connect(location, &S3Access::default(), options).await;
        return Ok(UrlStore::S3(store.copying_to(&settings.allow.value)));
    }
    // Whatever reads and writes here syncs as workers do.
    UrlStore::open(url, Durability::Synced, &S3Access::default()).await.map_err(|error| match error {
        StoreError::Rejected { key, .. } => FleetError::Setting {
            setting: "store_url",
            value: key,
            hint: "a store is `s3://BUCKET[/PREFIX]` or `file:///FOLDER`".to_owned(),
        },
        other => FleetError::of_store(other),
    })
}

/// A place in S3 outside the store, with the store's client where it has one.
pub async fn elsewhere(store: &UrlStore, location: S3Location) -> S3Store {
    match store {
        UrlStore::S3(store) => store.at(location),
        UrlStore::Folder(_) => S3Store::connect(location, &S3Access::default(), s3_options()).await,
    }
}

/// Six tries with up to 3 s of pauses: a person is waiting.
fn s3_options() -> S3Options {
    let repeat = RepeatPolicy { tries_max: 6, within: Duration::from_secs(20), ..RepeatPolicy::default() };
    S3Options { repeat, ..S3Options::default() }
}
