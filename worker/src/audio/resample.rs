//! Any sample rate to 16 kHz, streamed, with times kept.
//!
//! rubato's FFT resampler: a windowed sinc of one block length, applied by overlap and add, linear in phase. Its delay
//! of half a block is cut off at the start and pushed out with zeros at the end, so that output sample `n` stands for
//! the instant `n / 16000` and the length is the input's, rounded to a sample.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::error::AudioError;
use super::stream::SAMPLE_RATE_HZ;

/// Wanted length of the filter, output samples: the transition band is a few of 2048 parts of it wide, 50 to 100 Hz.
const FILTER_SAMPLES: usize = 2048;

/// Resamples one channel.
pub(super) struct Resampler {
    engine: Option<Engine>,
    rate_hz: u32,
    taken: u64,
    given: u64,
}

struct Engine {
    fft: Fft<f32>,
    waiting: Vec<f32>,
    block: Vec<f32>,
    /// Output samples of delay still to be cut off.
    delay: usize,
}

impl Resampler {
    /// From this rate. 16 kHz passes through.
    ///
    /// # Errors
    /// When the library refuses the rate.
    pub(super) fn new(rate_hz: u32) -> Result<Self, AudioError> {
        let engine = if rate_hz == SAMPLE_RATE_HZ { None } else { Some(Engine::new(rate_hz)?) };
        Ok(Self { engine, rate_hz, taken: 0, given: 0 })
    }

