//! How much of a channel's sound is a copy of another channel's, by their short-time spectra.

use std::collections::VecDeque;
use std::ops::Range;

use common::model::manifest::{Feature, Taper};

use super::noise::Noise;
use crate::diarize::fbank::Fbank;

/// Mel bands. Each is compared with itself, so what the way from one channel to the other does to the sound (a
/// loudspeaker, a room) costs nothing as long as it stays the same.
pub(super) const BANDS: usize = 8;
/// Samples that the energies of a step are computed over: 25 ms, the usual.
const ROW_SAMPLES: usize = 400;
/// Steps that the numbers below are meant for, samples: a row may not be shorter than its step, and lies in two of them at most.
pub(super) const STEPS: std::ops::RangeInclusive<usize> = 200..=ROW_SAMPLES;
/// Steps on either side of the one that is asked about, half a second each: with less, people who talk at once correlate
/// by chance too often.
pub(super) const HALF: usize = 30;
/// Steps that the energies are behind the powers: a row ends later than its step.
pub(super) const BEHIND: usize = 2;
/// The longest way of a leak, steps: 0.2 s, for side tone and the usual echo.
pub(super) const DELAY_MAX: usize = 12;
/// Steps before, and after, the one of which it is asked what a leak explains: half a second each.
const SIDE: usize = 30;
/// Rows whose least mean is a band's noise, a tenth of a second.
const QUIET: usize = 7;
/// How far above its usual level a leak still explains a band for a step, decibels.
const MARGIN_DB: f64 = 4.0;
/// How far above the least that a band has held lately what is in it is no noise, a factor: energies of noise vary.
const NOISE_FACTOR: f64 = 3.0;

/// What a channel's sound becomes on its way into another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Leak {
    /// How much later it is there, steps.
    pub delay: usize,
    /// How much of each band arrives, natural logarithm.
    pub gains: [f64; BANDS],
}

/// Log energies of the bands of every channel over the last seconds.
pub(super) struct Bands {
    step: usize,
    fbank: Fbank,
    /// Samples from the start of the next row on, `[channel]`.
    rest: Vec<Vec<f32>>,
    /// `[channel][row]`, from row `first` on.
    rows: Vec<VecDeque<[f32; BANDS]>>,
    first: usize,
    /// What each band of each channel holds when nobody speaks.
    noise: Vec<[Noise; BANDS]>,
    rows_a_second: usize,
}

impl Bands {
    pub fn new(rate_hz: u32, step: usize, channels: usize) -> Self {
        let feature = Feature {
            mel_bins: BANDS as u32,
            frame_samples: ROW_SAMPLES as u32,
            frame_step_samples: step as u32,
            // The floor of the logarithm then lies at the noise of 16-bit samples.
            sample_scale: 1.0,
            taper: Taper::Povey,
            low_hz: 150.0,
            high_hz: 4_000.0,
        };
        Self {
            step,
            fbank: Fbank::new(&feature, rate_hz),
            rest: vec![Vec::new(); channels],
            rows: vec![VecDeque::new(); channels],
            first: 0,
            noise: vec![std::array::from_fn(|_| Noise::new()); channels],
            rows_a_second: (rate_hz as usize / step).max(1),
        }
    }

    pub fn push(&mut self, channel: usize, samples: &[f32]) {
        let rest = &mut self.rest[channel];
        rest.extend_from_slice(samples);
        let rows = self.fbank.frames(rest.len());
        let mut energies = vec![0.0; rows * BANDS];
        self.fbank.compute(rest, &mut energies);
        rest.drain(..rows * self.step);
        self.rows[channel].extend(energies.as_chunks::<BANDS>().0);
    }

    /// Goes to the next step; has to be called for each, before it is asked about. Forgets what no later one needs.
    pub fn step(&mut self, step: usize) {
        let needed = step.saturating_sub(HALF + DELAY_MAX + 1);
        while self.first < needed && self.rows.iter().all(|rows| rows.len() > 1) {
            for rows in &mut self.rows {
                rows.pop_front();
            }
            self.first += 1;
        }
        let from = step.saturating_sub(QUIET / 2).saturating_sub(self.first);
        for (rows, noise) in self.rows.iter().zip(&mut self.noise) {
            let rows = rows.range(from.min(rows.len())..(from + QUIET).min(rows.len()));
            for (band, noise) in noise.iter_mut().enumerate() {
                let count = rows.len().max(1) as f32;
                noise.hear(rows.clone().map(|row| row[band].exp()).sum::<f32>() / count, self.rows_a_second);
            }
        }
    }

