//! The streaming heart: samples in, what the networks saw out.
//!
//! Samples arrive in blocks of any size. Chunks go to the segmentation network as soon as they are complete; windows
//! go to the embedding network as soon as every chunk that covers them is known and some of them hold speech. What is
//! held: the samples still needed (bounded, about a minute and a half), a bounded number of requests in flight, and the
//! small results. Answers are taken in the order of the requests, so nothing depends on timing or batch sizes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::batch::plan::Network;
use crate::device::handle::{Answer, Device, DeviceError, Rows, Ticket};
use crate::diarize::crosstalk::silence_foreign;
use crate::diarize::geometry::Geometry;
use crate::diarize::observations::Observations;
use crate::diarize::pipeline::Pipeline;
use crate::diarize::powerset::Powerset;
use crate::diarize::tape::Tape;
use crate::diarize::windows::WindowPlan;

/// Embedding requests that may wait for the device at once; each is small.
const EMBEDDING_REQUESTS_MAX: usize = 12;

/// Longest stretch of a recording whose samples are kept for windows that wait for a batch to fill, samples.
const WAITING_SAMPLES_MAX: usize = 30 * 16_000;

/// Engine time that a recording took, by network, summed over lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineTime {
    /// In the segmentation network.
    pub segmentation: Duration,
    /// In features and the embedding network.
    pub embedding: Duration,
}

/// Collects observations of one recording.
pub struct Observer<'a> {
    device: &'a Device,
    geometry: Geometry,
    powerset: Powerset,
    plan: WindowPlan,
    dimension: usize,
    tape: Tape,
    /// Frames of the recording that hold another channel's sound.
    foreign: Vec<bool>,
    next_chunk: usize,
    chunks_in_flight: VecDeque<(usize, Ticket)>,
    windows_waiting: Vec<usize>,
    windows_in_flight: VecDeque<(Vec<usize>, Ticket)>,
    found: Observations,
    time: EngineTime,
}

impl<'a> Observer<'a> {
    /// An observer at the start of a recording.
    #[must_use]
    pub fn new(device: &'a Device, pipeline: &Pipeline) -> Self {
        Self {
            device,
            geometry: *pipeline.geometry(),
            powerset: pipeline.powerset().clone(),
            plan: pipeline.window_plan(),
            dimension: pipeline.dimension(),
            tape: Tape::default(),
            foreign: Vec::new(),
            next_chunk: 0,
            chunks_in_flight: VecDeque::new(),
            windows_waiting: Vec::new(),
            windows_in_flight: VecDeque::new(),
            found: Observations::new(pipeline.dimension()),
            time: EngineTime::default(),
        }
    }

    /// Says of the next frames whether they hold another channel's sound, which is no speech here. Has to be known of a
    /// frame before the samples that end its chunk are pushed.
    pub fn know_foreign(&mut self, frames: impl Iterator<Item = bool>) {
        self.foreign.extend(frames);
    }

