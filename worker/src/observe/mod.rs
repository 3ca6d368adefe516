//! The streaming heart: samples in, what the networks saw out.
//!
//! Samples arrive in blocks of any size. Chunks go to the segmentation network as soon as they are complete; what is
//! embedded follows as soon as it is known who speaks there: [`windows`] of the recording, or local speakers of each chunk
//! ([`locals`], [`recording`]). What is held: the samples still needed (bounded, about a minute and a half), a bounded
//! number of requests in flight, and the small results. Answers are taken in the order of the requests, so nothing depends
//! on timing or batch sizes.

mod locals;
mod recording;
mod windows;

use std::collections::VecDeque;
use std::time::Duration;

use common::model::manifest::{Tail, TrunkSpan};

use self::locals::Locals;
use self::recording::Recording;
use self::windows::Windows;
use crate::batch::plan::Network;
use crate::device::handle::{Answer, Device, DeviceError, Rows, Ticket};
use crate::diarize::crosstalk::silence_foreign;
use crate::diarize::geometry::Geometry;
use crate::diarize::observations::Observations;
use crate::diarize::pipeline::{EmbeddingPlan, Pipeline};
use crate::diarize::powerset::Powerset;
use crate::diarize::tape::Tape;

/// Engine time that a recording took, by network, summed over lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineTime {
    /// In the segmentation network.
    pub segmentation: Duration,
    /// In features and the embedding network.
    pub embedding: Duration,
}

impl std::ops::AddAssign for EngineTime {
    fn add_assign(&mut self, other: Self) {
        self.segmentation += other.segmentation;
        self.embedding += other.embedding;
    }
}

/// Collects observations of one recording.
pub struct Observer<'a> {
    shared: Shared<'a>,
    powerset: Powerset,
    tail: Tail,
    /// Frames of the recording that hold another channel's sound.
    foreign: Vec<bool>,
    next_chunk: usize,
    chunks_in_flight: VecDeque<(Rows, Ticket)>,
    embedding: Embedding,
}

/// What chunks and embeddings both work with.
struct Shared<'a> {
    device: &'a Device,
    geometry: Geometry,
    tape: Tape,
    found: Observations,
    time: EngineTime,
}

/// What is embedded.
enum Embedding {
    Windows(Windows),
    Locals(Locals),
    Recording(Box<Recording>),
}

impl Embedding {
    fn of(pipeline: &Pipeline) -> Self {
        match pipeline.embedding_plan() {
            EmbeddingPlan::Windows(plan) => Self::Windows(Windows::new(plan, pipeline.dimension())),
            EmbeddingPlan::Locals(plan) => match plan.span {
                TrunkSpan::Chunk => Self::Locals(Locals::new(plan)),
                TrunkSpan::Recording(span) => {
                    Self::Recording(Box::new(Recording::new(plan, span, pipeline.geometry())))
                }
            },
        }
    }

    /// Samples have arrived.
    fn heard(&mut self, shared: &mut Shared<'_>, samples: &[f32]) -> Result<(), DeviceError> {
        match self {
            Self::Windows(_) | Self::Locals(_) => Ok(()),
            Self::Recording(recording) => recording.heard(shared, samples),
        }
    }

    /// The activity of chunk `chunk`, row `row` of `rows`, is known.
    fn chunk_known(&mut self, shared: &mut Shared<'_>, chunk: usize, rows: &Rows, row: usize) {
        match self {
            Self::Windows(_) => {}
            Self::Locals(locals) => locals.chunk_known(shared, chunk, rows, row),
            Self::Recording(recording) => recording.chunk_known(shared, chunk),
        }
    }

    /// Sends off what can be embedded by now.
    fn submit(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        match self {
            Self::Windows(windows) => windows.submit(shared),
            Self::Locals(locals) => locals.submit(shared, false),
            Self::Recording(recording) => recording.submit(shared),
        }
    }

    /// Takes the answers that are there.
    fn poll(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        match self {
            Self::Windows(windows) => windows.poll(shared),
            Self::Locals(locals) => locals.poll(shared),
            Self::Recording(recording) => recording.poll(shared),
        }
    }

    /// The first sample on the tape that is still needed.
    fn needed_from(&self) -> usize {
        match self {
            Self::Windows(windows) => windows.needed_from(),
            Self::Locals(_) | Self::Recording(_) => usize::MAX,
        }
    }

    /// Embeds what is left once every chunk is known.
    fn finish(self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        match self {
            Self::Windows(windows) => windows.finish(shared),
            Self::Locals(locals) => locals.finish(shared),
            Self::Recording(recording) => recording.finish(shared),
        }
    }
}

