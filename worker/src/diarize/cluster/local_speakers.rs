//! Local speakers: a voice inside one chunk, and what the windows inside that chunk say of it.

use std::ops::Range;

use crate::diarize::geometry::Geometry;
use crate::diarize::observations::{Observations, dot};
use crate::diarize::windows::{chunk_frames, frames_between, nearest_chunk};

/// A voice inside one chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalSpeaker {
    /// The chunk.
    pub chunk: usize,
    /// Its number there.
    pub local: usize,
    /// Weighted mean of unit-length window embeddings; shorter than 1 where the windows disagree.
    pub embedding: Vec<f64>,
    /// Seconds it speaks alone.
    pub clean_s: f64,
}

/// Local speakers in order of (chunk, number), and how similar windows of one local speaker are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalSpeakers {
    /// Every active local speaker.
    pub list: Vec<LocalSpeaker>,
    /// Sum of the cosines of pairs of windows that do not overlap and lie inside one local speaker.
    pub inside_sum: f64,
    /// How many such pairs.
    pub inside_pairs: usize,
}

/// Shares of a window's frames in which a local speaker is alone, and in which it is active at all.
#[derive(Debug, Clone, Copy, Default)]
struct Shares {
    alone: f64,
    active: f64,
}

/// Share of a window's frames in which the bit `mask` of `frames` stands alone, of `expected` frames.
fn shares(frames: &[u8], local: usize, expected: usize) -> Shares {
    let bit = 1u8 << local;
    let alone = frames.iter().filter(|mask| **mask == bit).count();
    let active = frames.iter().filter(|mask| **mask & bit != 0).count();
    let n = expected.max(1) as f64;
    Shares { alone: alone as f64 / n, active: active as f64 / n }
}

/// Frames that a window at `start` has in an endless chunk at `chunk`.
fn expected_frames(geometry: &Geometry, chunk: usize, start: usize, window: usize) -> usize {
    // Counted on the chunk's own frame grid; a window before the chunk's start cannot occur.
    let offset = start.saturating_sub(geometry.chunk_start(chunk));
    frames_between(geometry, offset, offset + window).len()
}

/// The windows that lie inside a chunk; without one, the one whose middle is nearest to the chunk's (ties: the earlier);
/// empty only when there is no window at all.
#[must_use]
pub fn windows_inside(geometry: &Geometry, window: usize, seen: &Observations, chunk: usize) -> Range<usize> {
    let start = geometry.chunk_start(chunk);
    let first = seen.windows.partition_point(|w| *w < start);
    let end = seen.windows.partition_point(|w| w + window <= start + geometry.window);
    if first < end || seen.windows.is_empty() {
        return first.min(end)..end;
    }
    let middle = start + geometry.window / 2;
    let distance = |w: &usize| (seen.windows[*w] + window / 2).abs_diff(middle);
    let near = [first.saturating_sub(1), first.min(seen.windows.len() - 1)];
    let near = if distance(&near[1]) < distance(&near[0]) { near[1] } else { near[0] };
    near..near + 1
}

/// Share of the frames of window `index` in which a local speaker of a chunk is alone.
#[must_use]
pub fn alone_share(
    geometry: &Geometry,
    window: usize,
    seen: &Observations,
    chunk: usize,
    index: usize,
    local: usize,
) -> f64 {
    let start = seen.windows[index];
    let frames = chunk_frames(geometry, &seen.activity, chunk, start, start + window);
    shares(frames, local, expected_frames(geometry, chunk, start, window)).alone
}

/// For each window, the largest share of its frames in which one local speaker is alone, in the nearest chunk.
#[must_use]
pub fn clean_shares(geometry: &Geometry, window: usize, seen: &Observations) -> Vec<f64> {
    seen.windows
        .iter()
        .map(|&start| {
            let chunk = nearest_chunk(geometry, seen.activity.len(), start + window / 2);
            let frames = chunk_frames(geometry, &seen.activity, chunk, start, start + window);
            let expected = expected_frames(geometry, chunk, start, window);
            (0..8).map(|local| shares(frames, local, expected).alone).fold(0.0, f64::max)
        })
        .collect()
}

