//! Several channels to one, without losing any.
//!
//! The mean of the channels is wrong in three ways that happen: channels of opposite polarity cancel (a miswired cable,
//! a "phone" effect), a channel that is silent costs 6 dB, and eight microphones of which one is used cost 18 dB. Here
//! the channels are summed, each with the polarity that adds up, and the sum is scaled to the level that the channels
//! have: `y = g · Σ sᵢ xᵢ`.
//!
//! Signs and gain come from the running covariance of the channels, decided every tenth of a second from what has been
//! heard so far including that tenth. A sign turns negative only at a correlation below [`FLIP_BELOW`] with the sum of
//! the channels before it, and back above [`FLIP_BACK_ABOVE`]: unrelated channels (two people of a call) keep their
//! polarity. The gain brings the power of the sum to the power-weighted mean of the channels' powers, so that two equal
//! channels come out at their own level, one used channel of eight at its own, and two unrelated ones 3 dB down. No
//! channel is ever weighted by its loudness: the quiet side of a call stays. Changes glide over the tenth.

/// Stretch between decisions, seconds.
const STRETCH_S: f64 = 0.1;
/// Memory of the covariance, seconds.
const MEMORY_S: f64 = 1.0;
/// Correlation below which a channel is turned over.
const FLIP_BELOW: f64 = -0.5;
/// Correlation above which it is turned back.
const FLIP_BACK_ABOVE: f64 = 0.2;

/// Mixes a fixed number of channels.
#[derive(Debug, Clone)]
pub(super) struct Downmix {
    channels: usize,
    stretch: usize,
    keep: f64,
    waiting: Vec<Vec<f32>>,
    covariance: Vec<f64>,
    signs: Vec<f64>,
    weights: Option<Vec<f32>>,
}

impl Downmix {
    /// For this many channels at this rate.
    pub(super) fn new(channels: usize, rate_hz: u32) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 76,800")]
        let stretch = (f64::from(rate_hz) * STRETCH_S).round().max(1.0) as usize;
        Self {
            channels,
            stretch,
            keep: (-STRETCH_S / MEMORY_S).exp(),
            waiting: vec![Vec::new(); channels],
            covariance: vec![0.0; channels * channels],
            signs: vec![1.0; channels],
            weights: None,
        }
    }

    /// Number of channels.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Takes frames and appends what is mixed; up to a tenth of a second stays inside.
    pub(super) fn push(&mut self, planes: &[Vec<f32>], out: &mut Vec<f32>) {
        debug_assert_eq!(planes.len(), self.channels);
        for (waiting, plane) in self.waiting.iter_mut().zip(planes) {
            waiting.extend_from_slice(plane);
        }
        let frames = self.waiting.first().map_or(0, Vec::len);
        let whole = frames / self.stretch * self.stretch;
        for start in (0..whole).step_by(self.stretch) {
            self.mix(start, start + self.stretch, out);
        }
        for waiting in &mut self.waiting {
            waiting.drain(..whole);
        }
    }

    /// Appends what is still inside.
    pub(super) fn flush(&mut self, out: &mut Vec<f32>) {
        let frames = self.waiting.first().map_or(0, Vec::len);
        if frames > 0 {
            self.mix(0, frames, out);
        }
        for waiting in &mut self.waiting {
            waiting.clear();
        }
    }

    fn mix(&mut self, from: usize, to: usize, out: &mut Vec<f32>) {
        if self.channels == 1 {
            out.extend_from_slice(&self.waiting[0][from..to]);
            return;
        }
        self.listen(from, to);
        let next = self.decide();
        let first = out.len();
        out.resize(first + to - from, 0.0);
        let mixed = &mut out[first..];
        // Before any sound there is no weight to glide from.
        let last = self.weights.take().or_else(|| next.clone());
        if let (Some(last), Some(next)) = (&last, &next) {
            let step = 1.0 / (to - from) as f32;
            for (channel, plane) in self.waiting.iter().enumerate() {
                add(mixed, &plane[from..to], last[channel], (next[channel] - last[channel]) * step);
            }
        }
        self.weights = next;
    }

    /// Updates the covariance.
    fn listen(&mut self, from: usize, to: usize) {
        for i in 0..self.channels {
            for j in i..self.channels {
                let power = dot(&self.waiting[i][from..to], &self.waiting[j][from..to]);
                let at = i * self.channels + j;
                self.covariance[at] = self.covariance[at] * self.keep + power;
                self.covariance[j * self.channels + i] = self.covariance[at];
            }
        }
    }

    /// The weights by what was heard; `None` before any sound.
    fn decide(&mut self) -> Option<Vec<f32>> {
        let n = self.channels;
        let power = |i: usize| self.covariance[i * n + i];
        let (mut sum, mut squares) = (0.0, 0.0);
        for i in 0..n {
            sum += power(i);
            squares += power(i) * power(i);
        }
        if sum <= 0.0 {
            return None;
        }
        // Power of the sum of the channels so far, and their covariance with the next.
        let mut mixed_power = 0.0;
        for i in 0..n {
            let with_mix: f64 = (0..i).map(|j| self.signs[j] * self.covariance[i * n + j]).sum();
            let scale = (mixed_power * self.covariance[i * n + i]).sqrt();
            if scale > 0.0 {
                let correlation = with_mix / scale;
                if correlation < FLIP_BELOW {
                    self.signs[i] = -1.0;
                } else if correlation > FLIP_BACK_ABOVE {
                    self.signs[i] = 1.0;
                }
            }
            mixed_power += self.covariance[i * n + i] + 2.0 * self.signs[i] * with_mix;
        }
        let wanted = squares / sum;
        let least = 1.0 / n as f64;
        let gain = (wanted / mixed_power.max(f64::MIN_POSITIVE)).sqrt().clamp(least, 1.0);
        #[allow(clippy::cast_possible_truncation, reason = "within ±1")]
        let weights = self.signs.iter().map(|sign| (sign * gain) as f32).collect();
        Some(weights)
    }
}

