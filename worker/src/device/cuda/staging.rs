//! How samples get through a ring of staging buffers, pure: which values go into which slot, one after the other.
//!
//! A slot is filled by the host, then copied by the device; it may be filled again once that copy is over. With several
//! slots the host fills one while the device copies another.

use std::ops::Range;

/// A piece of a batch's samples: those of a row from `skip` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which row.
    pub row: usize,
    /// Samples at its start that are on the device already.
    pub skip: usize,
}

/// What goes into a slot next: these values of all parts strung together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Which slot.
    pub slot: usize,
    /// Which values.
    pub values: Range<usize>,
}

/// The ring, as numbers: what stands where is not its business.
#[derive(Debug, Clone)]
pub struct Ring {
    slots: usize,
    slot_values: usize,
    next: usize,
}

impl Ring {
    /// So many slots of so many values.
    ///
    /// # Panics
    /// Without slots, or with empty ones.
    #[must_use]
    pub fn new(slots: usize, slot_values: usize) -> Self {
        assert!(slots > 0 && slot_values > 0, "a ring holds something");
        Self { slots, slot_values, next: 0 }
    }

    /// The next fill on the way of `values` values, of which `done` are on their way already; `None` at the end.
    pub fn fill(&mut self, done: usize, values: usize) -> Option<Fill> {
        if done >= values {
            return None;
        }
        let slot = self.next;
        self.next = (self.next + 1) % self.slots;
        Some(Fill { slot, values: done..values.min(done + self.slot_values) })
    }
}

/// Where in a list of parts the next value stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    part: usize,
    offset: usize,
}

impl Cursor {
    /// Copies the next values of the parts into `out`, as many as it holds.
    ///
    /// # Panics
    /// When there are not that many left.
    pub fn copy(&mut self, rows: &[&[f32]], parts: &[Part], out: &mut [f32]) {
        let mut filled = 0;
        while filled < out.len() {
            let part = parts[self.part];
            let from = &rows[part.row][part.skip + self.offset..];
            let count = from.len().min(out.len() - filled);
            out[filled..filled + count].copy_from_slice(&from[..count]);
            filled += count;
            self.offset += count;
            if count == from.len() {
                *self = Self { part: self.part + 1, offset: 0 };
            }
        }
    }
}

/// Puts whole numbers where floats are staged, bit by bit.
pub fn put_ints(values: &[i32], staged: &mut [f32]) {
    for (to, value) in staged.iter_mut().zip(values) {
        *to = f32::from_bits(value.cast_unsigned());
    }
}

/// What of a batch's rows has to be sent, and where each row begins in it.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// What is sent, one after the other.
    pub parts: Vec<Part>,
    /// Where each row begins, in values; padding rows begin where the first does.
    pub starts: Vec<i32>,
    /// Values in all.
    pub values: usize,
}

impl Upload {
    /// Plans rows: samples that a row shares with the one before it are sent once. `padded` rows come out of it.
    ///
    /// Rows that overlap in this process's memory hold the same samples, since both are borrowed.
    ///
    /// # Panics
    /// When a batch has more than 2³¹ values, or more rows than `padded`.
    pub fn plan(&mut self, rows: &[&[f32]], padded: usize) {
        assert!(rows.len() <= padded, "padding only adds rows");
        self.parts.clear();
        self.starts.clear();
        self.values = 0;
        // Address and place of the row before.
        let mut before: Option<(Range<usize>, usize)> = None;
        for (row, samples) in rows.iter().enumerate() {
            let here = samples.as_ptr().addr()..samples.as_ptr().addr() + size_of_val(*samples);
            let shared = before.as_ref().filter(|(there, _)| {
                here.start >= there.start
                    && here.start <= there.end
                    && here.end >= there.end
                    && (here.start - there.start).is_multiple_of(size_of::<f32>())
            });
            let (start, skip) = match shared {
                Some((there, place)) => (
                    place + (here.start - there.start) / size_of::<f32>(),
                    (there.end - here.start) / size_of::<f32>(),
                ),
                None => (self.values, 0),
            };
            if skip < samples.len() {
                self.parts.push(Part { row, skip });
                self.values += samples.len() - skip;
            }
            self.starts.push(i32::try_from(start).expect("a batch is far smaller than 2^31 samples"));
            before = Some((here, start));
        }
        let first = self.starts.first().copied().unwrap_or(0);
        self.starts.resize(padded, first);
        assert!(i32::try_from(self.values).is_ok(), "a batch is far smaller than 2^31 samples");
    }

