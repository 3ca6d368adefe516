//! Channels of a call against one another: whose sound a frame holds, and which channel is louder.
//!
//! A channel of a call holds its own people and, faintly, those of the other channels: echo, side tone, a headset that
//! leaks. **The rule**: a channel is *faint* at a frame when its mean power over the [`SPAN_S`] that end with the frame, or
//! over the [`SPAN_S`] that begin with it, is more than [`FAINT_DB`] below that of the loudest other channel over the same
//! span. The frame is *foreign* when the channel is faint at every frame within [`EDGE_S`] of it. Foreign frames hold no
//! speech of the channel's own, whatever the segmentation network says. Spans that the recording cuts off do not count;
//! where it cuts off both, all of it is the span.
//!
//! Spans of half a second, because two people who talk at once differ by 20 dB for a moment all the time, and hardly ever
//! for half a second. They begin or end with the frame, because then a word of the channel's own lifts the spans of every
//! frame it is in, and none behind its end or before its beginning; and a tenth of a second of grace, because words fade in
//! and out. What the rule costs: somebody more than 20 dB fainter than the other channel is not heard *while* the other
//! talks. Leaks that are less than 20 dB down are heard as speech; levels alone cannot tell them from a person.

use std::collections::VecDeque;

use super::geometry::Geometry;

/// Length of audio on either side whose mean power decides about a frame, seconds.
pub const SPAN_S: f64 = 0.5;
/// How far below the other channel sound counts as its cross-talk, decibels: telephone echo after suppression lies 25 to
/// 60 dB down, people of one call within 15 dB of each other.
pub const FAINT_DB: f64 = 20.0;
/// How near a frame has to be to where its channel is not faint to count as its own, seconds.
pub const EDGE_S: f64 = 0.1;
/// Length of audio whose quietest mean is a channel's noise, seconds: shorter than a pause between two words.
const QUIET_S: f64 = 0.1;
/// How long the noise of a channel is remembered, seconds.
const NOISE_MEMORY_S: usize = 30;
/// Length of the ramp between sound and silence, samples: 5 ms at 16 kHz, so that there is no click.
const RAMP_SAMPLES: f32 = 80.0;
/// Channels correlate at least this much when they carry the same sound.
const SAME_CORRELATION: f64 = 0.9;

/// Power of every channel of a recording, in steps of an activity frame: 0.9 MB an hour and channel.
#[derive(Debug, Clone, PartialEq)]
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
    /// Whether each channel is faint, `[step][channel]`, of the steps near the last decided frame.
    faint: VecDeque<Vec<bool>>,
    /// The first of those steps.
    faint_from: usize,
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

/// The quietest that a channel has been lately.
#[derive(Debug, Clone, PartialEq)]
struct Noise {
    /// Lowest mean of each second, the last of which is not over.
    lows: VecDeque<f32>,
    frames: usize,
}

