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
use crate::diarize::monologue::{Look, Monologue, Voiced};
use crate::diarize::pipeline::{Diarized, EmbeddingPlan, Pipeline};
use crate::observe::EngineTime;
use crate::recording::{Request, Watch, device_failure, each_block, open_stream};
use crate::workbench::Workbench;

/// What looks at a recording gave, and what they took.
#[derive(Default)]
pub struct Looked {
    /// The recording, if it was one known voice.
    pub fast: Option<Fast>,
    /// Time spent decoding.
    pub decode: Duration,
    /// Engine time.
    pub engine: EngineTime,
}

/// A recording that was one known voice.
pub struct Fast {
    /// One speaker and his turns.
    pub diarized: Diarized,
    /// The audio, read to its end.
    pub stream: AudioStream,
}

/// Goes through a recording with sparse looks; no [`Fast`] when it has to go the full way: no voice is known, more than one
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
) -> Result<Looked, Failure> {
    let EmbeddingPlan::Windows(plan) = pipeline.embedding_plan() else { return Ok(Looked::default()) };
    if known.is_empty() || request.speakers.min() > 1 || request.channels == Channels::Separate {
        return Ok(Looked::default());
    }
    let mut stream = open_stream(bench, request)?;
    let mut looks = Looks::new(bench, pipeline, plan.window(), known);
    let mut agreed = true;
    let decode = each_block(&mut stream, pipeline.geometry().rate_hz, watch, |block| {
        agreed = looks.push(&block[0]).map_err(device_failure)?;
        Ok(if agreed { ControlFlow::Continue(looks.heard) } else { ControlFlow::Break(()) })
    })?;
    let diarized = if agreed { looks.finish().map_err(device_failure)? } else { None };
    Ok(Looked { fast: diarized.map(|diarized| Fast { diarized, stream }), decode, engine: looks.engine })
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
    /// Windows that are embedded, and the one to embed in doubt.
    windows: VecDeque<(Ticket, Rows)>,
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
    fn finish(&mut self) -> Result<Option<Diarized>, DeviceError> {
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
        Ok(Some(Diarized { diarization, centroids: vec![voice] }))
    }

    fn segment(&mut self, is_last: bool) {
        let length = self.recent.len().min(self.pipeline.geometry().window);
        let rows = Rows { samples: self.recent[..length].into(), starts: vec![0], length };
        let ticket = self.bench.device.submit(Network::Segmentation, rows.clone());
        self.chunks.push_back((self.first, is_last, rows, ticket));
    }

    fn embed(&self, window: Rows) -> Ticket {
        self.bench.device.submit(Network::Embedding, window)
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
            Look::Listen(at, _) if rows.length < self.window => debug_assert!(at >= start),
            Look::Listen(at, again) => {
                let window = |at: usize| {
                    let begin = (at - start).min(rows.length - self.window);
                    Rows { starts: vec![begin], length: self.window, ..rows.clone() }
                };
                self.windows.push_back((self.embed(window(at)), window(again)));
            }
        }
        Ok(true)
    }

    fn take_window(&mut self) -> Result<bool, DeviceError> {
        let Some((ticket, another)) = self.windows.pop_front() else { return Ok(true) };
        let answer = ticket.wait()?;
        self.engine.embedding += answer.busy;
        let mut voiced = self.monologue.heard(&answer.values, self.known, false);
        if voiced == Voiced::Doubtful {
            let answer = self.embed(another).wait()?;
            self.engine.embedding += answer.busy;
            voiced = self.monologue.heard(&answer.values, self.known, true);
        }
        let agrees = voiced == Voiced::Same;
        if !agrees {
            tracing::debug!(
                heard = self.heard,
                "another voice, or none that is known: not one known voice throughout"
            );
        }
        Ok(agrees)
    }
}
