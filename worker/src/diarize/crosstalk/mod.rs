//! Channels of a call against one another: whose sound a frame holds, and which channel is louder.
//!
//! A channel of a call holds its own people and, faintly, those of the other channels: echo, side tone, a headset that
//! leaks. Faint sound may also be a person far from the microphone, or a quiet line, so level alone decides nothing: a leak
//! is a *copy*, delayed, filtered, attenuated. **The rule**: a channel is *faint* at a step beside another one when its
//! mean power over the [`SPAN_S`] that end with the step, or over the [`SPAN_S`] that begin with it, is more than
//! [`FAINT_DB`] below the other's over the same span. What it holds at a faint step is the other's sound when the
//! short-time spectra of both correlate beyond doubt over the second around it; from such steps it is learnt how the one
//! leaks into the other ([`coupling`]), and then it is the other's sound when that leak and the channel's own noise explain
//! most of it, before the step or after it ([`copy`]). A frame is *foreign* when that is so at every step within [`EDGE_S`]
//! of it. Foreign frames hold no speech of the channel's own, whatever the segmentation network says. Spans that the
//! recording cuts off do not count; where it cuts off both, all of it is the span.
//!
//! Spans of half a second, because two people who talk at once differ by 20 dB for a moment all the time, and hardly ever
//! for half a second. They begin or end with the step, because then a word of the channel's own lifts the spans of every
//! step it is in, and none behind its end or before its beginning; and a tenth of a second of grace, because words fade in
//! and out. What the rule costs: where a channel does leak, somebody on it who is as faint as the leak is not heard *while*
//! the other talks. A leak less than [`FAINT_DB`] down is heard as speech.

mod copy;
mod coupling;
mod gate;
mod noise;

use std::collections::VecDeque;
use std::ops::Range;

use self::copy::Bands;
use self::coupling::Coupling;
pub use self::gate::{Gate, silence_foreign};
use self::noise::Noise;
use super::geometry::Geometry;

/// Length of audio on either side whose mean power decides about a frame, seconds.
pub const SPAN_S: f64 = 0.5;
/// How far below the other channel sound may be its cross-talk, decibels.
pub const FAINT_DB: f64 = 12.0;
/// How far below the other channel sound is taken for a copy by half a second of likeness, while the leak is not known yet,
/// decibels.
const FAR_DB: f64 = 20.0;
/// Correlation from which that half second is a copy: more than over a second, since it is like by chance more often.
const CERTAIN_AFTER: f64 = 0.8;
/// Share of its energy that a leak may leave unexplained for sound to be the leak, once it is known what it does.
const UNEXPLAINED_MAX: f64 = 0.5;
/// How near a frame has to be to where its channel is not faint to count as its own, seconds.
pub const EDGE_S: f64 = 0.1;
/// Length of audio whose quietest mean is a channel's noise, seconds: shorter than a pause between two words.
const QUIET_S: f64 = 0.1;
/// Channels correlate at least this much when they carry the same sound.
const SAME_CORRELATION: f64 = 0.9;

/// Mean power that is silence: below the least step of 16 bits. Nothing is learnt from it: of a channel that is muted for
/// an hour it is as true as before how others leak into it.
const SILENCE: f64 = 1.0 / (32_768.0 * 32_768.0);

/// Power of every channel of a recording, in steps of an activity frame: 0.9 MB an hour and channel.
pub struct Levels {
    step: usize,
    /// Steps from a frame's number to the step that its middle lies in.
    middle: usize,
    /// Steps of a span.
    reach: usize,
    /// Steps on either side of a frame that are its own level.
    around: usize,
    frames_a_second: usize,
    /// Mean power of each step, `[channel][step]`.
    steps: Vec<Vec<f32>>,
    /// Samples that fill no step yet, `[channel]`.
    rest: Vec<Vec<f32>>,
    /// Sum of products of the first channel with each, and of each with itself.
    products: Vec<(f64, f64)>,
    noise: Vec<Noise>,
    bands: Bands,
    /// What is known of the leak of one channel into another, `[into][from]`.
    couplings: Vec<Vec<Coupling>>,
    /// Whether each channel holds another's sound, `[step][channel]`, of the steps near the last decided frame.
    copied: VecDeque<Vec<bool>>,
    /// The first of those steps.
    copied_from: usize,
    /// Steps that [`EDGE_S`] are.
    edge: usize,
    /// Frames decided so far.
    decided: usize,
}

