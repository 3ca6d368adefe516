//! How one channel leaks into another, learnt from where a leak is beyond doubt.

use super::copy::{BANDS, DELAY_MAX, Leak};

/// Correlation from which a faint channel's sound is a copy beyond doubt. Of the instants at which people talk at once on
/// channels that do not leak, 98 % lie below 0.6.
const CERTAIN: f64 = 0.7;
/// Steps of certainty after which what is known of the leak is believed: half a second.
const STEPS_MIN: u32 = 30;
/// Share of the instants at which the channel is faint that have to be certain: chance alone makes 1 %.
const SHARE_MIN: f64 = 0.1;

/// What is known of the leak of one channel into another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coupling {
    /// Steps of certainty by delay.
    delays: [u32; DELAY_MAX + 1],
    /// Sum of the gains at them.
    gains: [f64; BANDS],
    certain: u32,
    faint: u32,
}

impl Coupling {
    pub fn new() -> Self {
        Self { delays: [0; DELAY_MAX + 1], gains: [0.0; BANDS], certain: 0, faint: 0 }
    }

    /// Hears of the next step at which the channel is faint: how like the other channel it is there. Gives whether it is a
    /// copy beyond doubt.
    pub fn hear(&mut self, likeness: Option<(f64, Leak)>) -> bool {
        self.faint = self.faint.saturating_add(1);
        let Some((_, leak)) = likeness.filter(|(likeness, _)| *likeness > CERTAIN) else { return false };
        self.certain = self.certain.saturating_add(1);
        self.delays[leak.delay.min(DELAY_MAX)] += 1;
        self.gains.iter_mut().zip(leak.gains).for_each(|(sum, gain)| *sum += gain);
        true
    }

    /// The leak, once it is known: the most frequent delay, the mean of the gains.
    pub fn leak(&self) -> Option<Leak> {
        if self.certain < STEPS_MIN || f64::from(self.certain) < SHARE_MIN * f64::from(self.faint) {
            return None;
        }
        let most = *self.delays.iter().max()?;
        let delay = self.delays.iter().position(|count| *count == most)?;
        Some(Leak { delay, gains: self.gains.map(|sum| sum / f64::from(self.certain)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(likeness: f64, delay: usize, gain: f64) -> Option<(f64, Leak)> {
        Some((likeness, Leak { delay, gains: [gain; BANDS] }))
    }

    #[test]
    fn a_copy_is_seen_at_once_and_the_leak_known_after_half_a_second() {
        let mut coupling = Coupling::new();
        assert!(!coupling.hear(None) && !coupling.hear(like(CERTAIN, 1, -3.0)), "nothing is certain");
        for step in 0..STEPS_MIN {
            assert_eq!(coupling.leak(), None, "after {step} steps");
            let gain = if step % 2 == 0 { -7.0 } else { -5.0 };
            assert!(coupling.hear(like(CERTAIN + 0.01, if step < 5 { 2 } else { 4 }, gain)));
        }
        assert_eq!(coupling.leak(), Some(Leak { delay: 4, gains: [-6.0; BANDS] }));
    }

    #[test]
    fn chance_teaches_nothing() {
        let mut coupling = Coupling::new();
        for step in 0..10_000 {
            coupling.hear(like(if step % 11 == 10 { CERTAIN + 0.01 } else { 0.0 }, 0, -6.0));
            assert_eq!(coupling.leak(), None);
        }
    }
}
