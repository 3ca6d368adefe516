//! Channels in, observations of each out: an observer a channel, over one device.
//!
//! Channels kept apart are held against one another ([`Levels`]), so that the cross-talk of the others is no speech of
//! a channel. That needs a little of what follows, so the observers are as much behind: they get what is decided about.

use crate::device::handle::{Device, DeviceError};
use crate::diarize::crosstalk::{Gate, Levels};
use crate::diarize::observations::Observations;
use crate::diarize::pipeline::Pipeline;
use crate::observe::{EngineTime, Observer};

/// Hears one recording.
pub struct Listener<'a> {
    observers: Vec<Observer<'a>>,
    levels: Levels,
    gates: Vec<Gate>,
    /// What the observers have not seen yet, `[channel]`; empty where there is one channel.
    behind: Vec<Vec<f32>>,
    /// Samples of a frame's step.
    step: usize,
    /// Frames decided about.
    decided: usize,
}

impl<'a> Listener<'a> {
    /// A listener at the start of a recording with this many channels that are kept apart, at least one.
    #[must_use]
    pub fn new(device: &'a Device, pipeline: &Pipeline, channels: usize) -> Self {
        Self {
            observers: (0..channels.max(1)).map(|_| Observer::new(device, pipeline)).collect(),
            levels: Levels::new(pipeline.geometry(), channels),
            gates: vec![Gate::new(pipeline.geometry()); channels.max(1)],
            behind: vec![Vec::new(); channels],
            step: pipeline.geometry().frame_step,
            decided: 0,
        }
    }

    /// Takes the next block, a vector a channel, all of one length.
    ///
    /// # Errors
    /// When the device failed on an earlier request.
    pub fn push(&mut self, block: &[Vec<f32>]) -> Result<(), DeviceError> {
        if let [observer] = self.observers.as_mut_slice() {
            return observer.push(&block[0]);
        }
        self.levels.push(block);
        self.behind.iter_mut().zip(block).for_each(|(behind, samples)| behind.extend_from_slice(samples));
        self.hear(false)
    }

    /// Ends the recording; gives what was seen of each channel.
    ///
    /// # Errors
    /// When the device failed.
    pub fn finish(mut self) -> Result<(Vec<Observations>, Levels, EngineTime), DeviceError> {
        self.hear(true)?;
        let (mut seen, mut time) = (Vec::new(), EngineTime::default());
        for observer in self.observers {
            let (observations, spent) = observer.finish()?;
            time += spent;
            seen.push(observations);
        }
        Ok((seen, self.levels, time))
    }

    /// Samples that the observers have taken.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.observers.first().map_or(0, Observer::samples)
    }

    /// Lets the observers hear up to the end of the last frame that is decided about; at the end all there is.
    fn hear(&mut self, ended: bool) -> Result<(), DeviceError> {
        let verdicts = self.levels.decide(ended);
        self.decided += verdicts.first().map_or(0, Vec::len);
        let known = (self.decided * self.step).saturating_sub(self.samples());
        let channels = self.observers.iter_mut().zip(&mut self.gates).zip(&mut self.behind);
        for (((observer, gate), behind), frames) in channels.zip(&verdicts) {
            gate.know(frames);
            observer.know_foreign(frames.iter().map(|frame| frame.foreign));
            let count = if ended { behind.len() } else { known.min(behind.len()) };
            gate.apply(&mut behind[..count]);
            observer.push(&behind[..count])?;
            behind.drain(..count);
        }
        Ok(())
    }
}
