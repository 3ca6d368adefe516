//! From local speakers that have names now back to one timeline.
//!
//! In each frame the `count` speakers with the best scores talk. A speaker's score is the share of covering chunks
//! that give him the frame, plus `cosine_weight` times the Hann-weighted mean, over the windows that cover the frame,
//! of the cosine to his centroid: where chunks disagree, the voice decides. Nothing is smoothed.

use common::speech::diarization::Turn;

use super::geometry::Geometry;
use super::observations::{Observations, dot};
use super::windows::frames_between;

/// For each chunk and local speaker: the speaker of the recording it is, if any.
pub type Assignment = Vec<Vec<Option<usize>>>;

/// Frames scored at a time: bounds memory whatever the length of the recording.
const BLOCK_FRAMES: usize = 8192;

/// Speakers with their centroids, and who is who in each chunk.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Speakers {
    /// Unit-length centroids, row-major `[speakers, dimension]`.
    pub centroids: Vec<Vec<f32>>,
    /// See [`Assignment`].
    pub assignment: Assignment,
}

/// Turns of a recording; `count` holds the number of people talking in each frame.
///
/// Returns overlapping turns when `count` goes above 1; pass it clipped to 1 for exclusive turns.
#[must_use]
pub fn reconstruct(
    geometry: &Geometry,
    window: usize,
    seen: &Observations,
    speakers: &Speakers,
    count: &[u8],
    cosine_weight: f32,
) -> Vec<Turn> {
    let k = speakers.centroids.len();
    let mut timeline = Timeline::new(k);
    if k == 0 {
        return timeline.turns;
    }
    let cosines: Vec<f32> = (0..seen.windows.len())
        .flat_map(|w| speakers.centroids.iter().map(move |c| dot(seen.embedding(w), c) as f32))
        .collect();
    let mut order: Vec<usize> = Vec::with_capacity(k);
    for first in (0..count.len()).step_by(BLOCK_FRAMES) {
        let block = first..count.len().min(first + BLOCK_FRAMES);
        let mut scores = chunk_shares(geometry, seen, speakers, &block);
        add_cosines(geometry, window, seen, &cosines, &block, cosine_weight, &mut scores);
        for frame in block.clone() {
            let row = &scores[(frame - first) * k..][..k];
            order.clear();
            order.extend(0..k);
            // Stable: ties go to the lower index.
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let talking = usize::from(count[frame]).min(k);
            timeline.push(geometry, frame, &order[..talking]);
        }
    }
    timeline.finish(geometry, count.len());
    timeline.turns
}

/// Share of the chunks covering each frame that give it to each speaker: `[frames, speakers]`.
fn chunk_shares(
    geometry: &Geometry,
    seen: &Observations,
    speakers: &Speakers,
    block: &std::ops::Range<usize>,
) -> Vec<f32> {
    let k = speakers.centroids.len();
    let mut votes = vec![0f32; block.len() * k];
    let mut covering = vec![0f32; block.len()];
    for (chunk, (masks, names)) in seen.activity.iter().zip(&speakers.assignment).enumerate() {
        let start = geometry.chunk_first_frame(chunk);
        let (from, to) = (start.max(block.start), (start + masks.len()).min(block.end));
        for frame in from..to.max(from) {
            covering[frame - block.start] += 1.0;
            let mut mask = masks[frame - start];
            while mask != 0 {
                if let Some(speaker) = names[mask.trailing_zeros() as usize] {
                    votes[(frame - block.start) * k + speaker] += 1.0;
                }
                mask &= mask - 1;
            }
        }
    }
    for (row, n) in votes.chunks_exact_mut(k).zip(&covering) {
        row.iter_mut().for_each(|v| *v /= n.max(1.0));
    }
    votes
}

