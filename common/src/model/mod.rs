//! What a model bundle says of itself.

pub mod manifest;
pub mod onnx;