    /// How much of what channel `own` holds around a step is like what channel `other` held a little earlier, and how it
    /// would have got there: the correlation of the log energies of all bands, each less its mean, at the delay that suits
    /// best. `None` where less than half of the second around the step is there.
    pub fn likeness(&self, own: usize, other: usize, step: usize) -> Option<(f64, Leak)> {
        let (own, other) = (&self.rows[own], &self.rows[other]);
        let end = (step + HALF + 1).saturating_sub(self.first).min(own.len()).min(other.len());
        let begin = step.saturating_sub(HALF).saturating_sub(self.first);
        let at = |delay: usize| {
            let begin = begin.max(delay);
            if end < begin + HALF {
                return None;
            }
            let (likeness, gains) =
                correlation(own.range(begin..end), || other.range(begin - delay..end - delay));
            Some((likeness, Leak { delay, gains }))
        };
        (0..=DELAY_MAX).filter_map(at).reduce(|best, next| if next.0 > best.0 { next } else { best })
    }

    /// The same of the half second after a step alone: at the start of a leak, right behind what the channel itself held.
    /// People who talk at once are alike by chance more often in it, so it is for what lies far below the other channel.
    pub fn likeness_after(&self, own: usize, other: usize, step: usize) -> f64 {
        let (own, other) = (&self.rows[own], &self.rows[other]);
        let begin = step.saturating_sub(self.first);
        let end = (begin + HALF + 1).min(own.len()).min(other.len());
        let at = |delay: usize| {
            let begin = begin.max(delay);
            let whole = end >= begin + HALF;
            whole.then(|| correlation(own.range(begin..end), || other.range(begin - delay..end - delay)).0)
        };
        (0..=DELAY_MAX).filter_map(at).fold(0.0, f64::max)
    }

    /// The share of what channel `own` holds before or after a step, whichever is less, that neither a leak of channel
    /// `other` nor its own noise explains, by energy. One side is enough: where somebody stops speaking and a leak goes on,
    /// what was said until then explains nothing about what follows.
    pub fn unexplained(&self, own: usize, other: usize, step: usize, leak: &Leak) -> f64 {
        let at = |step: usize| step.saturating_sub(self.first);
        let sides = [at(step.saturating_sub(SIDE))..at(step + 1), at(step)..at(step + SIDE + 1)];
        let shares = sides.map(|rows| self.unexplained_in(own, other, rows, leak));
        shares[0].min(shares[1])
    }

    fn unexplained_in(&self, own: usize, other: usize, rows: Range<usize>, leak: &Leak) -> f64 {
        let (noise, own, other) = (&self.noise[own], &self.rows[own], &self.rows[other]);
        let rows = rows.start.min(own.len())..rows.end.min(own.len());
        let (mut all, mut left) = (0f64, 0f64);
        for (row, held) in rows.clone().zip(own.range(rows)) {
            let Some(source) = row.checked_sub(leak.delay) else { continue };
            let near = source.saturating_sub(1).min(other.len())..(source + 2).min(other.len());
            for band in 0..BANDS {
                let loud = other.range(near.clone()).map(|row| f64::from(row[band]));
                let leaked =
                    (loud.fold(f64::MIN, f64::max) + leak.gains[band]).exp() * 10f64.powf(MARGIN_DB / 10.0);
                let held = f64::from(held[band]).exp();
                all += held;
                if held > leaked + NOISE_FACTOR * f64::from(noise[band].low()) {
                    left += held;
                }
            }
        }
        if all > 0.0 { left / all } else { 0.0 }
    }
}

/// Correlation of two equally long runs of rows, each band less its mean over the run, and the differences of the means.
fn correlation<'a, I: Iterator<Item = &'a [f32; BANDS]> + Clone>(
    own: I,
    other: impl Fn() -> I,
) -> (f64, [f64; BANDS]) {
    let mean = |rows: I| {
        let (mut sums, mut count) = ([0f64; BANDS], 0usize);
        for row in rows {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            count += 1;
        }
        sums.map(|sum| sum / count.max(1) as f64)
    };
    let (own_mean, other_mean) = (mean(own.clone()), mean(other()));
    let (mut both, mut of_own, mut of_other) = (0f64, 0f64, 0f64);
    for (a, b) in own.zip(other()) {
        for band in 0..BANDS {
            let (a, b) = (f64::from(a[band]) - own_mean[band], f64::from(b[band]) - other_mean[band]);
            both += a * b;
            of_own += a * a;
            of_other += b * b;
        }
    }
    let scale = (of_own * of_other).sqrt();
    let likeness = if scale > 1e-9 { both / scale } else { 0.0 };
    (likeness, std::array::from_fn(|band| own_mean[band] - other_mean[band]))
}