/// Adds the weighted mean cosine of the windows that cover each frame.
fn add_cosines(
    geometry: &Geometry,
    window: usize,
    seen: &Observations,
    cosines: &[f32],
    block: &std::ops::Range<usize>,
    cosine_weight: f32,
    scores: &mut [f32],
) {
    let k = scores.len() / block.len();
    let mut sums = vec![0f32; scores.len()];
    let mut weights = vec![0f32; block.len()];
    for (index, &start) in seen.windows.iter().enumerate() {
        let frames = frames_between(geometry, start, start + window);
        for frame in frames.start.max(block.start)..frames.end.min(block.end) {
            let offset = geometry.frame_middle(frame).get() * f64::from(geometry.rate_hz) - start as f64;
            let hann = (0.5 - 0.5 * (std::f64::consts::TAU * offset / window as f64).cos()) as f32;
            weights[frame - block.start] += hann;
            for (sum, cosine) in
                sums[(frame - block.start) * k..][..k].iter_mut().zip(&cosines[index * k..(index + 1) * k])
            {
                *sum += hann * cosine;
            }
        }
    }
    for ((row, sum), weight) in scores.chunks_exact_mut(k).zip(sums.chunks_exact(k)).zip(&weights) {
        for (score, s) in row.iter_mut().zip(sum) {
            *score += cosine_weight * s / weight.max(1e-9);
        }
    }
}

/// Collects turns while frames go by.
struct Timeline {
    open: Vec<Option<usize>>,
    turns: Vec<Turn>,
}

impl Timeline {
    fn new(speakers: usize) -> Self {
        Self { open: vec![None; speakers], turns: Vec::new() }
    }

    fn push(&mut self, geometry: &Geometry, frame: usize, talking: &[usize]) {
        for speaker in 0..self.open.len() {
            match (self.open[speaker], talking.contains(&speaker)) {
                (None, true) => self.open[speaker] = Some(frame),
                (Some(_), false) => self.close(geometry, frame, speaker),
                _ => {}
            }
        }
    }

    fn finish(&mut self, geometry: &Geometry, frames: usize) {
        for speaker in 0..self.open.len() {
            self.close(geometry, frames, speaker);
        }
    }

    /// A turn runs from the middle of its first frame to the middle of the first frame after it.
    fn close(&mut self, geometry: &Geometry, frame: usize, speaker: usize) {
        if let Some(first) = self.open[speaker].take() {
            self.turns.push(Turn {
                start: geometry.frame_middle(first),
                end: geometry.frame_middle(frame),
                speaker,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;

    fn seen(masks: Vec<u8>) -> Observations {
        let mut seen = Observations::new(2);
        seen.samples = 160_000;
        seen.activity = vec![masks];
        seen
    }

    #[test]
    fn one_chunk_gives_back_its_activity() {
        let g = pyannote();
        let mut masks = vec![0u8; 589];
        masks[10..20].fill(0b1);
        masks[15..30].iter_mut().for_each(|m| *m |= 0b10);
        let count: Vec<u8> = masks.iter().map(|m| m.count_ones() as u8).collect();
        let speakers = Speakers {
            centroids: vec![vec![1.0, 0.0], vec![0.0, 1.0]],
            assignment: vec![vec![Some(1), Some(0), None]],
        };
        let turns = reconstruct(&g, 24_000, &seen(masks), &speakers, &count, 0.0);
        let at = |f| g.frame_middle(f);
        let expected = [
            Turn { start: at(10), end: at(20), speaker: 1 },
            Turn { start: at(15), end: at(30), speaker: 0 },
        ];
        assert_eq!(turns, expected);
    }

    #[test]
    fn the_voice_decides_where_chunks_do_not() {
        let g = pyannote();
        let mut seen = seen(vec![1; 589]);
        seen.push_window(0, &[0.0, 1.0]);
        let speakers =
            Speakers { centroids: vec![vec![1.0, 0.0], vec![0.0, 1.0]], assignment: vec![vec![None; 3]] };
        let turns = reconstruct(&g, 24_000, &seen, &speakers, &[1; 50], 1.0);
        assert_eq!(turns, [Turn { start: g.frame_middle(0), end: g.frame_middle(50), speaker: 1 }]);
    }

    #[test]
    fn blocks_do_not_show() {
        let g = pyannote();
        let frames = 3 * BLOCK_FRAMES;
        let chunks = frames * g.frame_step / g.step;
        let mut seen = Observations::new(2);
        seen.activity = vec![vec![1; 589]; chunks];
        let speakers =
            Speakers { centroids: vec![vec![1.0, 0.0]], assignment: vec![vec![Some(0), None, None]; chunks] };
        let turns = reconstruct(&g, 24_000, &seen, &speakers, &vec![1; frames - 500], 4.0);
        assert_eq!(turns.len(), 1, "one speaker who never stops has one turn");
    }
}
