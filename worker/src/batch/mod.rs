//! Which rows go to the device together: decided here, carried out by `device::lane`.

pub mod plan;
