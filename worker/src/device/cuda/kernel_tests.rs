//! The kernels themselves, compiled as C++ and run with real threads, against their references.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::model::manifest::{Feature, Taper};

use super::board::PoolSizes;
use super::features::Numbers;
use super::head::frame_of_steps;
use super::reference::{pool_reference, project_reference};
use super::staging::{Cursor, Upload};
use crate::diarize::fbank::{Fbank, subtract_mean};
use crate::selftest;

/// The emulator, built with a sanitizer of g++ or none.
struct Emulator {
    _folder: tempfile::TempDir,
    program: PathBuf,
}

impl Emulator {
    fn build(sanitizer: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("emulator");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/gpu/emulator/main.cpp");
        let built = Command::new("g++")
            .args(["-std=c++20", "-O1", "-ffp-contract=off", "-Wall", "-Werror", "-pthread"])
            .args((!sanitizer.is_empty()).then(|| format!("-fsanitize={sanitizer}")))
            .arg("-o")
            .args([&program, &source])
            .output();
        match built {
            Ok(output) if output.status.success() => Some(Self { _folder: folder, program }),
            Ok(output) => panic!("the kernels do not compile: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                eprintln!("SKIPPED: there is no g++: {error}");
                None
            }
        }
    }

    /// Runs a kernel over arrays; `None` where the sanitizer does not work on this machine.
    fn run(&self, kernel: &str, threads: usize, numbers: &[usize], arrays: &[&[f32]]) -> Option<Vec<f32>> {
        let mut child = Command::new(&self.program)
            .arg(kernel)
            .args(std::iter::once(&threads).chain(numbers).map(usize::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = Vec::new();
        for array in arrays {
            input.extend((array.len() as u64).to_le_bytes());
            array.iter().for_each(|value| input.extend(value.to_bits().to_le_bytes()));
        }
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        // A child that ended early says why below.
        let _ = writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("unexpected memory mapping") {
            eprintln!("SKIPPED: ThreadSanitizer does not run here");
            return None;
        }
        assert!(output.status.success(), "{kernel}: {said}");
        Some(output.stdout.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// Integers as the bits of floats: arrays of both go the same way.
fn bits(values: &[i32]) -> Vec<f32> {
    values.iter().map(|value| f32::from_bits(value.cast_unsigned())).collect()
}

fn close(found: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= bound, "value {i}: {a} instead of {b}");
    }
}

/// Rows of a batch as the engine sends them: samples, starts, and the rows themselves with padding.
fn batch(sound: &[f32], length: usize) -> (Vec<f32>, Vec<f32>, Vec<&[f32]>) {
    let rows = [&sound[..length], &sound[333..333 + length], &sound[5_000..5_000 + length]];
    let mut upload = Upload::default();
    upload.plan(&rows, 4);
    let mut samples = vec![0.0; upload.values];
    Cursor::default().copy(&rows, &upload.parts, &mut samples);
    (samples, bits(&upload.starts), [&rows[..], &rows[..1]].concat())
}

fn features(emulator: &Emulator, threads: usize) -> Option<()> {
    let sound: Vec<f32> = selftest::signal(20_000, 16_000)
        .iter()
        .enumerate()
        .map(|(i, s)| s + 0.1 * (i as f32 * 0.05).sin())
        .collect();
    let length = 400 + 160 * 4 + 100;
    let (samples, starts, rows) = batch(&sound, length);
    let gathered = emulator.run("gather", threads, &[4, length], &[&samples, &starts])?;
    close(&gathered, &rows.concat(), 0.0);
    for (scale, taper) in [(1.0, Taper::Povey), (32_768.0, Taper::Hamming)] {
        let feature = Feature {
            mel_bins: 80,
            frame_samples: 400,
            frame_step_samples: 160,
            sample_scale: scale,
            taper,
            low_hz: 20.0,
            high_hz: 8000.0,
        };
        let mut fbank = Fbank::new(&feature, 16_000);
        let numbers = Numbers::of(&fbank);
        let (frames, bins) = (fbank.frames(length), fbank.bins());
        let mut expected = vec![0.0; 4 * frames * bins];
        for (row, features) in rows.iter().zip(expected.chunks_exact_mut(frames * bins)) {
            fbank.compute(row, features);
        }
        let (first, offsets) = (bits(&numbers.first_bins), bits(&numbers.offsets));
        let n = &numbers;
        let arrays: [&[f32]; 8] =
            [&samples, &starts, &n.taper, &n.cosines, &n.sines, &first, &offsets, &n.weights];
        let found = emulator.run("fbank", threads, &[4, frames, scale as usize], &arrays)?;
        close(&found, &expected, 1e-3);

        let centred = emulator.run("centre", threads, &[4, frames, 0], &[&expected])?;
        let transposed = emulator.run("centre", threads, &[4, frames, 1], &[&expected])?;
        for block in expected.chunks_exact_mut(frames * bins) {
            subtract_mean(block, bins);
        }
        close(&centred, &expected, 1e-5);
        let exchanged: Vec<f32> = (0..4 * frames * bins)
            .map(|i| {
                let (row, bin, frame) = (i / (frames * bins), i / frames % bins, i % frames);
                expected[(row * frames + frame) * bins + bin]
            })
            .collect();
        close(&transposed, &exchanged, 1e-5);
    }
    Some(())
}

fn pooling(emulator: &Emulator, threads: usize) -> Option<()> {
    let number = |i: usize| ((i.wrapping_mul(7919) + 13) % 1009) as f32 / 1009.0;
    // One tile and a bit of channels, one and a bit of steps.
    for (channels, steps, frames, speakers) in [(33, 131, 589, 3), (32, 40, 40, 1)] {
        let sizes = PoolSizes { rows: 2, channels, steps, speakers, frames };
        let features: Vec<f32> = (0..2 * channels * steps).map(number).collect();
        // In turn: some frames, all, none, a single one.
        let weights: Vec<f32> = (0..2 * speakers * frames)
            .map(|i| match i / frames % 4 {
                0 => f32::from(u8::from(number(i) > 0.4)),
                1 => 1.0,
                2 => 0.0,
                _ => f32::from(u8::from(i % frames == 9)),
            })
            .collect();
        let table = frame_of_steps(frames, steps);
        let expected = pool_reference(&features, &weights, &table, sizes);
        let arrays: [&[f32]; 3] = [&features, &weights, &bits(&table)];
        let found = emulator.run("pool", threads, &[2, channels, steps, speakers, frames], &arrays)?;
        // A single frame's deviation is the rounding of its mean over 1e-8: compared by its square root.
        close(&found, &expected, 2e-3);
    }
    let (rows, width, dimension) = (5, 66, 19);
    let of = |count: usize, shift: usize| -> Vec<f32> {
        (shift..shift + count).map(|i| number(i) - 0.5).collect()
    };
    let (pooled, dense, bias) = (of(rows * width, 0), of(width * dimension, 7), of(dimension, 3));
    let found = emulator.run("project", threads, &[rows, width, dimension], &[&pooled, &dense, &bias])?;
    close(&found, &project_reference(&pooled, &dense, &bias), 1e-4);
    Some(())
}

#[test]
fn kernels_give_the_numbers_of_their_references() {
    if let Some(emulator) = Emulator::build("") {
        for threads in [1, 2, 8] {
            features(&emulator, threads).expect("nothing to skip");
            pooling(&emulator, threads).expect("nothing to skip");
        }
    }
}

#[test]
fn kernels_stay_within_their_memory() {
    if let Some(emulator) = Emulator::build("address,undefined") {
        features(&emulator, 4);
        pooling(&emulator, 4);
    }
}

#[test]
fn kernels_miss_no_barrier() {
    if let Some(emulator) = Emulator::build("thread") {
        features(&emulator, 4);
        pooling(&emulator, 4);
    }
}
