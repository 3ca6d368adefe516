//! Embeddings of local speakers, the trunk over the recording once.
//!
//! Features run along with the audio and go through the trunk in blocks; what comes out is kept until every chunk that
//! needs it was pooled. A chunk is pooled as soon as its activity and its steps are known.

use std::collections::VecDeque;
use std::ops::Range;

use common::model::manifest::RecordingSpan;

use super::{Shared, locals};
use crate::batch::plan::Network;
use crate::device::handle::{Answer, DeviceError, Rows, Ticket};
use crate::diarize::geometry::Geometry;
use crate::diarize::masks::{active, pooling_weights};
use crate::diarize::pipeline::LocalPlan;
use crate::diarize::sliding::{Block, SlidingFeatures, block, step_weights};

/// Trunk output, `[channels, steps]`.
struct Stretch {
    steps: Range<usize>,
    values: Vec<f32>,
}

/// Where a recording is between its features and its embeddings.
pub(super) struct Recording {
    plan: LocalPlan,
    span: RecordingSpan,
    features: SlidingFeatures,
    /// Centred frames from `first_frame` on, row-major.
    centred: Vec<f32>,
    first_frame: usize,
    next_block: usize,
    blocks_in_flight: VecDeque<(Block, Ticket)>,
    stretches: VecDeque<Stretch>,
    /// Chunks with speech that wait for steps.
    waiting: VecDeque<usize>,
    pools_in_flight: VecDeque<(Vec<usize>, Ticket)>,
    /// Frames of the recording, once it has ended.
    frames: Option<usize>,
}

impl Recording {
    pub fn new(plan: LocalPlan, span: RecordingSpan, geometry: &Geometry) -> Self {
        Self {
            features: SlidingFeatures::new(&plan.feature, geometry.rate_hz, span),
            plan,
            span,
            centred: Vec::new(),
            first_frame: 0,
            next_block: 0,
            blocks_in_flight: VecDeque::new(),
            stretches: VecDeque::new(),
            waiting: VecDeque::new(),
            pools_in_flight: VecDeque::new(),
            frames: None,
        }
    }

    pub fn heard(&mut self, shared: &mut Shared<'_>, samples: &[f32]) -> Result<(), DeviceError> {
        self.features.push(samples, &mut self.centred);
        self.submit_blocks(shared)
    }

    pub fn chunk_known(&mut self, shared: &mut Shared<'_>, chunk: usize) {
        if active(&shared.found.activity[chunk]).next().is_some() {
            self.waiting.push_back(chunk);
        }
    }

