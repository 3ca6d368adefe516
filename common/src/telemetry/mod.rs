//! What a program tells about itself: logs, metrics, traces.
//!
//! `catalogue` is the only place where a metric has its name; `exposition` writes what is read at the moment of a scrape,
//! `lint` holds both to the conventions of Prometheus. Those three know nothing but text. `logs` starts logging, `metrics`
//! counts what happens, `traces` sends spans away.

/// The target of the spans that make a job's trace; other spans and events stay in the log.
pub const TRACED: &str = "rollcall::trace";

pub mod catalogue;
pub mod exposition;
pub mod lint;
#[cfg(feature = "logs")]
pub mod logs;
#[cfg(feature = "telemetry")]
pub mod metrics;
#[cfg(feature = "telemetry")]
pub mod spans;
#[cfg(feature = "telemetry")]
pub mod traces;
