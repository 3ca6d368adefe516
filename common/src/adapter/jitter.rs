//! A random number for spreading delays; nothing else may hang on it.

use std::hash::{BuildHasher as _, RandomState};

/// A number in 0..1: the hash keys of the standard library are seeded at random.
pub(crate) fn jitter() -> f64 {
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_spread_over_the_unit_interval() {
        let numbers: Vec<_> = (0..1000).map(|_| jitter()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
