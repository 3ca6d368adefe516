//! Units of time as types: seconds at the edges, integer samples and frames inside.

/// A point in time or a length, seconds; finite and not negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Seconds(f64);

impl Seconds {
    /// The start of a recording.
    pub const ZERO: Self = Self(0.0);

    /// `None` for negative, infinite and NaN values.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value >= 0.0).then_some(Self(value))
    }

    /// The instant of a sample at a sample rate.
    ///
    /// # Panics
    /// When `rate_hz` is 0.
    #[must_use]
    pub fn of_samples(samples: u64, rate_hz: u32) -> Self {
        assert!(rate_hz > 0, "a sample rate is positive");
        #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 samples, 17,000 years at 16 kHz")]
        Self(samples as f64 / f64::from(rate_hz))
    }

    /// The value in seconds.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The value rounded to milliseconds, as documents carry it.
    #[must_use]
    pub fn to_millis(self) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite and not negative")]
        let millis = (self.0 * 1000.0).round() as u64;
        millis
    }
}
