//! One timeline from the votes of chunks alone, as pyannote's pipelines make it.
//!
//! A frame's score for a speaker is the number of chunks in which a local speaker that is he is active there. The `count`
//! speakers with the best scores talk (ties: the lower index). Where more people talk than there are speakers, speakers
//! without a voice are added.

use super::geometry::Geometry;
use super::observations::Observations;
use super::reconstruct::{Lanes, Speakers, Timeline};

/// Builds the timeline; `count` holds the number of people talking in each frame. Speakers that are added come behind
/// those in `speakers`.
///
/// Frames are scored as chunks go by and forgotten once no later chunk covers them, so memory does not grow with the
/// length of the recording.
#[must_use]
pub fn timeline(geometry: &Geometry, seen: &Observations, speakers: &Speakers, count: &[u8]) -> Timeline {
    let most = count.iter().copied().max().unwrap_or(0);
    let k = speakers.centroids.len().max(usize::from(most));
    if k == 0 {
        return Timeline::default();
    }
    let (mut all, mut single) = (Lanes::new(k), Lanes::new(k));
    let mut scores: Vec<u32> = Vec::new();
    let mut order: Vec<usize> = Vec::with_capacity(k);
    let mut first = 0;
    for (chunk, masks) in seen.activity.iter().enumerate() {
        let start = geometry.chunk_first_frame(chunk);
        scores.resize(scores.len().max((start + masks.len() - first) * k), 0);
        add_chunk(masks, &speakers.assignment[chunk], k, &mut scores[(start - first) * k..]);
        let is_last = chunk + 1 == seen.activity.len();
        let done = if is_last { count.len() } else { geometry.chunk_first_frame(chunk + 1).min(count.len()) };
        for frame in first..done {
            let row = &scores[(frame - first) * k..][..k];
            order.clear();
            order.extend(0..k);
            order.sort_by(|a, b| row[*b].cmp(&row[*a]));
            let talking = usize::from(count[frame]).min(k);
            all.push(geometry, frame, &order[..talking]);
            single.push(geometry, frame, &order[..talking.min(1)]);
        }
        scores.drain(..((done - first) * k).min(scores.len()));
        first = done;
    }
    Timeline { turns: all.finish(geometry, count.len()), exclusive: single.finish(geometry, count.len()) }
}

/// Adds a chunk's votes; two local speakers that are one speaker vote once.
fn add_chunk(masks: &[u8], names: &[Option<usize>], k: usize, scores: &mut [u32]) {
    let mut bits: Vec<(usize, u8)> = Vec::new();
    for (local, speaker) in names.iter().enumerate().filter_map(|(local, name)| Some((local, (*name)?))) {
        match bits.iter_mut().find(|(of, _)| *of == speaker) {
            Some((_, bits)) => *bits |= 1 << local,
            None => bits.push((speaker, 1 << local)),
        }
    }
    for (mask, row) in masks.iter().zip(scores.chunks_exact_mut(k)) {
        for (speaker, bits) in &bits {
            row[*speaker] += u32::from(mask & bits != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;
    use crate::diarize::speaker_count::{recording_frames, speaker_count};
    use common::speech::diarization::Turn;

    /// The definition, over the whole recording at once.
    fn textbook(
        geometry: &Geometry,
        seen: &Observations,
        speakers: &Speakers,
        count: &[u8],
    ) -> Vec<Vec<bool>> {
        let frames = recording_frames(geometry, &seen.activity);
        let k = speakers.centroids.len().max(count.iter().copied().max().unwrap_or(0).into());
        (0..frames)
            .map(|frame| {
                let mut score = vec![0; k];
                for (chunk, masks) in seen.activity.iter().enumerate() {
                    let Some(mask) =
                        frame.checked_sub(geometry.chunk_first_frame(chunk)).and_then(|i| masks.get(i))
                    else {
                        continue;
                    };
                    for (speaker, score) in score.iter_mut().enumerate() {
                        let votes = |local: &usize| {
                            speakers.assignment[chunk][*local] == Some(speaker) && mask >> local & 1 == 1
                        };
                        *score += usize::from((0..3).any(|local| votes(&local)));
                    }
                }
                let mut talking = vec![false; k];
                for _ in 0..count[frame] {
                    let best = (0..k)
                        .filter(|s| !talking[*s])
                        .max_by_key(|s| (score[*s], std::cmp::Reverse(*s)))
                        .expect("as many speakers as are counted");
                    talking[best] = true;
                }
                talking
            })
            .collect()
    }

    #[test]
    fn frames_are_those_of_the_definition() {
        let geometry = Geometry { step: 16_000, ..pyannote() };
        let mut state = 11u64;
        let mut draw = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for speakers in 1..4 {
            let mut seen = Observations::new(1);
            seen.activity = (0..6)
                .map(|_| {
                    let mut mask = 0u8;
                    (0..589)
                        .map(|_| {
                            if draw(9) == 0 {
                                mask = [0, 1, 2, 4, 3, 5, 6][draw(7) as usize];
                            }
                            mask
                        })
                        .collect()
                })
                .collect();
            let mut name = || (draw(4) > 0).then(|| draw(speakers) as usize);
            let assignment = (0..6).map(|_| vec![name(), name(), name()]).collect();
            let speakers = Speakers { centroids: vec![vec![1.0]; speakers as usize], assignment };
            let count = speaker_count(&geometry, &seen.activity);
            let found = timeline(&geometry, &seen, &speakers, &count);
            let truth = textbook(&geometry, &seen, &speakers, &count);
            for (frame, talking) in truth.iter().enumerate() {
                let middle = geometry.frame_middle(frame);
                for (speaker, talks) in talking.iter().enumerate() {
                    let inside =
                        |turn: &Turn| turn.speaker == speaker && turn.start <= middle && middle < turn.end;
                    assert_eq!(found.turns.iter().any(inside), *talks, "frame {frame}, speaker {speaker}");
                }
            }
        }
    }

    #[test]
    fn more_people_than_speakers_add_a_speaker() {
        let geometry = pyannote();
        let mut seen = Observations::new(1);
        let mut masks = vec![0b01u8; 589];
        masks[100..200].fill(0b11);
        seen.activity = vec![masks];
        let speakers =
            Speakers { centroids: vec![vec![1.0]], assignment: vec![vec![Some(0), Some(0), None]] };
        let found = timeline(&geometry, &seen, &speakers, &speaker_count(&geometry, &seen.activity));
        let turn = |first, after, speaker| Turn {
            start: geometry.frame_middle(first),
            end: geometry.frame_middle(after),
            speaker,
        };
        assert_eq!(found.turns, [turn(100, 200, 1), turn(0, 589, 0)]);
        assert_eq!(found.exclusive, [turn(0, 589, 0)]);
    }
}
