//! Outputs against recorded references of other implementations.

mod captures;
mod community1;
mod features;
mod linkage31;
#[cfg(feature = "ort")]
mod made_up;
#[cfg(feature = "ort")]
mod networks;
#[cfg(feature = "ort")]
mod resnet34;
mod two_levels;
