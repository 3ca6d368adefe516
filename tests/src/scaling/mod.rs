//! A day of bursty load on a simulated fleet, scaled by one rule or another: pure, so that the same seed gives the same day.

mod controller;
mod day;
mod fleet;
mod plot;

pub use controller::Controller;
pub use day::{Arrival, archives_s, day};
pub use fleet::{Lengths, Outcome, Sample, run};
pub use plot::{csv, svg};

/// Seconds between two steps of the simulation.
pub const STEP_S: u64 = 5;
/// Seconds between two looks of a scaler, as KEDA's default.
pub const LOOK_S: u64 = 30;
/// Seconds from asking for a machine to its first job: a cloud instance that provisions itself.
pub const START_S: u64 = 150;
/// Seconds of audio that a worker does a second.
pub const CAPACITY: f64 = 100.0;
/// Seconds that each job takes besides.
pub const OVERHEAD_S: f64 = 0.5;
/// Most workers that anybody may have.
pub const WORKERS_MAX: u64 = 80;

/// Deterministic random numbers (the constants of Knuth's MMIX generator, high half of the state).
pub(crate) struct Dice(pub u64);

impl Dice {
    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }

    /// Normally distributed, by the method of Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-12), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}