/// What is known of a frame of a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// It holds another channel's sound.
    pub foreign: bool,
    /// What brings a foreign frame down to the channel's own noise, at most 1; 1 for any other.
    pub gain: f32,
}

impl Levels {
    /// Nothing heard yet of this many channels.
    #[must_use]
    pub fn new(geometry: &Geometry, channels: usize) -> Self {
        let span = SPAN_S * f64::from(geometry.rate_hz);
        Self {
            step: geometry.frame_step,
            middle: geometry.receptive_field / 2 / geometry.frame_step,
            reach: (span / geometry.frame_step as f64) as usize,
            steps: vec![Vec::new(); channels],
            rest: vec![Vec::new(); channels],
            products: vec![(0.0, 0.0); channels],
            bands: Bands::new(geometry.rate_hz, geometry.frame_step, channels),
            couplings: vec![vec![Coupling::new(); channels]; channels],
            copied: VecDeque::new(),
            copied_from: 0,
            edge: (EDGE_S * f64::from(geometry.rate_hz) / geometry.frame_step as f64).round() as usize,
            noise: vec![Noise::new(); channels],
            around: (QUIET_S * f64::from(geometry.rate_hz) / 2.0 / geometry.frame_step as f64) as usize,
            frames_a_second: (geometry.rate_hz as usize / geometry.frame_step).max(1),
            decided: 0,
        }
    }

    /// Whether channels can be held against one another at this geometry: numbers of steps here are times.
    #[must_use]
    pub fn suits(geometry: &Geometry) -> bool {
        copy::STEPS.contains(&geometry.frame_step)
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.steps.len()
    }

    /// Hears the next samples of every channel, all of one length.
    pub fn push(&mut self, block: &[Vec<f32>]) {
        let first = block.first().map_or(&[][..], Vec::as_slice);
        for (channel, samples) in block.iter().enumerate().take(self.channels()) {
            let (with_first, own) = &mut self.products[channel];
            *with_first += samples.iter().zip(first).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            *own += power(samples);
            let rest = &mut self.rest[channel];
            rest.extend_from_slice(samples);
            let whole = rest.len() / self.step * self.step;
            let steps = rest[..whole].chunks_exact(self.step).map(|s| (power(s) / self.step as f64) as f32);
            self.steps[channel].extend(steps);
            rest.drain(..whole);
            self.bands.push(channel, samples);
        }
    }

    /// For each channel, what is known of the next frames: all whose spans have been heard since the last call, or with
    /// `ended` all that the recording has.
    pub fn decide(&mut self, ended: bool) -> Vec<Vec<Verdict>> {
        let heard = self.steps.first().map_or(0, Vec::len);
        let ahead = self.middle + self.edge + self.reach.max(copy::HALF + copy::BEHIND);
        let until = if ended { heard } else { heard.saturating_sub(ahead) };
        let frames = self.decided..until.max(self.decided);
        let mut verdicts = vec![Vec::with_capacity(frames.len()); self.channels()];
        for frame in frames {
            let at = (frame + self.middle).min(heard.saturating_sub(1));
            let foreign = self.foreign(at, heard);
            for (channel, verdicts) in verdicts.iter_mut().enumerate() {
                let own = at.saturating_sub(self.around)..(at + self.around + 1).min(heard);
                let level = (sum(&self.steps[channel][own.clone()]) / own.len().max(1) as f64) as f32;
                let noise = self.noise[channel].hear(level, self.frames_a_second);
                let foreign = foreign[channel];
                let gain = if foreign && level > 0.0 { (noise / level).sqrt().min(1.0) } else { 1.0 };
                verdicts.push(Verdict { foreign, gain });
            }
            self.decided += 1;
        }
        verdicts
    }

