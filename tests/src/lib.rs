//! What the tests that cross crates share.

pub mod npz;
pub mod shared;