    /// Takes the next samples, mono, at the geometry's rate. Blocks while the device has enough to do.
    ///
    /// # Errors
    /// When the device failed on an earlier request.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), DeviceError> {
        self.tape.push(samples);
        let rows_max = self.device.limits().segmentation_rows_max;
        loop {
            let start = self.geometry.chunk_start(self.next_chunk);
            let ready = (self.tape.end() + self.geometry.step).saturating_sub(start + self.geometry.window)
                / self.geometry.step;
            if ready < rows_max {
                break;
            }
            self.submit_chunks(rows_max)?;
        }
        self.advance()
    }

    /// Ends the recording and waits for everything that is still out.
    ///
    /// # Errors
    /// When the device failed.
    pub fn finish(mut self) -> Result<(Observations, EngineTime), DeviceError> {
        let samples = self.tape.end();
        self.found.samples = samples;
        let chunks = self.geometry.chunks(samples);
        let full = if samples < self.geometry.window {
            0
        } else {
            1 + (samples - self.geometry.window) / self.geometry.step
        };
        let rows_max = self.device.limits().segmentation_rows_max;
        while self.next_chunk < full {
            self.submit_chunks((full - self.next_chunk).min(rows_max))?;
        }
        if self.next_chunk < chunks {
            self.submit_tail(samples)?;
        }
        while let Some((count, ticket)) = self.chunks_in_flight.pop_front() {
            self.take_chunks(count, ticket.wait()?);
        }
        self.plan.finish(&self.geometry, &self.found.activity, samples, &mut self.windows_waiting);
        self.found.hop = self.plan.hop();
        self.answer_windows()?;
        self.plan.close(&mut self.windows_waiting);
        self.answer_windows()?;
        self.found.sort_windows();
        Ok((self.found, self.time))
    }

    /// Embeds every window that waits.
    fn answer_windows(&mut self) -> Result<(), DeviceError> {
        self.submit_windows(true)?;
        while let Some((starts, ticket)) = self.windows_in_flight.pop_front() {
            let answer = ticket.wait()?;
            self.take_windows(&starts, &answer);
        }
        Ok(())
    }

    /// Samples taken so far.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.tape.end()
    }

    /// Queues `count` full chunks; waits for an answer first when enough are out.
    fn submit_chunks(&mut self, count: usize) -> Result<(), DeviceError> {
        while self.chunks_in_flight.len() > self.device.lanes() {
            self.wait_for_chunks()?;
        }
        let (window, step) = (self.geometry.window, self.geometry.step);
        let start = self.geometry.chunk_start(self.next_chunk);
        let samples = self.tape.copy(start, start + window + (count - 1) * step);
        let rows = Rows { samples, starts: (0..count).map(|i| i * step).collect(), length: window };
        self.chunks_in_flight.push_back((count, self.device.submit(Network::Segmentation, rows)));
        self.next_chunk += count;
        Ok(())
    }

    /// Queues the last chunk at its true length: zeros at its end would shift the network's normalisation. Only a
    /// recording of less than a second is padded, to a second.
    fn submit_tail(&mut self, samples: usize) -> Result<(), DeviceError> {
        let start = self.geometry.chunk_start(self.next_chunk);
        let mut tail = self.tape.copy(start, samples).to_vec();
        let shortest = self.geometry.rate_hz as usize;
        tail.resize(tail.len().max(shortest), 0.0);
        let rows = Rows { length: tail.len(), samples: tail.into(), starts: vec![0] };
        self.chunks_in_flight.push_back((1, self.device.submit(Network::Segmentation, rows)));
        self.next_chunk += 1;
        self.advance()
    }

    fn wait_for_chunks(&mut self) -> Result<(), DeviceError> {
        if let Some((count, ticket)) = self.chunks_in_flight.pop_front() {
            let answer = ticket.wait()?;
            self.take_chunks(count, answer);
            let samples = self.tape.end();
            self.plan.advance(&self.geometry, &self.found.activity, samples, &mut self.windows_waiting);
            self.submit_windows(false)?;
        }
        Ok(())
    }

    /// Takes every answer that is there, plans windows, forgets samples.
    fn advance(&mut self) -> Result<(), DeviceError> {
        while let Some(answer) = self.chunks_in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((count, _)) = self.chunks_in_flight.pop_front() {
                self.take_chunks(count, answer?);
            }
        }
        while let Some(answer) = self.windows_in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((starts, _)) = self.windows_in_flight.pop_front() {
                self.take_windows(&starts, &answer?);
            }
        }
        let samples = self.tape.end();
        self.plan.advance(&self.geometry, &self.found.activity, samples, &mut self.windows_waiting);
        self.submit_windows(false)?;
        let needed = self.geometry.chunk_start(self.next_chunk).min(self.plan.needed_from());
        let waiting = self.windows_waiting.iter().copied().min().unwrap_or(usize::MAX);
        self.tape.forget_before(needed.min(waiting));
        Ok(())
    }

    fn take_chunks(&mut self, count: usize, answer: Answer) {
        self.time.segmentation += answer.busy;
        let width = answer.values.len() / count;
        for scores in answer.values.chunks_exact(width.max(1)) {
            let mut masks = Vec::new();
            self.powerset.decode(scores, &mut masks);
            let first = self.geometry.chunk_first_frame(self.found.activity.len());
            silence_foreign(&self.foreign, first, &mut masks);
            self.found.activity.push(masks);
        }
    }

    /// Queues the windows that wait, in requests of the batch size; the rest stays until `all`, or until their samples
    /// have been kept for long enough.
    fn submit_windows(&mut self, all: bool) -> Result<(), DeviceError> {
        let rows_max = self.device.limits().embedding_rows_max;
        while let Some(&oldest) = self.windows_waiting.first()
            && (all
                || self.windows_waiting.len() >= rows_max
                || self.tape.end() > oldest + WAITING_SAMPLES_MAX)
        {
            let count = self.windows_waiting.len().min(rows_max);
            let starts: Vec<usize> = self.windows_waiting.drain(..count).collect();
            let length = self.plan.window().min(self.tape.end());
            // Windows may lie far apart: each row is copied by itself.
            let samples: Vec<f32> =
                starts.iter().flat_map(|s| self.tape.slice(*s, s + length)).copied().collect();
            let rows =
                Rows { samples: samples.into(), starts: (0..count).map(|i| i * length).collect(), length };
            while self.windows_in_flight.len() >= EMBEDDING_REQUESTS_MAX {
                if let Some((starts, ticket)) = self.windows_in_flight.pop_front() {
                    let answer = ticket.wait()?;
                    self.take_windows(&starts, &answer);
                }
            }
            self.windows_in_flight.push_back((starts, self.device.submit(Network::Embedding, rows)));
        }
        Ok(())
    }

    fn take_windows(&mut self, starts: &[usize], answer: &Answer) {
        self.time.embedding += answer.busy;
        for (start, embedding) in starts.iter().zip(answer.values.chunks_exact(self.dimension)) {
            self.found.push_window(*start, embedding);
            self.plan.answered(*start, self.found.embedding(self.found.windows.len() - 1));
        }
    }
}