/// Describes every local speaker by the windows inside its chunk: the mean of those that are at least
/// `local_share_min` that speaker alone, weighted by the share; where there is none, of those with the largest share.
///
/// Pairs of windows for `inside_sum` are those of share `inside_share_min` or more that are a window apart.
#[must_use]
pub fn describe(
    geometry: &Geometry,
    window: usize,
    seen: &Observations,
    local_share_min: f64,
    inside_share_min: f64,
) -> LocalSpeakers {
    let mut found = LocalSpeakers::default();
    for (chunk, masks) in seen.activity.iter().enumerate() {
        let any = masks.iter().fold(0, |all, mask| all | mask);
        let range = windows_inside(geometry, window, seen, chunk);
        if range.is_empty() {
            continue;
        }
        for local in (0..8).filter(|local| any >> local & 1 == 1) {
            let shares: Vec<Shares> = range
                .clone()
                .map(|w| {
                    let at = seen.windows[w];
                    let frames = chunk_frames(geometry, &seen.activity, chunk, at, at + window);
                    shares(frames, local, expected_frames(geometry, chunk, at, window))
                })
                .collect();
            let alone = masks.iter().filter(|mask| **mask == 1 << local).count();
            found.list.push(LocalSpeaker {
                chunk,
                local,
                embedding: weighted_mean(seen, range.start, &weights(&shares, local_share_min)),
                clean_s: (alone * geometry.frame_step) as f64 / f64::from(geometry.rate_hz),
            });
            add_inside_pairs(&mut found, seen, window, range.start, &shares, inside_share_min);
        }
    }
    found
}

fn weights(shares: &[Shares], share_min: f64) -> Vec<f64> {
    let best = shares.iter().map(|s| s.alone).fold(0.0, f64::max);
    if best >= share_min {
        return shares.iter().map(|s| if s.alone >= share_min { s.alone } else { 0.0 }).collect();
    }
    if best > 0.0 {
        return shares.iter().map(|s| f64::from(u8::from(s.alone == best))).collect();
    }
    let most = shares.iter().map(|s| s.active).fold(0.0, f64::max);
    shares.iter().map(|s| f64::from(u8::from(s.active == most))).collect()
}

fn weighted_mean(seen: &Observations, first: usize, weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; seen.dimension()];
    for (offset, weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        sum.iter_mut().zip(seen.embedding(first + offset)).for_each(|(s, e)| *s += weight * f64::from(*e));
    }
    let total: f64 = weights.iter().sum();
    sum.iter_mut().for_each(|s| *s /= total.max(f64::MIN_POSITIVE));
    sum
}

fn add_inside_pairs(
    found: &mut LocalSpeakers,
    seen: &Observations,
    window: usize,
    first: usize,
    shares: &[Shares],
    share_min: f64,
) {
    let inside: Vec<usize> =
        (0..shares.len()).filter(|i| shares[*i].alone >= share_min).map(|i| first + i).collect();
    for (n, &a) in inside.iter().enumerate() {
        for &b in &inside[n + 1..] {
            if seen.windows[b] - seen.windows[a] >= window {
                found.inside_sum += dot(seen.embedding(a), seen.embedding(b));
                found.inside_pairs += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;

    #[test]
    fn windows_speak_for_whoever_is_alone_in_them() {
        let g = pyannote();
        let mut masks = vec![0u8; 589];
        // Local speaker 0 until frame 200 (3.4 s), local speaker 1 from frame 300 (5.1 s), silence between.
        masks[..200].fill(0b01);
        masks[300..].fill(0b10);
        let mut seen = Observations::new(2);
        seen.samples = 160_000;
        seen.activity = vec![masks];
        for start in (0..=136_000).step_by(12_000) {
            seen.push_window(start, if start < 40_000 { &[1.0, 0.0] } else { &[0.0, 1.0] });
        }
        let found = describe(&g, 24_000, &seen, 0.7, 0.9);
        assert_eq!(found.list.iter().map(|l| (l.chunk, l.local)).collect::<Vec<_>>(), [(0, 0), (0, 1)]);
        assert_eq!(found.list[0].embedding, [1.0, 0.0]);
        assert_eq!(found.list[1].embedding, [0.0, 1.0]);
        assert!((found.list[0].clean_s - 200.0 * 0.016_875).abs() < 1e-9);
        assert!(found.inside_pairs > 3 && (found.inside_sum - found.inside_pairs as f64).abs() < 1e-9);
        let clean = clean_shares(&g, 24_000, &seen);
        assert!(clean[0] > 0.95 && clean[4] < 0.5 && clean[8] == 1.0, "{clean:?}");
    }

    #[test]
    fn no_windows_no_local_speakers() {
        let mut seen = Observations::new(2);
        seen.activity = vec![vec![1; 589]];
        assert!(describe(&pyannote(), 24_000, &seen, 0.7, 0.9).list.is_empty());
    }
}