/// `out += x · (weight + n · step)`.
fn add(out: &mut [f32], x: &[f32], weight: f32, step: f32) {
    if step == 0.0 {
        for (o, x) in out.iter_mut().zip(x) {
            *o += x * weight;
        }
    } else {
        for (n, (o, x)) in out.iter_mut().zip(x).enumerate() {
            *o += x * (weight + step * (n + 1) as f32);
        }
    }
}

/// Sum of products, in a fixed order that the compiler can vectorise.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::fixtures::{Noise, sine};

    fn mix(planes: &[Vec<f32>]) -> Vec<f32> {
        let mut downmix = Downmix::new(planes.len(), 16_000);
        let mut out = Vec::new();
        downmix.push(planes, &mut out);
        downmix.flush(&mut out);
        assert_eq!(out.len(), planes[0].len());
        out
    }

    fn power(samples: &[f32]) -> f64 {
        samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64
    }

    fn db(a: &[f32], b: &[f32]) -> f64 {
        10.0 * (power(a) / power(b)).log10()
    }

    fn speech() -> Vec<f32> {
        // Bursts of noise with pauses.
        let noise = Noise::new(3).samples(64_000, 0.3);
        noise.iter().enumerate().map(|(n, s)| if n / 4000 % 3 == 2 { 0.0 } else { *s }).collect()
    }

    #[test]
    fn equal_channels_come_out_as_they_are() {
        let speech = speech();
        for channels in [2, 3, 8] {
            let mixed = mix(&vec![speech.clone(); channels]);
            let off = mixed.iter().zip(&speech).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "{channels} channels: {off}");
        }
    }

    #[test]
    fn opposite_channels_do_not_cancel() {
        let speech = speech();
        let opposite: Vec<f32> = speech.iter().map(|s| -s).collect();
        let mixed = mix(&[speech.clone(), opposite]);
        let off = mixed.iter().zip(&speech).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{off}");
    }

    #[test]
    fn one_used_channel_keeps_its_level() {
        let speech = speech();
        let silence = vec![0.0; speech.len()];
        assert!(db(&mix(&[silence.clone(), speech.clone()]), &speech).abs() < 0.01);
        let hiss = |seed| Noise::new(seed).samples(speech.len(), 0.001);
        let eight: Vec<Vec<f32>> =
            (0..8).map(|c| if c == 5 { speech.clone() } else { hiss(c + 10) }).collect();
        assert!(db(&mix(&eight), &speech).abs() < 0.1);
    }

    #[test]
    fn two_people_on_two_channels_both_stay_even_a_quiet_one() {
        let (mut left, mut right) = (speech(), speech());
        left[32_000..].fill(0.0);
        right[..32_000].fill(0.0);
        right.iter_mut().for_each(|s| *s *= 0.03);
        let mixed = mix(&[left.clone(), right.clone()]);
        assert!(db(&mixed[..32_000], &left[..32_000]).abs() < 0.1);
        let quiet = db(&mixed[32_000..], &right[32_000..]);
        assert!((-3.5..=0.1).contains(&quiet), "{quiet} dB");
    }

    #[test]
    fn unrelated_channels_lose_at_most_3_db_and_keep_their_polarity() {
        let (a, b) = (Noise::new(1).samples(64_000, 0.2), Noise::new(2).samples(64_000, 0.2));
        let mut downmix = Downmix::new(2, 16_000);
        let mut out = Vec::new();
        downmix.push(&[a.clone(), b], &mut out);
        assert_eq!(downmix.signs, [1.0, 1.0]);
        assert!(db(&out, &a).abs() < 0.2);
        let weight = downmix.weights.unwrap()[0];
        assert!((weight - 0.707).abs() < 0.02, "{weight}");
    }

    #[test]
    fn polarity_follows_a_change_and_does_not_flutter() {
        let tone = sine(300.0, 16_000, 160_000, 0.3);
        let turned: Vec<f32> =
            tone.iter().enumerate().map(|(n, s)| if n < 80_000 { *s } else { -s }).collect();
        let mixed = mix(&[tone.clone(), turned]);
        // A cable is not turned over within a recording, but an edit may be: heard again within two seconds.
        assert!(db(&mixed[112_000..], &tone[112_000..]).abs() < 1.5);
        assert!(db(&mixed[136_000..], &tone[136_000..]).abs() < 0.3);
        // Correlation between the two thresholds keeps the sign.
        let (x, y) = (Noise::new(1).samples(64_000, 0.2), Noise::new(2).samples(64_000, 0.2));
        let weak: Vec<f32> = x.iter().zip(&y).map(|(x, y)| y - 0.4 * x).collect();
        let mut downmix = Downmix::new(2, 16_000);
        for start in (0..64_000).step_by(1600) {
            let planes = [x[start..start + 1600].to_vec(), weak[start..start + 1600].to_vec()];
            downmix.push(&planes, &mut Vec::new());
            assert_eq!(downmix.signs[1], 1.0);
        }
    }

    #[test]
    fn packets_of_any_size_give_the_same() {
        let planes = [speech(), Noise::new(9).samples(64_000, 0.1)];
        let whole = mix(&planes);
        let mut downmix = Downmix::new(2, 16_000);
        let (mut out, mut at, mut noise) = (Vec::new(), 0, Noise::new(4));
        while at < 64_000 {
            let end = (at + 1 + (noise.next() % 3000) as usize).min(64_000);
            downmix.push(&[planes[0][at..end].to_vec(), planes[1][at..end].to_vec()], &mut out);
            at = end;
        }
        downmix.flush(&mut out);
        assert_eq!(out, whole);
    }

    #[test]
    fn the_fast_sum_is_the_slow_sum() {
        let (a, b) = (Noise::new(1).samples(1003, 1.0), Noise::new(2).samples(1003, 1.0));
        let slow: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((dot(&a, &b) - slow).abs() < 1e-3);
    }
}
