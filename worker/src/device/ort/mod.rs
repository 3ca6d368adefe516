//! ONNX Runtime, loaded at run time: building and testing need none.

pub mod engine;
pub mod library;