impl<'a> Observer<'a> {
    /// An observer at the start of a recording.
    #[must_use]
    pub fn new(device: &'a Device, pipeline: &Pipeline) -> Self {
        Self {
            shared: Shared {
                device,
                geometry: *pipeline.geometry(),
                tape: Tape::default(),
                found: Observations::new(pipeline.dimension()),
                time: EngineTime::default(),
            },
            powerset: pipeline.powerset().clone(),
            tail: pipeline.tail(),
            foreign: Vec::new(),
            next_chunk: 0,
            chunks_in_flight: VecDeque::new(),
            embedding: Embedding::of(pipeline),
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
        self.shared.tape.push(samples);
        self.embedding.heard(&mut self.shared, samples)?;
        let rows_max = self.shared.device.limits().segmentation_rows_max;
        let geometry = self.shared.geometry;
        loop {
            let start = geometry.chunk_start(self.next_chunk);
            let ready = (self.shared.tape.end() + geometry.step).saturating_sub(start + geometry.window)
                / geometry.step;
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
        let geometry = self.shared.geometry;
        let samples = self.shared.tape.end();
        self.shared.found.samples = samples;
        let chunks = geometry.chunks(samples);
        let full =
            if samples < geometry.window { 0 } else { 1 + (samples - geometry.window) / geometry.step };
        let rows_max = self.shared.device.limits().segmentation_rows_max;
        while self.next_chunk < full {
            self.submit_chunks((full - self.next_chunk).min(rows_max))?;
        }
        if self.next_chunk < chunks {
            self.submit_tail(samples)?;
        }
        while let Some((rows, ticket)) = self.chunks_in_flight.pop_front() {
            self.take_chunks(&rows, ticket.wait()?);
        }
        self.embedding.finish(&mut self.shared)?;
        Ok((self.shared.found, self.shared.time))
    }

    /// Samples taken so far.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.shared.tape.end()
    }

    /// Queues `count` full chunks; waits for an answer first when enough are out.
    fn submit_chunks(&mut self, count: usize) -> Result<(), DeviceError> {
        while self.chunks_in_flight.len() > self.shared.device.lanes() {
            self.wait_for_chunks()?;
        }
        let (window, step) = (self.shared.geometry.window, self.shared.geometry.step);
        let start = self.shared.geometry.chunk_start(self.next_chunk);
        let samples = self.shared.tape.copy(start, start + window + (count - 1) * step);
        self.submit_rows(Rows { samples, starts: (0..count).map(|i| i * step).collect(), length: window });
        Ok(())
    }

    fn submit_rows(&mut self, rows: Rows) {
        self.next_chunk += rows.starts.len();
        let ticket = self.shared.device.submit(Network::Segmentation, rows.clone());
        self.chunks_in_flight.push_back((rows, ticket));
    }

    /// Queues the last chunk, as the bundle wants it: filled up with zeros, or at its true length, where only a recording
    /// of less than a second is padded, to a second.
    fn submit_tail(&mut self, samples: usize) -> Result<(), DeviceError> {
        let geometry = self.shared.geometry;
        let mut tail = self.shared.tape.copy(geometry.chunk_start(self.next_chunk), samples).to_vec();
        let shortest = match self.tail {
            Tail::TrueLength => geometry.rate_hz as usize,
            Tail::ZeroPadded => geometry.window,
        };
        tail.resize(tail.len().max(shortest), 0.0);
        self.submit_rows(Rows { length: tail.len(), samples: tail.into(), starts: vec![0] });
        self.advance()
    }

    fn wait_for_chunks(&mut self) -> Result<(), DeviceError> {
        if let Some((rows, ticket)) = self.chunks_in_flight.pop_front() {
            let answer = ticket.wait()?;
            self.take_chunks(&rows, answer);
            self.embedding.submit(&mut self.shared)?;
        }
        Ok(())
    }

    /// Takes every answer that is there, embeds what can be, forgets samples.
    fn advance(&mut self) -> Result<(), DeviceError> {
        while let Some(answer) = self.chunks_in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((rows, _)) = self.chunks_in_flight.pop_front() {
                self.take_chunks(&rows, answer?);
            }
        }
        self.embedding.poll(&mut self.shared)?;
        self.embedding.submit(&mut self.shared)?;
        let needed = self.shared.geometry.chunk_start(self.next_chunk).min(self.embedding.needed_from());
        self.shared.tape.forget_before(needed);
        Ok(())
    }

    fn take_chunks(&mut self, rows: &Rows, answer: Answer) {
        self.shared.time.segmentation += answer.busy;
        let width = answer.values.len() / rows.starts.len();
        for (row, scores) in answer.values.chunks_exact(width.max(1)).enumerate() {
            let mut masks = Vec::new();
            self.powerset.decode(scores, &mut masks);
            let chunk = self.shared.found.activity.len();
            silence_foreign(&self.foreign, self.shared.geometry.chunk_first_frame(chunk), &mut masks);
            self.shared.found.activity.push(masks);
            self.embedding.chunk_known(&mut self.shared, chunk, rows, row);
        }
    }
}
