//! A worker as a document (contract, section 7).

use common::job::worker::WorkerSeen;
use serde::Serialize;
use utoipa::ToSchema;

use super::record::seconds;

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerDocument<'a> {
    id: &'a str,
    host: &'a str,
    device: &'a str,
    device_name: &'a str,
    bundle: &'a str,
    version: &'a str,
    jobs: u32,
    slots: u32,
    audio_s_per_s: f64,
    last_seen_s: f64,
    draining: bool,
}

impl<'a> From<&'a WorkerSeen> for WorkerDocument<'a> {
    fn from(seen: &'a WorkerSeen) -> Self {
        let info = &seen.info;
        Self {
            id: info.id.as_str(),
            host: &info.host,
            device: &info.device,
            device_name: &info.device_name,
            bundle: &info.bundle,
            version: &info.version,
            jobs: info.jobs,
            slots: info.slots,
            audio_s_per_s: (info.audio_s_per_s * 1e3).round() / 1e3,
            last_seen_s: seconds(seen.last_seen),
            draining: info.draining,
        }
    }
}
