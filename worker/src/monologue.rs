//! The fast path of a recording that is one known voice throughout: sparse looks ([`crate::diarize::monologue`]), on
//! the way through the audio. What it costs where it does not hold: the looks up to the first that disagrees.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use common::job::failure::Failure;
use common::job::spec::Channels;
use common::model::manifest::Tail;
use common::speech::diarization::Diarization;
use common::speech::voice::Voice;

use crate::audio::AudioStream;
use crate::batch::plan::Network;
use crate::device::handle::{DeviceError, Rows, Ticket};
use crate::diarize::monologue::{Look, Monologue};
use crate::diarize::pipeline::{Diarized, EmbeddingPlan, Pipeline};
use crate::job::{Request, Watch, device_failure, each_block, open_stream};
use crate::observe::EngineTime;
use crate::workbench::Workbench;

/// A recording that was one known voice.
pub struct Fast {
    /// Who spoke when.
    pub found: Found,
    /// The audio, read to its end.
    pub stream: AudioStream,
}

/// What the looks found.
pub struct Found {
    /// One speaker and his turns.
    pub diarized: Diarized,
    /// Time spent decoding.
    pub decode: Duration,
    /// Engine time.
    pub engine: EngineTime,
}

/// Goes through a recording with sparse looks; `None` when it has to go the full way: no voice is known, more than one
/// speaker or separate channels are asked for, the bundle embeds no windows, or a look disagreed.
///
/// # Errors
/// When the audio or the device fails, or the job has to stop.
pub fn listen(
    bench: &Workbench,
    pipeline: &Pipeline,
    request: &Request,
    known: &[&Voice],
    watch: &dyn Watch,
) -> Result<Option<Fast>, Failure> {
    let EmbeddingPlan::Windows(plan) = pipeline.embedding_plan() else { return Ok(None) };
    if known.is_empty() || request.speakers.min() > 1 || request.channels == Channels::Separate {
        return Ok(None);
    }
    let mut stream = open_stream(bench, request)?;
    let mut looks = Looks::new(bench, pipeline, plan.window(), known);
    let mut agreed = true;
    let decode = each_block(&mut stream, pipeline.geometry().rate_hz, watch, |block| {
        agreed = looks.push(&block[0]).map_err(device_failure)?;
        Ok(if agreed { ControlFlow::Continue(looks.heard) } else { ControlFlow::Break(()) })
    })?;
    if !agreed {
        return Ok(None);
    }
    Ok(looks.finish(decode).map_err(device_failure)?.map(|found| Fast { found, stream }))
}

/// Looks under way.
struct Looks<'a> {
    bench: &'a Workbench,
    pipeline: &'a Pipeline,
    known: &'a [&'a Voice],
    window: usize,
    monologue: Monologue,
    /// Samples from `first` on.
    recent: Vec<f32>,
    first: usize,
    heard: usize,
    /// Chunks that are segmented: their first sample, whether they are the last.
    chunks: VecDeque<(usize, bool, Rows, Ticket)>,
    windows: VecDeque<Ticket>,
    engine: EngineTime,
}

impl<'a> Looks<'a> {
    fn new(bench: &'a Workbench, pipeline: &'a Pipeline, window: usize, known: &'a [&'a Voice]) -> Self {
        let voices = bench.bundle.manifest.voices;
        let geometry = pipeline.geometry();
        Self {
            bench,
            pipeline,
            known,
            window,
            monologue: Monologue::new(geometry, window, voices.window_cosine_min, voices.cosine_min),
            recent: Vec::new(),
            first: 0,
            heard: 0,
            chunks: VecDeque::new(),
            windows: VecDeque::new(),
            engine: EngineTime::default(),
        }
    }

    /// Takes the next samples; whether everything agrees so far. A full chunk waits until it is known not to be the last.
    fn push(&mut self, samples: &[f32]) -> Result<bool, DeviceError> {
        self.recent.extend_from_slice(samples);
        self.heard += samples.len();
        let geometry = *self.pipeline.geometry();
        while self.recent.len() > geometry.window {
            self.segment(false);
            let step = Monologue::step(&geometry);
            self.recent.drain(..step);
            self.first += step;
            while self.chunks.len() > self.bench.device.lanes() {
                if !self.take_chunk()? {
                    return Ok(false);
                }
            }
            while self.windows.len() > self.bench.device.lanes() {
                if !self.take_window()? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Takes what is left, and says what the recording is.
    fn finish(mut self, decode: Duration) -> Result<Option<Found>, DeviceError> {
        // What is left is at least the part that two chunks share, or the whole of a short recording.
        let geometry = self.pipeline.geometry();
        let shortest = match self.pipeline.tail() {
            Tail::TrueLength => geometry.rate_hz as usize,
            Tail::ZeroPadded => geometry.window,
        };
        self.recent.resize(self.recent.len().max(shortest), 0.0);
        self.segment(true);
        while !self.chunks.is_empty() {
            if !self.take_chunk()? {
                return Ok(None);
            }
        }
        while !self.windows.is_empty() {
            if !self.take_window()? {
                return Ok(None);
            }
        }
        let Some((turns, voice)) = self.monologue.end(self.heard, self.known) else { return Ok(None) };
        // Turns of one speaker do not overlap, so they are exclusive as well.
        let Ok(diarization) = Diarization::new(turns.clone(), turns) else { return Ok(None) };
        let diarized = Diarized { diarization, centroids: vec![voice] };
        Ok(Some(Found { diarized, decode, engine: self.engine }))
    }

    fn segment(&mut self, is_last: bool) {
        let length = self.recent.len().min(self.pipeline.geometry().window);
        let rows = Rows { samples: self.recent[..length].into(), starts: vec![0], length };
        let ticket = self.bench.device.submit(Network::Segmentation, rows.clone());
        self.chunks.push_back((self.first, is_last, rows, ticket));
    }

    fn take_chunk(&mut self) -> Result<bool, DeviceError> {
        let Some((start, is_last, rows, ticket)) = self.chunks.pop_front() else { return Ok(true) };
        let answer = ticket.wait()?;
        self.engine.segmentation += answer.busy;
        let mut masks = Vec::new();
        self.pipeline.powerset().decode(&answer.values, &mut masks);
        match self.monologue.chunk(&masks, start, is_last) {
            Look::Several => {
                tracing::debug!(chunk = start, "several people: not one known voice throughout");
                return Ok(false);
            }
            Look::Nothing => {}
            Look::Listen(at) if rows.length < self.window => debug_assert!(at >= start),
            Look::Listen(at) => {
                let begin = (at - start).min(rows.length - self.window);
                let window = Rows { starts: vec![begin], length: self.window, ..rows };
                self.windows.push_back(self.bench.device.submit(Network::Embedding, window));
            }
        }
        Ok(true)
    }

    fn take_window(&mut self) -> Result<bool, DeviceError> {
        let Some(ticket) = self.windows.pop_front() else { return Ok(true) };
        let answer = ticket.wait()?;
        self.engine.embedding += answer.busy;
        let agrees = self.monologue.heard(&answer.values, self.known);
        if !agrees {
            tracing::debug!(
                heard = self.heard,
                "another voice, or none that is known: not one known voice throughout"
            );
        }
        Ok(agrees)
    }
}
