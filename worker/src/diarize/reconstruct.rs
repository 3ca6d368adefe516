//! From local speakers that have names now back to one timeline.
//!
//! In each frame the `count` speakers with the best scores talk (ties: the lower index). A frame's score for a speaker
//! is a mean over the chunks that cover it: each chunk adds, for each of its local speakers active there, 1 to the
//! speaker it was assigned to, and to every speaker `cosine_weight` times the cosine of his centroid to what the windows
//! around the frame say of that local speaker. So where chunks disagree, the voice decides. Nothing is smoothed.

use std::ops::Range;

use common::speech::diarization::Turn;

use super::cluster::local_speakers::{alone_share, windows_inside};
use super::geometry::Geometry;
use super::observations::{Observations, dot};

/// For each chunk and local speaker: the speaker of the recording it is, if any.
pub type Assignment = Vec<Vec<Option<usize>>>;

/// Weight of a window in which the local speaker is never alone, against one in which it always is.
const SHARE_FLOOR: f64 = 0.01;
/// Weight of a window that is out of reach of a frame: it counts only where no other window does.
const FAR_WEIGHT: f64 = 1e-6;

/// Speakers with their centroids, and who is who in each chunk.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Speakers {
    /// Unit-length centroids; all zeros for a speaker who is heard only together with another.
    pub centroids: Vec<Vec<f32>>,
    /// See [`Assignment`].
    pub assignment: Assignment,
}

/// The timeline of a recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Timeline {
    /// Turns; they overlap where more than one person talks.
    pub turns: Vec<Turn>,
    /// The same with at most one person at a time.
    pub exclusive: Vec<Turn>,
}

/// Builds the timeline; `count` holds the number of people talking in each frame.
///
/// Frames are scored as chunks go by and forgotten once no later chunk covers them, so memory does not grow with the
/// length of the recording.
#[must_use]
pub fn reconstruct(
    geometry: &Geometry,
    window: usize,
    seen: &Observations,
    speakers: &Speakers,
    count: &[u8],
    cosine_weight: f64,
) -> Timeline {
    let k = speakers.centroids.len();
    if k == 0 {
        return Timeline::default();
    }
    let cosines: Vec<f64> = (0..seen.windows.len())
        .flat_map(|w| speakers.centroids.iter().map(move |c| dot(seen.embedding(w), c)))
        .collect();
    let (mut all, mut single) = (Lanes::new(k), Lanes::new(k));
    let mut scores: Vec<f64> = Vec::new();
    let mut first = 0;
    let mut order: Vec<usize> = Vec::with_capacity(k);
    for (chunk, masks) in seen.activity.iter().enumerate() {
        let start = geometry.chunk_first_frame(chunk);
        scores.resize(scores.len().max((start + masks.len() - first) * k), 0.0);
        let voice = Voice { geometry, window, seen, cosines: &cosines, k, weight: cosine_weight };
        voice.add_chunk(chunk, &speakers.assignment[chunk], &mut scores[(start - first) * k..]);
        let is_last = chunk + 1 == seen.activity.len();
        let done = if is_last { count.len() } else { geometry.chunk_first_frame(chunk + 1).min(count.len()) };
        for frame in first..done {
            // Dividing by the number of chunks would not change the order.
            let row = &scores[(frame - first) * k..][..k];
            order.clear();
            order.extend(0..k);
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let talking = usize::from(count[frame]).min(k);
            all.push(geometry, frame, &order[..talking]);
            single.push(geometry, frame, &order[..talking.min(1)]);
        }
        scores.drain(..((done - first) * k).min(scores.len()));
        first = done;
    }
    Timeline { turns: all.finish(geometry, count.len()), exclusive: single.finish(geometry, count.len()) }
}

/// Scores the frames of one chunk.
struct Voice<'a> {
    geometry: &'a Geometry,
    window: usize,
    seen: &'a Observations,
    /// Cosine of every window to every centroid, `[windows, speakers]`.
    cosines: &'a [f64],
    k: usize,
    weight: f64,
}

