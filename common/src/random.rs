//! Where randomness comes from, so that a test can decide it.

/// A source of random bytes.
pub trait Random: Send + Sync {
    /// Sixteen bytes that nobody can predict: nonces and job ids are made of them.
    fn bytes(&self) -> [u8; 16];

    /// A number in `[0, 1)`, for jitter.
    fn unit(&self) -> f64 {
        let bytes = self.bytes();
        let word = u64::from_le_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ]);
        #[allow(clippy::cast_precision_loss, reason = "53 bits are kept, which a double holds exactly")]
        let unit = (word >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    /// # Panics
    /// When the operating system has no randomness to give: no nonce may be guessed instead.
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed([u8; 16]);
    impl Random for Fixed {
        fn bytes(&self) -> [u8; 16] {
            self.0
        }
    }

    #[test]
    fn unit_stays_below_one() {
        assert!(Fixed([0; 16]).unit().abs() < f64::EPSILON);
        let highest = Fixed([0xff; 16]).unit();
        assert!(highest < 1.0 && highest > 0.999);
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(OsRandom.bytes(), OsRandom.bytes());
    }
}
