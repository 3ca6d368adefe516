//! CUDA: the device of machines with an NVIDIA card. Driver, NVRTC and libraries are loaded at run time.
//!
//! | layer | files | `unsafe` |
//! | --- | --- | --- |
//! | pure | `staging` (ring of buffers, what to send), `rungs` (batch shapes), `head` (a pooling head taken apart), `pool` (the budget) | none |
//! | engine | `engine`, `windows`, `locals`, `network`, `memory`, over the port `board` | none |
//! | the card | `card` (copies, kernels, sessions), `driver` (context, stream, events), `driver_pool`, `nvrtc`, `libraries` | calls of C |
//! | ONNX Runtime | `allocator` (its memory from our pool), `binding` (networks over memory of ours) | calls of C |
//! | opening | `open` (from a machine to a proven engine), `error` | none |
//!
//! One lane has one stream: copies, our kernels and ONNX Runtime's all go into it, so that their order is the order in which
//! they were asked for. Lanes share the card's memory pool and nothing else.

mod binding;
mod board;
mod engine;
mod head;
#[cfg(test)]
mod host_board;
mod locals;
mod memory;
mod network;
mod pool;
mod rungs;
mod staging;
mod windows;
