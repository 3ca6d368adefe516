//! CUDA: the device of machines with an NVIDIA card. Driver, NVRTC and libraries are loaded at run time.
//!
//! | layer | files | `unsafe` |
//! | --- | --- | --- |
//! | pure | `staging` (ring of buffers, what to send), `rungs` (batch shapes), `head` (a pooling head taken apart), `features` (tables of the kernels), `reference` (kernels in f64), `pool` (the budget) | none |
//! | engine | `engine`, `windows`, `locals`, `pooling`, `network`, `desk`, `memory`, over the port `board` | none |
//! | the card | `card` (copies, kernels, sessions), `driver` (context, stream, events), `driver_pool`, `nvrtc` and its `compiler`, `libraries` | calls of C |
//! | ONNX Runtime | `allocator` (its memory from our pool), `binding` (networks over memory of ours) | calls of C |
//! | opening | `open` (from a machine to engines), `seen` (cards that the kernel shows), `check` (kernels on the card), `error` | none |
//!
//! One lane has one stream: copies, our kernels and ONNX Runtime's all go into it, so that their order is the order in which
//! they were asked for. Lanes share the card's memory pool and nothing else.

mod allocator;
mod binding;
mod board;
mod card;
mod check;
mod compiler;
mod desk;
mod driver;
mod driver_pool;
mod engine;
mod error;
mod features;
mod head;
#[cfg(test)]
mod host_board;
#[cfg(test)]
mod kernel_tests;
mod libraries;
mod locals;
mod memory;
mod network;
mod nvrtc;
mod open;
mod pool;
mod pooling;
mod reference;
mod rungs;
mod seen;
mod staging;
mod windows;

pub use card::Card;
pub use check::Checked;
pub use engine::CudaEngine;
pub use error::CudaError;
pub use libraries::LIBRARIES_VARIABLE;
pub use nvrtc::{Compiled, try_out_all};
pub use open::{CudaSetup, Found, Prepared, look, prepare};
