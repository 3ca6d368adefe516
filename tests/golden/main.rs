//! Outputs against recorded references of other implementations.

mod features;
#[cfg(feature = "ort")]
mod networks;
