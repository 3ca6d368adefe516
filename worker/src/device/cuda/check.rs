//! Each kernel on the card against its reference: for operators, and for tools that watch a card's memory accesses.

use super::board::{Address, Board, BoardError, Launch, PoolSizes};
use super::card::Card;
use super::head::frame_of_steps;
use super::reference::{pool_reference, project_reference};
use super::staging::Upload;
use crate::diarize::fbank::{Fbank, subtract_mean};

/// What came out for one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Its name.
    pub kernel: &'static str,
    /// The largest difference from the reference, relative to the largest number of it.
    pub apart: f64,
}

/// Rows that overlap, one that does not, and padding.
const ROWS: usize = 5;
const PADDED: usize = 8;

struct Bench<'a> {
    card: &'a mut Card,
    found: Vec<Checked>,
}

impl Bench<'_> {
    fn send(&mut self, values: &[f32]) -> Result<Address, BoardError> {
        let at = self.card.allocate(values.len())?;
        let mut upload = Upload::default();
        upload.whole(&[values], 1);
        self.card.upload(at, &[values], &upload)?;
        Ok(at)
    }

    fn send_ints(&mut self, values: &[i32]) -> Result<Address, BoardError> {
        let at = self.card.allocate(values.len())?;
        self.card.write_ints(at, values)?;
        Ok(at)
    }

    /// Room whose content no kernel may leave as it is.
    fn room(&mut self, values: usize) -> Result<Address, BoardError> {
        self.send(&vec![f32::NAN; values])
    }

    fn compare(&mut self, kernel: &'static str, at: Address, expected: &[f32]) -> Result<(), BoardError> {
        let mut found = Vec::new();
        self.card.read(at, expected.len(), &mut found)?;
        let largest = expected.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(f64::from(value.abs())));
        let apart = found.iter().zip(expected).fold(0f64, |most, (a, b)| {
            let apart = (f64::from(*a) - f64::from(*b)).abs();
            // A number that was not written is as far apart as can be.
            most.max(if apart.is_nan() { f64::INFINITY } else { apart / largest })
        });
        self.found.push(Checked { kernel, apart });
        Ok(())
    }
}

/// Runs every kernel over `sound`, at least two seconds of it, and compares.
pub(super) fn kernels(
    card: &mut Card,
    fbank: Option<&mut Fbank>,
    sound: &[f32],
) -> Result<Vec<Checked>, BoardError> {
    let mut bench = Bench { card, found: Vec::new() };
    let length = 16_123;
    let rows: Vec<&[f32]> = (0..ROWS - 1).map(|i| &sound[i * 3_001..][..length]).collect();
    let rows = [&rows[..], &[&sound[..length]]].concat();
    let mut upload = Upload::default();
    upload.plan(&rows, PADDED);
    let samples = bench.card.allocate(upload.values)?;
    bench.card.upload(samples, &rows, &upload)?;
    let starts = bench.send_ints(&upload.starts)?;
    let padded: Vec<&[f32]> = (0..PADDED).map(|row| rows[if row < ROWS { row } else { 0 }]).collect();

    let out = bench.room(PADDED * length)?;
    bench.card.launch(&Launch::Gather { samples, starts, out, rows: PADDED, length })?;
    bench.compare("gather", out, &padded.concat())?;
    if let Some(fbank) = fbank {
        features(&mut bench, fbank, (samples, starts), &padded)?;
    }
    pooling(&mut bench)?;
    Ok(bench.found)
}

fn features(
    bench: &mut Bench<'_>,
    fbank: &mut Fbank,
    (samples, starts): (Address, Address),
    rows: &[&[f32]],
) -> Result<(), BoardError> {
    let (frames, bins) = (fbank.frames(rows[0].len()), fbank.bins());
    let mut expected = vec![0.0; rows.len() * frames * bins];
    for (row, features) in rows.iter().zip(expected.chunks_exact_mut(frames * bins)) {
        fbank.compute(row, features);
    }
    let raw = bench.room(expected.len())?;
    bench.card.launch(&Launch::Fbank { samples, starts, out: raw, rows: rows.len(), frames })?;
    bench.compare("fbank", raw, &expected)?;
    // From the same features, so that only this kernel is judged.
    let mut from = Vec::new();
    bench.card.read(raw, expected.len(), &mut from)?;
    from.chunks_exact_mut(frames * bins).for_each(|features| subtract_mean(features, bins));
    let transposed: Vec<f32> = from
        .chunks_exact(frames * bins)
        .flat_map(|features| {
            (0..bins).flat_map(move |bin| (0..frames).map(move |frame| features[frame * bins + bin]))
        })
        .collect();
    for (transposed, expected) in [(true, &transposed), (false, &from)] {
        let out = if transposed { bench.room(expected.len())? } else { raw };
        bench.card.launch(&Launch::Centre { from: raw, out, rows: rows.len(), frames, transposed })?;
        bench.compare("centre", out, expected)?;
    }
    Ok(())
}

fn pooling(bench: &mut Bench<'_>) -> Result<(), BoardError> {
    let number = |i: usize| ((i.wrapping_mul(7919) + 13) % 1009) as f32 / 1009.0;
    let sizes = PoolSizes { rows: 3, channels: 77, steps: 131, speakers: 3, frames: 589 };
    let features: Vec<f32> = (0..sizes.rows * sizes.channels * sizes.steps).map(number).collect();
    let weights: Vec<f32> = (0..sizes.rows * sizes.speakers * sizes.frames)
        .map(|i| f32::from(u8::from(number(i) > 0.4)) * f32::from(u8::from((i / sizes.frames) % 5 != 4)))
        .collect();
    let table = frame_of_steps(sizes.frames, sizes.steps);
    let expected = pool_reference(&features, &weights, &table, sizes);
    let (features, weights) = (bench.send(&features)?, bench.send(&weights)?);
    let frame_of = bench.send_ints(&table)?;
    let pooled = bench.room(expected.len())?;
    bench.card.launch(&Launch::Pool { features, weights, frame_of, out: pooled, sizes })?;
    bench.compare("pool", pooled, &expected)?;

    let (rows, width, dimension) = (sizes.rows * sizes.speakers, 2 * sizes.channels, 192);
    let layer: Vec<f32> = (0..width * dimension).map(|i| number(i) - 0.5).collect();
    let offsets: Vec<f32> = (0..dimension).map(number).collect();
    let projected = project_reference(&expected, &layer, &offsets);
    let (pooled, dense, bias) = (bench.send(&expected)?, bench.send(&layer)?, bench.send(&offsets)?);
    let out = bench.room(projected.len())?;
    bench.card.launch(&Launch::Project { pooled, dense, bias, out, rows, width, dimension })?;
    bench.compare("project", out, &projected)
}
