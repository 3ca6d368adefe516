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

/// A point in time or a length as documents carry it: whole milliseconds. Differences and sums of it are exact, so
/// every document of a recording agrees with every other to the digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(u64);

impl Millis {
    /// A count of milliseconds.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// The count.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In seconds: the double nearest to the decimal with three places, which prints without noise.
    #[must_use]
    pub fn as_s(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 ms, 285,000 years")]
        let millis = self.0 as f64;
        millis / 1000.0
    }

    /// Time from `earlier` to here; zero when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// Seconds with exactly three places: `2.500`.
    #[must_use]
    pub fn decimal(self) -> String {
        format!("{}.{:03}", self.0 / 1000, self.0 % 1000)
    }

    /// Hours, minutes, seconds: `00:00:02` + `point` + `500`; hours grow beyond two digits when they must.
    #[must_use]
    pub fn clock(self, point: char) -> String {
        let (s, ms) = (self.0 / 1000, self.0 % 1000);
        format!("{:02}:{:02}:{:02}{point}{ms:03}", s / 3600, s / 60 % 60, s % 60)
    }
}

impl From<Seconds> for Millis {
    fn from(value: Seconds) -> Self {
        Self(value.to_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_print_without_noise() {
        for (millis, decimal, clock) in [
            (0, "0.000", "00:00:00.000"),
            (2_500, "2.500", "00:00:02.500"),
            (59_999, "59.999", "00:00:59.999"),
            (3_661_001, "3661.001", "01:01:01.001"),
            (360_000_000, "360000.000", "100:00:00.000"),
        ] {
            assert_eq!(Millis::new(millis).decimal(), decimal);
            assert_eq!(Millis::new(millis).clock('.'), clock);
        }
        assert_eq!(Millis::new(2_500).as_s().to_string(), "2.5");
        assert_eq!(Millis::from(Seconds::new(2.499_999_9).unwrap()), Millis::new(2_500));
    }

    #[test]
    fn a_difference_never_wraps() {
        assert_eq!(Millis::new(5).since(Millis::new(7)), Millis::new(0));
        assert_eq!(Millis::new(7).since(Millis::new(5)), Millis::new(2));
    }
}
