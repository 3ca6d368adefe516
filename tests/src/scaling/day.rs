//! What comes in on the day.

use super::{Dice, STEP_S};

/// A recording that is submitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// When, seconds.
    pub at_s: u64,
    /// Its length, seconds.
    pub audio_s: f64,
    /// What its size suggests, seconds: half or twice as long one time in three.
    pub guess_s: f64,
}

/// Archives that are submitted at once: hour, recordings, length of each, seconds. Two of them, at hours when little else
/// happens, show why messages are the wrong thing to count: recordings of eight hours, and clips of ten seconds.
const BURSTS: [(f64, usize, f64); 7] = [
    (1.0, 40, 28_800.0),
    (4.0, 4000, 10.0),
    (7.5, 150, 1800.0),
    (9.25, 400, 1200.0),
    (14.0, 1500, 300.0),
    (16.5, 60, 28_800.0),
    (20.0, 300, 3600.0),
];

/// When archives come, seconds.
#[must_use]
pub fn archives_s() -> [u64; 7] {
    BURSTS.map(|(hour, ..)| (hour * 3600.0) as u64)
}

/// A day: calls that follow the hours of work, 300 s in the middle and sometimes ten times that, and the archives.
#[must_use]
pub fn day(seed: u64) -> Vec<Arrival> {
    let mut dice = Dice(seed);
    // Guesses are thrown apart, so that they change nothing else.
    let mut guesses = Dice(!seed);
    let mut arrival =
        move |at_s, audio_s| Arrival { at_s, audio_s, guess_s: audio_s * (0.7 * guesses.normal()).exp() };
    let mut arrivals = Vec::new();
    for at_s in (0..86_400).step_by(STEP_S as usize) {
        #[allow(clippy::cast_precision_loss, reason = "seconds of a day")]
        let hour = at_s as f64 / 3600.0;
        // Calls a second: few at night, most around 14:00.
        let work = (std::f64::consts::PI * (hour - 6.0) / 16.0).sin().max(0.0);
        let mean = (0.05 + 1.2 * work * work) * STEP_S as f64;
        for _ in 0..poisson(mean, &mut dice) {
            let audio_s = (300.0_f64.ln() + 1.1 * dice.normal()).exp().clamp(5.0, 14_400.0);
            arrivals.push(arrival(at_s, audio_s));
        }
        for (begins, recordings, audio_s) in BURSTS {
            if (begins * 3600.0) as u64 == at_s {
                for _ in 0..recordings {
                    arrivals.push(arrival(at_s, audio_s * (0.7 + 0.6 * dice.unit())));
                }
            }
        }
    }
    arrivals
}

/// By the method of Knuth; the means are small.
fn poisson(mean: f64, dice: &mut Dice) -> usize {
    let (limit, mut product, mut count) = ((-mean).exp(), dice.unit(), 0);
    while product > limit {
        product *= dice.unit();
        count += 1;
    }
    count
}
