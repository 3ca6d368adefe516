//! Embeddings of local speakers, trunk and pooling over each chunk by itself.
//!
//! The samples of a chunk stay with its request until its activity is known; then the same samples go to the embedding
//! network, with what each activity frame counts for each local speaker. A chunk in which nobody speaks is left out.

use std::collections::VecDeque;

use super::Shared;
use crate::batch::plan::Network;
use crate::device::handle::{Answer, DeviceError, Rows, Ticket};
use crate::diarize::masks::{active, pooling_weights};
use crate::diarize::pipeline::LocalPlan;

/// Chunks with speech of one segmentation request.
struct Batch {
    chunks: Vec<usize>,
    rows: Rows,
    weights: Vec<f32>,
}

/// Chunks whose local speakers are to be embedded, or are out.
pub(super) struct Locals {
    plan: LocalPlan,
    waiting: VecDeque<Batch>,
    in_flight: VecDeque<(Vec<usize>, Ticket)>,
}

impl Locals {
    pub fn new(plan: LocalPlan) -> Self {
        Self { plan, waiting: VecDeque::new(), in_flight: VecDeque::new() }
    }

    pub fn chunk_known(&mut self, shared: &mut Shared<'_>, chunk: usize, rows: &Rows, row: usize) {
        let masks = &shared.found.activity[chunk];
        if active(masks).next().is_none() {
            return;
        }
        let weights = (0..self.plan.local_speakers)
            .flat_map(|local| pooling_weights(masks, local, self.plan.clean_frames_min));
        match self.waiting.back_mut() {
            // Rows of one request share their samples.
            Some(batch) if std::sync::Arc::ptr_eq(&batch.rows.samples, &rows.samples) => {
                batch.chunks.push(chunk);
                batch.rows.starts.push(rows.starts[row]);
                batch.weights.extend(weights);
            }
            _ => self.waiting.push_back(Batch {
                chunks: vec![chunk],
                rows: Rows { starts: vec![rows.starts[row]], ..rows.clone() },
                weights: weights.collect(),
            }),
        }
    }

    /// Queues what waits; while not at the `end`, only as much as keeps every lane busy, and waits for the rest.
    pub fn submit(&mut self, shared: &mut Shared<'_>, end: bool) -> Result<(), DeviceError> {
        while let Some(batch) = self.waiting.pop_front() {
            while self.in_flight.len() > shared.device.lanes() {
                self.wait(shared)?;
            }
            let ticket = shared.device.submit_weighted(Network::Locals, batch.rows, batch.weights.into());
            self.in_flight.push_back((batch.chunks, ticket));
        }
        while end && !self.in_flight.is_empty() {
            self.wait(shared)?;
        }
        Ok(())
    }

    pub fn poll(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        while let Some(answer) = self.in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((chunks, _)) = self.in_flight.pop_front() {
                take(shared, &self.plan, &chunks, &answer?);
            }
        }
        Ok(())
    }

    pub fn finish(mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        self.submit(shared, true)
    }

    fn wait(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        if let Some((chunks, ticket)) = self.in_flight.pop_front() {
            let answer = ticket.wait()?;
            take(shared, &self.plan, &chunks, &answer);
        }
        Ok(())
    }
}

/// Keeps the embeddings of active local speakers.
pub(super) fn take(shared: &mut Shared<'_>, plan: &LocalPlan, chunks: &[usize], answer: &Answer) {
    shared.time.embedding += answer.busy;
    let dimension = shared.found.dimension();
    for (chunk, embeddings) in chunks.iter().zip(answer.values.chunks_exact(plan.local_speakers * dimension))
    {
        for local in active(&shared.found.activity[*chunk]) {
            let embedding = &embeddings[local * dimension..(local + 1) * dimension];
            shared.found.locals.push(*chunk, local, embedding);
        }
    }
}