    /// Takes samples and appends what is ready.
    ///
    /// # Errors
    /// When the library fails, which it does not on blocks of its own size.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.taken += samples.len() as u64;
        let before = out.len();
        match &mut self.engine {
            None => out.extend_from_slice(samples),
            Some(engine) => {
                engine.waiting.extend_from_slice(samples);
                engine.run(out)?;
            }
        }
        self.given += (out.len() - before) as u64;
        Ok(())
    }

    /// Appends what is still inside, up to the length that the input has at 16 kHz.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let rate = u128::from(self.rate_hz);
        let wanted = (u128::from(self.taken) * u128::from(SAMPLE_RATE_HZ) * 2 + rate) / (2 * rate);
        let mut missing = usize::try_from(wanted - u128::from(self.given).min(wanted)).unwrap_or(0);
        let Some(engine) = &mut self.engine else { return Ok(()) };
        while missing > 0 {
            let before = out.len();
            let block = engine.fft.input_frames_next();
            engine.waiting.resize(engine.waiting.len().next_multiple_of(block).max(block), 0.0);
            engine.run(out)?;
            out.truncate(before + missing);
            missing -= out.len() - before;
        }
        self.given = u64::try_from(wanted).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl Engine {
    fn new(rate_hz: u32) -> Result<Self, AudioError> {
        let (from, to) = (rate_hz as usize, SAMPLE_RATE_HZ as usize);
        let divisor = gcd(from, to);
        // An even number of the smallest blocks, so that the delay of half a block is a whole number of samples.
        let blocks = FILTER_SAMPLES.div_ceil(to / divisor).next_multiple_of(2);
        let chunk = blocks * (from / divisor);
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(from, to, chunk, 1, 1, window, FixedSync::Both)
            .map_err(|error| AudioError::unsupported(format!("a sample rate of {rate_hz} Hz: {error}")))?;
        let delay = fft.output_delay();
        let block = vec![0.0; fft.output_frames_max()];
        Ok(Self { fft, waiting: Vec::new(), block, delay })
    }

    /// Processes all whole blocks that wait.
    fn run(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let failed = |what: String| AudioError::corrupt(format!("resampling failed: {what}"));
        let mut done = 0;
        while self.waiting.len() - done >= self.fft.input_frames_next() {
            let frames = self.fft.input_frames_next();
            let input = InterleavedSlice::new(&self.waiting[done..done + frames], 1, frames)
                .map_err(|error| failed(error.to_string()))?;
            let room = self.block.len();
            let mut output = InterleavedSlice::new_mut(&mut self.block, 1, room)
                .map_err(|error| failed(error.to_string()))?;
            let (read, written) = self
                .fft
                .process_into_buffer(&input, &mut output, None)
                .map_err(|error| failed(error.to_string()))?;
            let cut = self.delay.min(written);
            self.delay -= cut;
            out.extend_from_slice(&self.block[cut..written]);
            done += read;
        }
        self.waiting.drain(..done);
        Ok(())
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::fixtures::{Noise, sine};

    const RATES_HZ: [u32; 12] =
        [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 2_000, 44_099];

    fn resample(samples: &[f32], rate_hz: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(rate_hz).unwrap();
        let (mut out, mut noise, mut at) = (Vec::new(), Noise::new(8), 0);
        while at < samples.len() {
            let end = (at + 1 + (noise.next() % 5000) as usize).min(samples.len());
            resampler.push(&samples[at..end], &mut out).unwrap();
            at = end;
        }
        resampler.finish(&mut out).unwrap();
        out
    }

    /// The textbook: every output sample is the sum of the input with a windowed sinc around that very instant.
    fn slow(samples: &[f32], rate_hz: u32, cutoff_hz: f64, n: usize) -> f64 {
        let centre = n as f64 * f64::from(rate_hz) / 16_000.0;
        let reach = 400.0 * f64::from(rate_hz) / 16_000.0;
        let cut = 2.0 * cutoff_hz / f64::from(rate_hz);
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(samples.len() - 1);
        (first..=last)
            .map(|k| {
                let t = k as f64 - centre;
                let x = std::f64::consts::PI * cut * t;
                let sinc = if x.abs() < 1e-12 { 1.0 } else { x.sin() / x };
                let u = std::f64::consts::PI * t / reach;
                let window = 0.42 + 0.5 * u.cos() + 0.08 * (2.0 * u).cos();
                f64::from(samples[k]) * cut * sinc * window
            })
            .sum()
    }

    #[test]
    fn lengths_are_the_inputs_rounded() {
        for rate_hz in RATES_HZ {
            for count in [0usize, 1, 7, 440, 10_000, 44_100] {
                let expected = (count as f64 * 16_000.0 / f64::from(rate_hz)).round();
                let length = resample(&vec![0.1; count], rate_hz).len();
                assert!((length as f64 - expected).abs() <= 1.0, "{rate_hz} Hz, {count}: {length}");
            }
        }
    }

    #[test]
    fn times_and_values_agree_with_the_textbook() {
        for rate_hz in RATES_HZ {
            // A band-limited signal: noise through the slow filter is not needed, tones below the edge do.
            let edge_hz = 0.5 * f64::from(rate_hz.min(16_000));
            let count = rate_hz as usize;
            let mut signal = vec![0.0f32; count];
            for (index, part) in [0.031, 0.17, 0.44, 0.71, 0.83].iter().enumerate() {
                let tone = sine(edge_hz * part, rate_hz, count, 0.15 + 0.01 * index as f64);
                signal.iter_mut().zip(tone).for_each(|(s, t)| *s += t);
            }
            let fast = resample(&signal, rate_hz);
            let mut worst = 0.0f64;
            for n in (4000..12_000).step_by(97) {
                worst = worst.max((f64::from(fast[n]) - slow(&signal, rate_hz, edge_hz * 0.94, n)).abs());
            }
            assert!(worst < 2e-4, "{rate_hz} Hz: {worst}");
        }
    }

    #[test]
    fn a_sweep_keeps_its_purity_up_to_the_edge() {
        for rate_hz in [8_000u32, 44_100, 48_000] {
            let edge_hz = 0.5 * f64::from(rate_hz.min(16_000));
            for part in [0.05, 0.3, 0.6, 0.9, 0.97] {
                let hz = edge_hz * part;
                let fast = resample(&sine(hz, rate_hz, rate_hz as usize, 0.5), rate_hz);
                let ideal = sine(hz, 16_000, 16_000, 0.5);
                let (mut power, mut error) = (0.0, 0.0);
                for n in 3000..13_000 {
                    power += f64::from(ideal[n]).powi(2);
                    error += f64::from(fast[n] - ideal[n]).powi(2);
                }
                let db = 10.0 * (power / error).log10();
                assert!(db > 80.0, "{rate_hz} Hz, tone of {hz} Hz: {db:.1} dB");
            }
        }
    }

    #[test]
    fn what_lies_above_the_edge_does_not_fold_back() {
        for hz in [8_300.0, 9_000.0, 15_000.0, 20_000.0] {
            let fast = resample(&sine(hz, 48_000, 48_000, 0.5), 48_000);
            let left = fast[3000..13_000].iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
            assert!(left < 5e-5, "{hz} Hz leaves {left}");
        }
    }

    #[test]
    fn an_impulse_stays_where_it_is() {
        for rate_hz in [8_000u32, 44_100, 48_000, 96_000, 11_025] {
            let mut signal = vec![0.0; rate_hz as usize];
            signal[rate_hz as usize / 2] = 1.0;
            let fast = resample(&signal, rate_hz);
            let at = (0..fast.len()).max_by(|&a, &b| fast[a].total_cmp(&fast[b])).unwrap();
            let expected = f64::from(rate_hz / 2) * 16_000.0 / f64::from(rate_hz);
            assert!((at as f64 - expected).abs() <= 1.0, "{rate_hz} Hz: {at}");
            // Linear phase: the same on both sides, where the instant falls on a sample.
            if expected.fract() == 0.0 {
                let lop = (1..500).map(|k| (fast[at - k] - fast[at + k]).abs()).fold(0.0, f32::max);
                assert!(lop < 1e-5, "{rate_hz} Hz: {lop}");
            }
        }
    }
}
