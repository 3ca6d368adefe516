//! Which batch shapes are run, pure: few and fixed, so that nothing is planned or allocated for a new one.

/// The smallest batch that is ever run; fewer rows are padded. Memory for fewer would hardly be less, and one row at a time
/// is never an answer to a full device.
pub const ROWS_MIN: usize = 4;
/// From one batch shape to the next.
const FACTOR: usize = 4;

/// The batch shapes of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rungs {
    full: usize,
}

impl Rungs {
    /// Up to `rows_max` rows, and never fewer than [`ROWS_MIN`].
    #[must_use]
    pub fn new(rows_max: usize) -> Self {
        Self { full: rows_max.max(ROWS_MIN) }
    }

    /// The largest batch.
    #[must_use]
    pub fn full(self) -> usize {
        self.full
    }

    /// The smallest batch that holds so many rows, the largest when none does.
    #[must_use]
    pub fn of(self, rows: usize) -> usize {
        let mut rung = self.full;
        while rung / FACTOR >= rows.max(ROWS_MIN) {
            rung /= FACTOR;
        }
        rung
    }

    /// All of them, smallest first.
    #[must_use]
    pub fn all(self) -> Vec<usize> {
        let next = |rung: &usize| Some(rung / FACTOR).filter(|rung| *rung >= ROWS_MIN);
        let mut all: Vec<usize> = std::iter::successors(Some(self.full), next).collect();
        all.reverse();
        all
    }

    /// Halves the largest one, after a batch of `rung` rows found no memory; `false` when that is the smallest.
    pub fn halve(&mut self, rung: usize) -> bool {
        let smaller = (rung / 2).max(ROWS_MIN);
        let halved = smaller < rung;
        self.full = self.full.min(smaller);
        halved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_into_the_smallest_that_holds_them() {
        let rungs = Rungs::new(32);
        assert_eq!(rungs.all(), [8, 32]);
        let of: Vec<usize> = [1, 8, 9, 32, 33].map(|rows| rungs.of(rows)).into();
        assert_eq!(of, [8, 8, 32, 32, 32]);
        assert_eq!(Rungs::new(1).all(), [ROWS_MIN]);
        assert_eq!(Rungs::new(64).all(), [4, 16, 64]);
    }

    #[test]
    fn halving_ends_above_one_row() {
        let mut rungs = Rungs::new(32);
        let mut seen = Vec::new();
        while rungs.halve(rungs.full()) {
            seen.push(rungs.full());
        }
        assert_eq!(seen, [16, 8, 4]);
        assert_eq!(rungs.full(), ROWS_MIN);
        // A small batch without memory says the same of the large ones.
        let mut rungs = Rungs::new(32);
        assert!(rungs.halve(8) && rungs.full() == 4);
    }
}
