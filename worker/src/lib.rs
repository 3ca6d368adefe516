//! The worker: one recording in, labelled turns out.
//!
//! Imports point downward only: `main` → `run`, `bench` → `job` → `workbench`, `listen`, `observe`, `audio`, `device`, `publish`
//! → `batch` → `diarize` → `common`.

pub mod audio;
pub mod batch;
#[cfg(feature = "ort")]
pub mod bench;
#[cfg(feature = "ort")]
pub mod cli;
pub mod device;
pub mod diarize;
#[cfg(feature = "ort")]
pub mod job;
pub mod listen;
pub mod observe;
#[cfg(feature = "ort")]
pub mod progress;
#[cfg(feature = "ort")]
pub mod publish;
#[cfg(feature = "ort")]
pub mod run;
pub mod selftest;
#[cfg(feature = "ort")]
pub mod workbench;
