//! Channels in, observations of each out: an observer a channel, over one device.
//!
//! Channels kept apart are held against one another ([`Levels`]), so that the cross-talk of the others is no speech of
//! a channel. That needs a little of what follows, so the observers are a block behind.

use crate::audio::BLOCK_SAMPLES;
use crate::device::handle::{Device, DeviceError};
use crate::diarize::crosstalk::{AHEAD_SAMPLES, Gate, Levels};
use crate::diarize::observations::Observations;
use crate::diarize::pipeline::Pipeline;
use crate::observe::{EngineTime, Observer};

// What is decided about a frame is decided by samples at most a block later.
const _: () = assert!(AHEAD_SAMPLES < BLOCK_SAMPLES);

/// Hears one recording.
pub struct Listener<'a> {
    observers: Vec<Observer<'a>>,
    levels: Levels,
    gates: Vec<Gate>,
    /// The last block, which the observers have not seen; empty where there is one channel.
    behind: Vec<Vec<f32>>,
}

impl<'a> Listener<'a> {
    /// A listener at the start of a recording with this many channels that are kept apart, at least one.
    #[must_use]
    pub fn new(device: &'a Device, pipeline: &Pipeline, channels: usize) -> Self {
        Self {
            observers: (0..channels.max(1)).map(|_| Observer::new(device, pipeline)).collect(),
            levels: Levels::new(pipeline.geometry(), channels),
            gates: vec![Gate::new(pipeline.geometry()); channels.max(1)],
            behind: Vec::new(),
        }
    }

    /// Takes the next block, a vector a channel, all of one length: [`BLOCK_SAMPLES`] but for the last. The block may be
    /// exchanged for an earlier one, whose memory can be used again.
    ///
    /// # Errors
    /// When the device failed on an earlier request.
    pub fn push(&mut self, block: &mut Vec<Vec<f32>>) -> Result<(), DeviceError> {
        if let [observer] = self.observers.as_mut_slice() {
            return observer.push(&block[0]);
        }
        self.levels.push(block);
        std::mem::swap(&mut self.behind, block);
        self.hear(block, false)
    }

    /// Ends the recording; gives what was seen of each channel.
    ///
    /// # Errors
    /// When the device failed.
    pub fn finish(mut self) -> Result<(Vec<Observations>, Levels, EngineTime), DeviceError> {
        let mut last = std::mem::take(&mut self.behind);
        self.hear(&mut last, true)?;
        let (mut seen, mut time) = (Vec::new(), EngineTime::default());
        for observer in self.observers {
            let (observations, spent) = observer.finish()?;
            time.segmentation += spent.segmentation;
            time.embedding += spent.embedding;
            seen.push(observations);
        }
        Ok((seen, self.levels, time))
    }

    /// Samples that the observers have taken.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.observers.first().map_or(0, Observer::samples)
    }

    fn hear(&mut self, block: &mut [Vec<f32>], ended: bool) -> Result<(), DeviceError> {
        let verdicts = self.levels.decide(ended);
        let channels = self.observers.iter_mut().zip(&mut self.gates).zip(&verdicts);
        for (channel, ((observer, gate), frames)) in channels.enumerate() {
            gate.know(frames);
            observer.know_foreign(frames.iter().map(|frame| frame.foreign));
            if let Some(samples) = block.get_mut(channel) {
                gate.apply(samples);
                observer.push(samples)?;
            }
        }
        Ok(())
    }
}