impl Noise {
    /// Hears the mean power around a frame; gives the lowest of the last [`NOISE_MEMORY_S`].
    fn hear(&mut self, level: f32, frames_a_second: usize) -> f32 {
        if self.frames.is_multiple_of(frames_a_second) {
            self.lows.push_back(f32::INFINITY);
            if self.lows.len() > NOISE_MEMORY_S {
                self.lows.pop_front();
            }
        }
        self.frames += 1;
        if let Some(low) = self.lows.back_mut() {
            *low = low.min(level);
        }
        self.lows.iter().copied().fold(f32::INFINITY, f32::min)
    }
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
            faint: VecDeque::new(),
            faint_from: 0,
            edge: (EDGE_S * f64::from(geometry.rate_hz) / geometry.frame_step as f64).round() as usize,
            noise: vec![Noise { lows: VecDeque::new(), frames: 0 }; channels],
            around: (QUIET_S * f64::from(geometry.rate_hz) / 2.0 / geometry.frame_step as f64) as usize,
            frames_a_second: (geometry.rate_hz as usize / geometry.frame_step).max(1),
            decided: 0,
        }
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
        }
    }

    /// For each channel, what is known of the next frames: all whose spans have been heard since the last call, or with
    /// `ended` all that the recording has.
    pub fn decide(&mut self, ended: bool) -> Vec<Vec<Verdict>> {
        let heard = self.steps.first().map_or(0, Vec::len);
        let ahead = self.middle + self.edge + self.reach;
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

    /// Which channels are foreign at a step, of `heard`: faint there and at every step near it.
    fn foreign(&mut self, at: usize, heard: usize) -> Vec<bool> {
        let near = at.saturating_sub(self.edge)..(at + self.edge + 1).min(heard);
        while self.faint_from < near.start {
            self.faint.pop_front();
            self.faint_from += 1;
        }
        for step in self.faint_from + self.faint.len()..near.end {
            let faint = self.faint_at(step, heard);
            self.faint.push_back(faint);
        }
        (0..self.channels()).map(|channel| self.faint.iter().all(|faint| faint[channel])).collect()
    }

    /// Which channels are faint at a step, of `heard`.
    fn faint_at(&self, at: usize, heard: usize) -> Vec<bool> {
        let before = (at + 1).checked_sub(self.reach).map(|from| from..at + 1);
        let after = Some(at..at + self.reach).filter(|span| span.end <= heard);
        let all = if before.is_none() && after.is_none() { Some(0..heard) } else { None };
        let mut faint = vec![false; self.channels()];
        for span in [before, after, all].into_iter().flatten() {
            let levels: Vec<f64> = self.steps.iter().map(|steps| sum(&steps[span.clone()])).collect();
            for (channel, faint) in faint.iter_mut().enumerate() {
                let others = levels.iter().enumerate().filter(|(other, _)| *other != channel);
                let loudest = others.map(|(_, level)| *level).fold(0.0, f64::max);
                *faint |= levels[channel] < loudest * 10f64.powf(-FAINT_DB / 10.0);
            }
        }
        faint
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

/// Brings foreign frames of a channel's sound down to its own noise, so that the networks do not hear them: next to a
/// stretch of echo they find speech in what is only noise. Not to silence, which sounds like no channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    step: usize,
    /// First sample of the step that frame 0 stands for.
    offset: usize,
    gains: Vec<f32>,
    samples: usize,
    gain: f32,
}

impl Gate {
    /// A gate at the start of a channel.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        let step = geometry.frame_step;
        let offset = (geometry.receptive_field / 2).saturating_sub(step / 2);
        Self { step, offset, gains: Vec::new(), samples: 0, gain: 1.0 }
    }

    /// Learns of the next frames.
    pub fn know(&mut self, frames: &[Verdict]) {
        self.gains.extend(frames.iter().map(|frame| frame.gain));
    }

    /// Turns the next samples down where they are foreign. What is not known counts as the channel's own.
    pub fn apply(&mut self, samples: &mut [f32]) {
        for sample in samples {
            let frame = self.samples.saturating_sub(self.offset) / self.step;
            let aim = self.gains.get(frame).copied().unwrap_or(1.0);
            self.gain += (aim - self.gain).clamp(-1.0 / RAMP_SAMPLES, 1.0 / RAMP_SAMPLES);
            *sample *= self.gain;
            self.samples += 1;
        }
    }
}

/// Takes the activity out of the frames of a chunk that are foreign; `first_frame` is the chunk's first in the recording.
pub fn silence_foreign(foreign: &[bool], first_frame: usize, masks: &mut [u8]) {
    for (mask, foreign) in masks.iter_mut().zip(foreign.iter().skip(first_frame)) {
        if *foreign {
            *mask = 0;
        }
    }
}

