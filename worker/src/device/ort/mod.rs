//! ONNX Runtime, loaded at run time: building and testing need none.

mod embedder;
pub mod engine;
pub mod library;
mod network;