    pub fn poll(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        while let Some(answer) = self.blocks_in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((block, _)) = self.blocks_in_flight.pop_front() {
                self.take_block(shared, &block, &answer?);
            }
        }
        while let Some(answer) = self.pools_in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((chunks, _)) = self.pools_in_flight.pop_front() {
                locals::take(shared, &self.plan, &chunks, &answer?);
            }
        }
        Ok(())
    }

    pub fn finish(mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        self.features.finish(&mut self.centred);
        self.frames = Some(self.features.heard());
        self.submit_blocks(shared)?;
        while let Some((block, ticket)) = self.blocks_in_flight.pop_front() {
            let answer = ticket.wait()?;
            self.take_block(shared, &block, &answer);
        }
        self.submit(shared)?;
        while !self.pools_in_flight.is_empty() {
            self.wait_for_pool(shared)?;
        }
        Ok(())
    }

    /// Frames that are centred by now, counted from the recording's start.
    fn centred_end(&self) -> usize {
        self.first_frame + self.centred.len() / self.plan.feature.mel_bins as usize
    }

    /// Sends off every block whose frames are there.
    fn submit_blocks(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        let bins = self.plan.feature.mel_bins as usize;
        let (length, context) = (self.span.block_frames as usize, self.plan.context_frames);
        loop {
            let end = self.centred_end();
            let frames = self.frames.unwrap_or(usize::MAX);
            let next = block(self.next_block, length, context, self.plan.step_frames, frames);
            if next.frames.end > end || next.steps.is_empty() {
                return Ok(());
            }
            while self.blocks_in_flight.len() > shared.device.lanes() {
                self.wait_for_block(shared)?;
            }
            let from = (next.frames.start - self.first_frame) * bins;
            let rows = self.centred[from..from + next.frames.len() * bins].to_vec();
            let rows = Rows { length: rows.len(), samples: rows.into(), starts: vec![0] };
            self.blocks_in_flight.push_back((next, shared.device.submit(Network::Trunk, rows)));
            self.next_block += 1;
            let keep = (self.next_block * length).saturating_sub(context).min(end);
            self.centred.drain(..(keep - self.first_frame) * bins);
            self.first_frame = keep;
        }
    }

    fn wait_for_block(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        if let Some((block, ticket)) = self.blocks_in_flight.pop_front() {
            let answer = ticket.wait()?;
            self.take_block(shared, &block, &answer);
            self.submit(shared)?;
        }
        Ok(())
    }

    /// Keeps the steps of a block that are its own.
    fn take_block(&mut self, shared: &mut Shared<'_>, block: &Block, answer: &Answer) {
        shared.time.embedding += answer.busy;
        let all = answer.values.len() / self.plan.trunk_channels;
        let kept = block.skip..(block.skip + block.steps.len()).min(all);
        let values = answer.values.chunks_exact(all.max(1)).flat_map(|channel| &channel[kept.clone()]);
        let steps = block.steps.start..block.steps.start + kept.len();
        self.stretches.push_back(Stretch { values: values.copied().collect(), steps });
    }

    /// Steps of the recording that belong to a chunk, as far as there are any.
    fn steps_of(&self, geometry: &Geometry, chunk: usize) -> (usize, Range<usize>) {
        let frame = geometry.chunk_start(chunk) / self.plan.feature.frame_step_samples as usize;
        let first = frame.div_ceil(self.plan.step_frames);
        let last = self.frames.map_or(usize::MAX, |frames| frames.div_ceil(self.plan.step_frames));
        (frame, first.min(last)..(first + self.plan.trunk_steps).min(last))
    }

    /// Pools every chunk whose steps are there, a batch at a time.
    pub fn submit(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        let rows_max = shared.device.limits().embedding_rows_max;
        while let Some(&chunk) = self.waiting.front() {
            let (_, steps) = self.steps_of(&shared.geometry, chunk);
            let known = self.stretches.back().map_or(0, |stretch| stretch.steps.end);
            if steps.end > known && self.frames.is_none() {
                break;
            }
            let mut batch = Vec::new();
            while let Some(&next) = self.waiting.front() {
                let (_, of_next) = self.steps_of(&shared.geometry, next);
                let ready = of_next.end <= known || self.frames.is_some();
                if batch.len() == rows_max || of_next.len() != steps.len() || !ready {
                    break;
                }
                batch.push(next);
                self.waiting.pop_front();
            }
            if !steps.is_empty() {
                self.pool(shared, batch, steps.len())?;
            }
        }
        let needed = self.waiting.front().copied().unwrap_or(shared.found.activity.len());
        let (_, needed) = self.steps_of(&shared.geometry, needed);
        while self.stretches.front().is_some_and(|stretch| stretch.steps.end <= needed.start)
            && self.stretches.len() > 1
        {
            self.stretches.pop_front();
        }
        Ok(())
    }

    fn pool(&mut self, shared: &mut Shared<'_>, batch: Vec<usize>, steps: usize) -> Result<(), DeviceError> {
        let length = self.plan.trunk_channels * steps;
        let mut samples = Vec::with_capacity(batch.len() * length);
        let mut weights = Vec::new();
        for &chunk in &batch {
            let (frame, steps) = self.steps_of(&shared.geometry, chunk);
            self.gather(&steps, &mut samples);
            let masks = &shared.found.activity[chunk];
            for local in 0..self.plan.local_speakers {
                let of_frames = pooling_weights(masks, local, self.plan.clean_frames_min);
                let (step_frames, trunk_steps) = (self.plan.step_frames, self.plan.trunk_steps);
                weights.extend(step_weights(&of_frames, frame, steps.clone(), step_frames, trunk_steps));
            }
        }
        while self.pools_in_flight.len() > shared.device.lanes() {
            self.wait_for_pool(shared)?;
        }
        let starts = (0..batch.len()).map(|i| i * length).collect();
        let rows = Rows { samples: samples.into(), starts, length };
        let ticket = shared.device.submit_weighted(Network::Pooling, rows, weights.into());
        self.pools_in_flight.push_back((batch, ticket));
        Ok(())
    }

    /// Appends `[channels, steps]` of a range of steps.
    fn gather(&self, steps: &Range<usize>, out: &mut Vec<f32>) {
        for channel in 0..self.plan.trunk_channels {
            for stretch in &self.stretches {
                let from = steps.start.max(stretch.steps.start);
                let to = steps.end.min(stretch.steps.end);
                if from < to {
                    let row = channel * stretch.steps.len();
                    let start = stretch.steps.start;
                    out.extend_from_slice(&stretch.values[row + from - start..row + to - start]);
                }
            }
        }
    }

    fn wait_for_pool(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        if let Some((chunks, ticket)) = self.pools_in_flight.pop_front() {
            let answer = ticket.wait()?;
            locals::take(shared, &self.plan, &chunks, &answer);
        }
        Ok(())
    }
}
