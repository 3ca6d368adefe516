//! Which frames of a chunk speak for which of its local speakers.

/// The frames of a chunk over which local speaker `local` is pooled, 1 or 0 each: those in which nobody else speaks when
/// there are at least `clean_frames_min`, else all in which it speaks.
///
/// A frame is clean for a speaker when fewer than two are active (pyannote's `embedding_exclude_overlap`).
#[must_use]
pub fn pooling_weights(masks: &[u8], local: usize, clean_frames_min: usize) -> Vec<f32> {
    let bit = 1u8 << local;
    let clean = masks.iter().filter(|mask| **mask == bit).count();
    let counts = |mask: u8| if clean >= clean_frames_min.max(1) { mask == bit } else { mask & bit != 0 };
    masks.iter().map(|mask| f32::from(u8::from(counts(*mask)))).collect()
}

/// Weights of activity frames brought to the steps of a trunk: each step takes the weight of the frame at
/// `floor(step * frames / steps)`, in single precision, as torch's nearest interpolation does.
pub fn to_steps(weights: &[f32], steps: usize, out: &mut Vec<f32>) {
    let scale = weights.len() as f32 / steps as f32;
    out.extend((0..steps).map(|step| {
        let frame = (step as f32 * scale).floor() as usize;
        weights.get(frame.min(weights.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }));
}

/// Local speakers that are active in a chunk, ascending.
pub fn active(masks: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let any = masks.iter().fold(0, |all, mask| all | mask);
    (0..8).filter(move |local| any >> local & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_counts_only_without_enough_clean_frames() {
        let masks = [0b01, 0b01, 0b01, 0b11, 0b11, 0b10, 0b10, 0b00];
        assert_eq!(pooling_weights(&masks, 0, 3), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(pooling_weights(&masks, 1, 3), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
        assert_eq!(pooling_weights(&masks, 2, 3), [0.0; 8]);
        assert_eq!(pooling_weights(&[0b11, 0b11], 1, 0), [1.0, 1.0], "no clean frame at all");
        assert_eq!(active(&masks).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn steps_take_the_frame_below() {
        let weights: Vec<f32> = (0..589).map(|i| i as f32).collect();
        let mut out = Vec::new();
        to_steps(&weights, 125, &mut out);
        // floor(4.712 i)
        assert_eq!((out.len(), out[0], out[1], out[2], out[124]), (125, 0.0, 4.0, 9.0, 584.0));
        out.clear();
        to_steps(&[], 3, &mut out);
        assert_eq!(out, [0.0; 3]);
    }
}
