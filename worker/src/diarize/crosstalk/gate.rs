//! What is done with foreign frames.

use std::collections::VecDeque;

use super::Verdict;
use crate::diarize::geometry::Geometry;

/// Length of the ramp between sound and silence, samples: 5 ms at 16 kHz, so that there is no click.
const RAMP_SAMPLES: f32 = 80.0;

/// Brings foreign frames of a channel's sound down to its own noise, so that the networks do not hear them: next to a
/// stretch of echo they find speech in what is only noise. Not to silence, which sounds like no channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    step: usize,
    /// First sample of the step that frame 0 stands for.
    offset: usize,
    /// Of the frames from `first` on.
    gains: VecDeque<f32>,
    first: usize,
    samples: usize,
    gain: f32,
}

impl Gate {
    /// A gate at the start of a channel.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        let step = geometry.frame_step;
        let offset = (geometry.receptive_field / 2).saturating_sub(step / 2);
        Self { step, offset, gains: VecDeque::new(), first: 0, samples: 0, gain: 1.0 }
    }

    /// Learns of the next frames.
    pub fn know(&mut self, frames: &[Verdict]) {
        self.gains.extend(frames.iter().map(|frame| frame.gain));
    }

    /// Turns the next samples down where they are foreign; what is known reaches as far as they do.
    pub fn apply(&mut self, samples: &mut [f32]) {
        for sample in samples {
            let frame = self.samples.saturating_sub(self.offset) / self.step;
            while self.first < frame && self.gains.len() > 1 {
                self.gains.pop_front();
                self.first += 1;
            }
            // The last frame that there is stands for what is behind it.
            let aim = self.gains.front().copied().unwrap_or(1.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;

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