    /// Plans rows that stand one behind the other, each sent whole; the first is repeated for padding.
    ///
    /// # Panics
    /// When there are more rows than `padded`, or none.
    pub fn whole(&mut self, rows: &[&[f32]], padded: usize) {
        assert!((1..=padded).contains(&rows.len()), "padding only adds rows");
        self.parts.clear();
        self.starts.clear();
        self.values = 0;
        for row in (0..rows.len()).chain(std::iter::repeat_n(0, padded - rows.len())) {
            self.parts.push(Part { row, skip: 0 });
            self.values += rows[row].len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the device would hold.
    fn sent(rows: &[&[f32]], upload: &Upload, ring: &mut Ring) -> Vec<f32> {
        let (mut out, mut cursor) = (vec![f32::NAN; upload.values], Cursor::default());
        let mut done = 0;
        while let Some(fill) = ring.fill(done, upload.values) {
            done = fill.values.end;
            cursor.copy(rows, &upload.parts, &mut out[fill.values]);
        }
        out
    }

    #[test]
    fn overlapping_rows_are_sent_once() {
        let samples: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let other = [1000.0, 1001.0, 1002.0, 1003.0];
        let rows = [&samples[0..40], &samples[10..50], &samples[20..60], &other[..], &samples[70..75]];
        let mut upload = Upload::default();
        upload.plan(&rows, 7);
        assert_eq!(upload.values, 60 + 4 + 5);
        assert_eq!(upload.starts, [0, 10, 20, 60, 64, 0, 0]);
        let sent = sent(&rows, &upload, &mut Ring::new(3, 17));
        for (row, start) in rows.iter().zip(&upload.starts) {
            assert_eq!(&sent[*start as usize..][..row.len()], *row);
        }
    }

    #[test]
    fn whole_rows_stand_one_behind_the_other() {
        let values = [1.0, 2.0, 3.0, 4.0];
        let mut upload = Upload::default();
        let rows = [&values[..2], &values[1..3]];
        upload.whole(&rows, 3);
        assert_eq!(sent(&rows, &upload, &mut Ring::new(2, 4)), [1.0, 2.0, 2.0, 3.0, 1.0, 2.0]);
    }

    #[test]
    fn whole_numbers_are_sent_bit_by_bit() {
        // Among them the patterns of numbers that are none.
        let values = [0, 1, -1, i32::MIN, i32::MAX, 0x7f80_0001, 0x7fc0_0000, 5];
        let mut staged = [0.0; 8];
        put_ints(&values, &mut staged);
        assert_eq!(staged.map(|value| value.to_bits().cast_signed()), values);
    }

    #[test]
    fn slots_come_round_in_turn() {
        let mut ring = Ring::new(3, 10);
        let fill = |slot, values| Some(Fill { slot, values });
        assert_eq!(ring.fill(0, 25), fill(0, 0..10));
        assert_eq!(ring.fill(10, 25), fill(1, 10..20));
        assert_eq!(ring.fill(20, 25), fill(2, 20..25));
        assert_eq!(ring.fill(25, 25), None);
        // The next batch goes on where the last one ended: its first copy may still be under way.
        assert_eq!(ring.fill(0, 1), fill(0, 0..1));
        assert_eq!(ring.fill(0, 10), fill(1, 0..10));
    }

    proptest! {
        #[test]
        fn every_row_arrives_whole(
            cuts in prop::collection::vec((0usize..900, 1usize..100), 1..20),
            slots in 1usize..5,
            slot_values in 1usize..300,
        ) {
            let samples: Vec<f32> = (0..1000).map(|i| i as f32).collect();
            let rows: Vec<&[f32]> = cuts.iter().map(|(start, length)| &samples[*start..start + length]).collect();
            let mut upload = Upload::default();
            upload.plan(&rows, rows.len());
            prop_assert!(upload.values <= rows.iter().map(|row| row.len()).sum());
            let sent = sent(&rows, &upload, &mut Ring::new(slots, slot_values));
            for (row, start) in rows.iter().zip(&upload.starts) {
                prop_assert_eq!(&sent[*start as usize..][..row.len()], *row);
            }
        }
    }
}