impl Voice<'_> {
    /// Adds a chunk's part to `scores`, `[frames, speakers]` from the chunk's first frame on.
    fn add_chunk(&self, chunk: usize, names: &[Option<usize>], scores: &mut [f64]) {
        let masks = &self.seen.activity[chunk];
        let any = masks.iter().fold(0, |all, mask| all | mask);
        let range = windows_inside(self.geometry, self.window, self.seen, chunk);
        for local in (0..8).filter(|local| any >> local & 1 == 1) {
            let shares: Vec<f64> = range
                .clone()
                .map(|w| {
                    alone_share(self.geometry, self.window, self.seen, chunk, w, local).powi(2) + SHARE_FLOOR
                })
                .collect();
            for (frame, _) in masks.iter().enumerate().filter(|(_, mask)| **mask >> local & 1 == 1) {
                let row = &mut scores[frame * self.k..(frame + 1) * self.k];
                if let Some(speaker) = names[local] {
                    row[speaker] += 1.0;
                }
                self.add_voice(chunk, frame, &range, &shares, row);
            }
        }
    }

    /// Adds the weighted mean cosine of the windows around a frame of a chunk.
    fn add_voice(&self, chunk: usize, frame: usize, range: &Range<usize>, shares: &[f64], row: &mut [f64]) {
        let middle = (frame * self.geometry.frame_step) as f64
            + self.geometry.receptive_field as f64 / 2.0
            + self.geometry.chunk_start(chunk) as f64;
        let (mut sums, mut total) = ([0.0; super::speaker_limits::SPEAKERS_MAX + 1], 0.0);
        for (w, share) in range.clone().zip(shares) {
            let distance = (middle - (self.seen.windows[w] as f64 + self.window as f64 / 2.0)).abs();
            let reach = distance / self.window as f64;
            let hann = if reach < 1.0 { 0.5 + 0.5 * (std::f64::consts::PI * reach).cos() } else { 0.0 };
            let weight = (hann + FAR_WEIGHT) * share;
            total += weight;
            for (sum, cosine) in sums.iter_mut().zip(&self.cosines[w * self.k..(w + 1) * self.k]) {
                *sum += weight * cosine;
            }
        }
        if total > 0.0 {
            row.iter_mut().zip(&sums).for_each(|(score, sum)| *score += self.weight * sum / total);
        }
    }
}

/// Collects turns while frames go by.
pub(super) struct Lanes {
    open: Vec<Option<usize>>,
    turns: Vec<Turn>,
}

impl Lanes {
    pub fn new(speakers: usize) -> Self {
        Self { open: vec![None; speakers], turns: Vec::new() }
    }

    /// Notes who talks in the next frame.
    pub fn push(&mut self, geometry: &Geometry, frame: usize, talking: &[usize]) {
        for speaker in 0..self.open.len() {
            match (self.open[speaker], talking.contains(&speaker)) {
                (None, true) => self.open[speaker] = Some(frame),
                (Some(_), false) => self.close(geometry, frame, speaker),
                _ => {}
            }
        }
    }

    /// Ends what is open after `frames` frames.
    pub fn finish(mut self, geometry: &Geometry, frames: usize) -> Vec<Turn> {
        for speaker in 0..self.open.len() {
            self.close(geometry, frames, speaker);
        }
        self.turns
    }

    /// A turn runs from the middle of its first frame to the middle of the first frame after it.
    fn close(&mut self, geometry: &Geometry, frame: usize, speaker: usize) {
        if let Some(first) = self.open[speaker].take() {
            let (start, end) = (geometry.frame_middle(first), geometry.frame_middle(frame));
            self.turns.push(Turn { start, end, speaker });
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
        seen.push_window(0, &[0.0, 1.0]);
        seen
    }

    fn two(assignment: Assignment) -> Speakers {
        Speakers { centroids: vec![vec![1.0, 0.0], vec![0.0, 1.0]], assignment }
    }

    #[test]
    fn one_chunk_gives_back_its_activity() {
        let g = pyannote();
        let mut masks = vec![0u8; 589];
        masks[10..20].fill(0b1);
        masks[15..30].iter_mut().for_each(|m| *m |= 0b10);
        let count: Vec<u8> = masks.iter().map(|m| m.count_ones() as u8).collect();
        let speakers = two(vec![vec![Some(1), Some(0), None]]);
        let timeline = reconstruct(&g, 24_000, &seen(masks), &speakers, &count, 0.0);
        let turn = |first, after, speaker| Turn {
            start: g.frame_middle(first),
            end: g.frame_middle(after),
            speaker,
        };
        assert_eq!(timeline.turns, [turn(10, 20, 1), turn(15, 30, 0)]);
        // Where both talk and have the same score, the lower index wins.
        assert_eq!(timeline.exclusive, [turn(10, 15, 1), turn(15, 30, 0)]);
    }

    #[test]
    fn the_voice_decides_where_chunks_do_not() {
        let g = pyannote();
        let timeline = reconstruct(&g, 24_000, &seen(vec![1; 589]), &two(vec![vec![None; 3]]), &[1; 50], 1.0);
        assert_eq!(timeline.turns, [Turn { start: g.frame_middle(0), end: g.frame_middle(50), speaker: 1 }]);
    }

    #[test]
    fn chunk_borders_do_not_show() {
        let g = pyannote();
        let chunks = 40;
        let mut seen = Observations::new(2);
        seen.activity = vec![vec![1; 589]; chunks];
        (0..200).for_each(|w| seen.push_window(w * 12_000, &[1.0, 0.0]));
        let frames = g.chunk_first_frame(chunks - 1) + 589;
        let speakers = two(vec![vec![Some(0), None, None]; chunks]);
        let timeline = reconstruct(&g, 24_000, &seen, &speakers, &vec![1; frames], 4.0);
        assert_eq!(timeline.turns.len(), 1, "one speaker who never stops has one turn");
        assert_eq!(timeline.turns, timeline.exclusive);
    }
}
