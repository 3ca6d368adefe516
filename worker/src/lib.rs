//! The worker: one recording in, labelled turns out.
//!
//! Imports point downward only: `run` → `job` → `audio`, `device`, `publish` → `batch` → `diarize` → `common`.

pub mod audio;
pub mod batch;
pub mod device;
pub mod diarize;
pub mod observe;
