//! Powerset classes: which local speakers a segmentation class stands for.
//!
//! Classes are ordered by size, then lexicographically: for 3 local speakers of whom 2 may talk at once `{}`, `{0}`,
//! `{1}`, `{2}`, `{0,1}`, `{0,2}`, `{1,2}` (Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural
//! speaker diarization", 2023). A set is kept as a bit mask: bit `k` is local speaker `k`.

/// The mapping from classes to sets of local speakers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powerset {
    masks: Vec<u8>,
}

impl Powerset {
    /// The classes for `local` speakers of whom at most `simultaneous` are active at once.
    ///
    /// # Panics
    /// Unless `1 <= simultaneous <= local <= 8`, which the manifest guarantees.
    #[must_use]
    pub fn new(local: usize, simultaneous: usize) -> Self {
        assert!((1..=8).contains(&local) && (1..=local).contains(&simultaneous), "bounded by the manifest");
        let mut masks: Vec<u8> =
            (0..1u16 << local).map(|m| m as u8).filter(|m| m.count_ones() as usize <= simultaneous).collect();
        // Lexicographic order of ascending member lists equals descending order of the bit-reversed mask.
        masks.sort_by_key(|m| (m.count_ones(), std::cmp::Reverse(m.reverse_bits())));
        Self { masks }
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.masks.len()
    }

    /// Hard decoding: the most likely class of each frame (ties: the lower class; NaN never wins) as a bit mask of
    /// active local speakers. `scores` is row-major `[frames, classes]`; `masks` receives one entry per frame.
    ///
    /// # Panics
    /// When `scores` is not a whole number of frames.
    pub fn decode(&self, scores: &[f32], masks: &mut Vec<u8>) {
        assert_eq!(scores.len() % self.classes(), 0, "scores hold whole frames");
        masks.clear();
        masks.extend(scores.chunks_exact(self.classes()).map(|frame| {
            let mut best = (0, f32::NEG_INFINITY);
            for (class, &score) in frame.iter().enumerate() {
                if score > best.1 {
                    best = (class, score);
                }
            }
            self.masks[best.0]
        }));
    }

    /// The class that stands for a mask.
    #[must_use]
    pub fn class_of(&self, mask: u8) -> Option<usize> {
        self.masks.iter().position(|m| *m == mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_classes() {
        assert_eq!(Powerset::new(3, 2).masks, [0b000, 0b001, 0b010, 0b100, 0b011, 0b101, 0b110]);
        assert_eq!(Powerset::new(2, 2).masks, [0b00, 0b01, 0b10, 0b11]);
        assert_eq!(Powerset::new(4, 2).masks[5..], [0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100]);
    }

    #[test]
    fn decoding_takes_the_best_class() {
        let powerset = Powerset::new(3, 2);
        let mut masks = Vec::new();
        let scores = [
            [0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0],
            [-9.0, -9.0, -9.0, -9.0, -9.0, -0.1, -9.0],
            [f32::NAN; 7],
        ];
        powerset.decode(&scores.concat(), &mut masks);
        assert_eq!(masks, [0b000, 0b101, 0b000]);
        powerset.decode(&[0.5; 7], &mut masks);
        assert_eq!(masks, [0], "ties go to the lower class");
    }

    #[test]
    fn every_class_is_found_again() {
        let powerset = Powerset::new(3, 2);
        assert!((0..7).all(|class| powerset.class_of(powerset.masks[class]) == Some(class)));
        assert_eq!(powerset.class_of(0b111), None);
    }
}