    /// Which channels are foreign at a step, of `heard`: there and at every step near it they hold another's sound.
    fn foreign(&mut self, at: usize, heard: usize) -> Vec<bool> {
        let near = at.saturating_sub(self.edge)..(at + self.edge + 1).min(heard);
        while self.copied_from < near.start {
            self.copied.pop_front();
            self.copied_from += 1;
        }
        for step in self.copied_from + self.copied.len()..near.end {
            self.bands.step(step);
            let copied = self.copied_at(step, heard);
            self.copied.push_back(copied);
        }
        (0..self.channels()).map(|channel| self.copied.iter().all(|copied| copied[channel])).collect()
    }

    /// Which channels hold the sound of another at a step, of `heard`. Learns how channels leak on the way.
    fn copied_at(&mut self, at: usize, heard: usize) -> Vec<bool> {
        let before = (at + 1).checked_sub(self.reach).map(|from| from..at + 1);
        let after = Some(at..at + self.reach).filter(|span| span.end <= heard);
        let all = if before.is_none() && after.is_none() { Some(0..heard) } else { None };
        let powers =
            |span| self.steps.iter().map(|steps| sum(&steps[Range::clone(&span)])).collect::<Vec<_>>();
        let spans: Vec<Vec<f64>> = [before, after, all].into_iter().flatten().map(powers).collect();
        let mut copied = vec![false; self.channels()];
        for (own, other) in pairs(self.channels()) {
            let below = |powers: &Vec<f64>| powers[own] / powers[other].max(f64::MIN_POSITIVE);
            let level = spans.iter().map(below).fold(f64::INFINITY, f64::min);
            if spans.iter().all(|powers| powers[own] < SILENCE * self.reach as f64) {
                // What stands beside an echo belongs to it.
                copied[own] |= self.couplings[own][other].leak().is_some();
            } else if level < 10f64.powf(-FAINT_DB / 10.0) {
                let likeness = self.bands.likeness(own, other, at);
                let certain = self.couplings[own][other].hear(likeness);
                copied[own] |= match self.couplings[own][other].leak() {
                    Some(leak) => self.bands.unexplained(own, other, at, &leak) < UNEXPLAINED_MAX,
                    None => {
                        let far = level < 10f64.powf(-FAR_DB / 10.0);
                        certain || (far && self.bands.likeness_after(own, other, at) > CERTAIN_AFTER)
                    }
                };
            }
        }
        copied
    }

    /// Mean power of a channel from one instant to another, seconds; 0 where nothing was heard.
    #[must_use]
    pub fn mean(&self, channel: usize, start_s: f64, end_s: f64, rate_hz: u32) -> f64 {
        let steps = &self.steps[channel];
        let step_of = |s: f64| ((s * f64::from(rate_hz)) as usize / self.step).min(steps.len());
        let from = step_of(start_s);
        let span = &steps[from..step_of(end_s).max(from + 1).min(steps.len())];
        if span.is_empty() { 0.0 } else { sum(span) / span.len() as f64 }
    }

    /// A channel (counted from 0) that carries the same sound as the first.
    #[must_use]
    pub fn same_as_first(&self) -> Option<usize> {
        let first = self.products.first()?.1;
        (1..self.channels()).find(|channel| {
            let (with_first, own) = self.products[*channel];
            let scale = (first * own).sqrt();
            scale > 0.0 && with_first.abs() > SAME_CORRELATION * scale
        })
    }
}

/// Every channel with every other one.
fn pairs(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels).flat_map(move |own| (0..channels).map(move |other| (own, other))).filter(|(a, b)| a != b)
}

fn sum(steps: &[f32]) -> f64 {
    steps.iter().copied().map(f64::from).sum()
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum()
}

#[cfg(test)]
mod tests;