fn sum(steps: &[f32]) -> f64 {
    steps.iter().copied().map(f64::from).sum()
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;

    /// A square wave of each level, in dB below full scale, one after another, each of the given seconds.
    fn tone(parts: &[(f64, f64)]) -> Vec<f32> {
        let part = |(db, seconds): &(f64, f64)| {
            let level = 10f64.powf(db / 20.0) as f32;
            (0..(seconds * 16_000.0) as usize).map(move |n| if n / 40 % 2 == 0 { level } else { -level })
        };
        parts.iter().flat_map(part).collect()
    }

    fn verdicts(channels: &[Vec<f32>], block: usize) -> (Levels, Vec<Vec<Verdict>>) {
        let mut levels = Levels::new(&pyannote(), channels.len());
        let mut all = vec![Vec::new(); channels.len()];
        let mut take =
            |part: Vec<Vec<Verdict>>| all.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
        for start in (0..channels[0].len()).step_by(block) {
            let cut = |c: &Vec<f32>| c[start..(start + block).min(c.len())].to_vec();
            levels.push(&channels.iter().map(cut).collect::<Vec<_>>());
            take(levels.decide(false));
        }
        take(levels.decide(true));
        (levels, all)
    }

    fn decide(channels: &[Vec<f32>], block: usize) -> (Levels, Vec<Vec<bool>>) {
        let (levels, verdicts) = verdicts(channels, block);
        (levels, verdicts.iter().map(|frames| frames.iter().map(|frame| frame.foreign).collect()).collect())
    }

    #[test]
    fn what_is_faint_beside_the_other_channel_is_foreign() {
        for (faint_db, expected) in [(-20.0 - FAINT_DB - 0.1, true), (-20.0 - FAINT_DB + 0.1, false)] {
            let (_, foreign) = decide(&[tone(&[(-20.0, 4.0)]), tone(&[(faint_db, 4.0)])], 16_000);
            assert!(foreign[0].iter().all(|f| !f), "the loud channel is its own");
            assert!(foreign[1].iter().all(|f| *f == expected), "at {faint_db} dB");
            assert_eq!(foreign[0].len(), 4 * 16_000 / 270);
        }
    }

    #[test]
    fn nothing_is_foreign_in_silence_or_alone() {
        let (_, foreign) = decide(&[vec![0.0; 32_000], vec![0.0; 32_000]], 16_000);
        assert!(foreign.iter().flatten().all(|f| !f));
        let (_, foreign) = decide(&[tone(&[(-90.0, 2.0)])], 16_000);
        assert!(foreign[0].iter().all(|f| !f));
    }

    /// The other channel stops at 3 s, where the own speech begins: no frame of it is lost.
    #[test]
    fn own_speech_beside_the_other_channels_is_kept_whole() {
        let other = tone(&[(-20.0, 3.0), (-80.0, 3.0)]);
        let own = tone(&[(-60.0, 3.0), (-25.0, 3.0)]);
        let (_, foreign) = decide(&[other, own], 16_000);
        let first_own = foreign[1].iter().position(|f| !f).unwrap();
        let at_s = pyannote().frame_middle(first_own).get();
        assert!((3.0 - EDGE_S - 0.02..=3.0).contains(&at_s), "{at_s}");
        assert!(foreign[1][first_own..].iter().all(|f| !f));
        // Behind its end the first channel has no tail.
        assert!(foreign[0].iter().skip(first_own + 15).all(|f| *f));
    }

    /// Echo is brought down to what the channel sounds like without it, and what is already there stays.
    #[test]
    fn foreign_frames_get_the_gain_that_leaves_noise() {
        let other = tone(&[(-80.0, 2.0), (-20.0, 3.0), (-80.0, 2.0)]);
        let own = tone(&[(-70.0, 2.0), (-50.0, 3.0), (-70.0, 2.0)]);
        let (_, found) = verdicts(&[other, own], 16_000);
        let inside = &found[1][130..285];
        assert!(inside.iter().all(|frame| frame.foreign && (frame.gain - 0.1).abs() < 1e-3), "{inside:?}");
        assert!(found[0].iter().all(|frame| frame.gain == 1.0 || frame.foreign));
        let quiet = tone(&[(-70.0, 7.0)]);
        let (_, found) = verdicts(&[tone(&[(-20.0, 7.0)]), quiet], 16_000);
        assert!(found[1].iter().all(|frame| frame.foreign && frame.gain > 0.999));
    }

    #[test]
    fn noise_is_forgotten_after_its_time() {
        let mut noise = Noise { lows: VecDeque::new(), frames: 0 };
        noise.hear(0.1, 1);
        for _ in 1..NOISE_MEMORY_S {
            assert_eq!(noise.hear(0.5, 1), 0.1);
        }
        assert_eq!(noise.hear(0.5, 1), 0.5);
    }

    #[test]
    fn blocks_of_any_size_decide_alike_and_frames_come_in_time() {
        let channels =
            [tone(&[(-20.0, 1.3), (-50.0, 2.0), (-20.0, 1.0)]), tone(&[(-45.0, 2.0), (-20.0, 2.3)])];
        let (_, whole) = verdicts(&channels, usize::MAX >> 1);
        for block in [270, 1_000, 16_000] {
            assert_eq!(verdicts(&channels, block).1, whole, "blocks of {block}");
        }
        // A block later, everything about the block before is decided: what the observers rely on.
        let mut levels = Levels::new(&pyannote(), 2);
        levels.push(&[vec![0.1; 32_000], vec![0.1; 32_000]]);
        let decided = levels.decide(false)[0].len();
        assert!(pyannote().frame_middle(decided).get() > 1.0, "{decided} frames");
    }

    #[test]
    fn three_channels_are_held_against_the_loudest_other() {
        let (_, foreign) =
            decide(&[tone(&[(-50.0, 2.0)]), tone(&[(-45.0, 2.0)]), tone(&[(-20.0, 2.0)])], 16_000);
        assert!(foreign[0].iter().all(|f| *f) && foreign[1].iter().all(|f| *f));
        assert!(foreign[2].iter().all(|f| !f));
    }

    #[test]
    fn levels_are_means_and_equal_channels_are_seen() {
        let (a, b) = (tone(&[(-20.0, 2.0)]), tone(&[(-40.0, 1.0), (-10.0, 1.0)]));
        let (levels, _) = decide(&[a.clone(), b, a.iter().map(|s| -0.3 * s).collect()], 16_000);
        assert!((10.0 * levels.mean(0, 0.5, 1.5, 16_000).log10() + 20.0).abs() < 0.01);
        assert!((10.0 * levels.mean(1, 0.1, 0.9, 16_000).log10() + 40.0).abs() < 0.01);
        assert_eq!(levels.mean(1, 7.0, 8.0, 16_000), 0.0);
        assert_eq!(levels.same_as_first(), Some(2), "turned over and fainter is still the same");
        let noise =
            |seed: u32| (0..32_000).map(move |n: u32| ((n * 7_919 + seed) % 1_009) as f32 / 1_009.0 - 0.5);
        let (levels, _) = decide(&[noise(1).collect(), noise(500).collect()], 16_000);
        assert_eq!(levels.same_as_first(), None);
    }

    #[test]
    fn the_gate_closes_over_foreign_frames_alone() {
        let mut gate = Gate::new(&pyannote());
        let frame = |foreign| Verdict { foreign, gain: if foreign { 0.25 } else { 1.0 } };
        let frames: Vec<Verdict> = (0..80).map(|f| frame((20..40).contains(&f))).collect();
        gate.know(&frames);
        let mut sound = vec![1.0; 16_000];
        // In blocks, as it comes.
        sound.chunks_mut(1_000).for_each(|block| gate.apply(block));
        let middle = |frame: usize| frame * 270 + 495;
        for frame in 0..50 {
            let expected = if (20..40).contains(&frame) { 0.25 } else { 1.0 };
            assert!(
                (sound[middle(frame)] - expected).abs() < 1e-5,
                "frame {frame}: {}",
                sound[middle(frame)]
            );
        }
        assert!(sound.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= 1.01 / RAMP_SAMPLES), "no click");
    }

    #[test]
    fn foreign_frames_lose_their_activity() {
        let mut masks = [1, 2, 3, 4];
        silence_foreign(&[false, false, true, false, true], 1, &mut masks);
        assert_eq!(masks, [1, 0, 3, 0]);
    }
}
