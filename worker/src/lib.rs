//! The worker: one recording in, labelled turns out.
//!
//! Imports point downward only: `main` → `run`, `bench`, `gpu`, `doctor`, `serve` → `metrics` → `supervise` →
//! `lease_keeper`, `admission`, `fetch` → `voices` → `enroll` → `job` → `monologue` → `recording`, `publish` →
//! `workbench`, `listen` → `observe` → `audio`, `device` → `batch` → `diarize` → `common`.

#[cfg(feature = "fleet")]
pub mod admission;
pub mod audio;
pub mod batch;
#[cfg(feature = "ort")]
pub mod bench;
#[cfg(feature = "ort")]
pub mod cli;
pub mod device;
pub mod diarize;
#[cfg(feature = "ort")]
pub mod doctor;
#[cfg(feature = "ort")]
pub mod enroll;
#[cfg(feature = "fleet")]
pub mod fetch;
#[cfg(feature = "cuda")]
pub mod gpu;
#[cfg(all(feature = "ort", not(feature = "cuda")))]
#[path = "gpu_absent.rs"]
pub mod gpu;
#[cfg(feature = "ort")]
pub mod job;
#[cfg(feature = "fleet")]
pub mod lease_keeper;
pub mod listen;
#[cfg(feature = "fleet")]
pub mod metrics;
#[cfg(feature = "ort")]
pub mod monologue;
pub mod observe;
#[cfg(feature = "ort")]
pub mod progress;
#[cfg(feature = "ort")]
pub mod publish;
#[cfg(feature = "ort")]
pub mod recording;
#[cfg(feature = "ort")]
pub mod run;
pub mod selftest;
#[cfg(feature = "fleet")]
pub mod serve;
#[cfg(all(feature = "ort", not(feature = "fleet")))]
#[path = "serve_absent.rs"]
pub mod serve;
#[cfg(feature = "fleet")]
pub mod supervise;
#[cfg(feature = "ort")]
pub mod voices;
#[cfg(feature = "ort")]
pub mod workbench;
