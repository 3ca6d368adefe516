//! How many people speak in each frame of the recording.

use super::geometry::{Geometry, round_half_even};

/// Which local speakers are active in each activity frame of one chunk: bit `k` is local speaker `k`.
pub type ChunkActivity = Vec<u8>;

/// Frames that the chunks cover together.
#[must_use]
pub fn recording_frames(geometry: &Geometry, activity: &[ChunkActivity]) -> usize {
    activity
        .iter()
        .enumerate()
        .map(|(c, masks)| geometry.chunk_first_frame(c) + masks.len())
        .max()
        .unwrap_or(0)
}

/// Speakers in each frame of the recording: the mean over the chunks that cover it, rounded half to even.
///
/// Integer arithmetic throughout, so there is no order of summation to depend on.
#[must_use]
pub fn speaker_count(geometry: &Geometry, activity: &[ChunkActivity]) -> Vec<u8> {
    let frames = recording_frames(geometry, activity);
    let (mut sum, mut covering) = (vec![0u16; frames], vec![0u16; frames]);
    for (chunk, masks) in activity.iter().enumerate() {
        let first = geometry.chunk_first_frame(chunk);
        for (i, mask) in masks.iter().enumerate() {
            sum[first + i] += mask.count_ones() as u16;
            covering[first + i] += 1;
        }
    }
    sum.iter()
        .zip(&covering)
        .map(|(&s, &n)| if n == 0 { 0 } else { round_half_even(s.into(), n.into()) as u8 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_round_half_to_even() {
        let g =
            Geometry { rate_hz: 16_000, window: 4, step: 2, frames: 4, frame_step: 1, receptive_field: 1 };
        // chunk 0 covers frames 0..4, chunk 1 frames 2..6
        let activity = vec![vec![0b1, 0b11, 0b11, 0b1], vec![0b1, 0b0, 0b111, 0b0]];
        // frame 2: (2 + 1) / 2 = 1.5 → 2; frame 3: (1 + 0) / 2 = 0.5 → 0
        assert_eq!(speaker_count(&g, &activity), [1, 2, 2, 0, 3, 0]);
        assert!(speaker_count(&g, &[]).is_empty());
    }
}
