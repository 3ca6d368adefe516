//! Filter banks against kaldi-native-fbank.

use common::model::manifest::{Feature, Taper};
use tests::npz::read_npz;
use tests::shared::shared;
use worker::diarize::fbank::{Fbank, subtract_mean};

pub fn campplus_feature() -> Feature {
    Feature {
        mel_bins: 80,
        frame_samples: 400,
        frame_step_samples: 160,
        sample_scale: 1.0,
        taper: Taper::Povey,
        low_hz: 20.0,
        high_hz: 8000.0,
    }
}

/// Samples of a reference clip: 16-bit or float WAV, mono.
pub fn clip(name: &str) -> Option<Vec<f32>> {
    let bytes = std::fs::read(shared(&format!("reference/wav/{name}.wav"))?).expect("a readable clip");
    let mut at = 12;
    let mut float = false;
    loop {
        let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes")) as usize;
        let body = &bytes[at + 8..(at + 8 + size).min(bytes.len())];
        match &bytes[at..at + 4] {
            b"fmt " => float = body[0] == 3,
            b"data" if float => {
                return Some(
                    body.chunks_exact(4)
                        .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")))
                        .collect(),
                );
            }
            b"data" => {
                let int =
                    |b: &[u8]| f32::from(i16::from_le_bytes(b.try_into().expect("two bytes"))) / 32768.0;
                return Some(body.chunks_exact(2).map(int).collect());
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
}

#[test]
fn both_filter_banks_match_kaldi() {
    for name in ["trn00", "dev00", "sample"] {
        let (Some(samples), Some(path)) = (clip(name), shared(&format!("reference/{name}.fbank.npz"))) else {
            return;
        };
        let reference = read_npz(&path);
        let resnet = Feature { sample_scale: 32768.0, taper: Taper::Hamming, ..campplus_feature() };
        for (key, feature) in [("fbank_campp", campplus_feature()), ("fbank_resnet", resnet)] {
            let mut fbank = Fbank::new(&feature, 16_000);
            let mut out = vec![0.0; 998 * 80];
            fbank.compute(&samples[..160_000], &mut out);
            let worst = out
                .iter()
                .zip(&reference[key].values)
                .map(|(a, b)| (f64::from(*a) - b).abs())
                .fold(0.0, f64::max);
            assert!(worst < 1e-3, "{name} {key}: worst difference {worst}");
        }
    }
}

#[test]
fn window_features_match_kaldi_after_mean_subtraction() {
    for name in ["trn00", "dev00", "sample"] {
        let (Some(samples), Some(path)) = (clip(name), shared(&format!("reference/{name}.campplus.npz")))
        else {
            return;
        };
        let reference = read_npz(&path);
        let mut fbank = Fbank::new(&campplus_feature(), 16_000);
        for (i, start) in reference["start_sample"].values.iter().enumerate() {
            let mut out = vec![0.0; 148 * 80];
            fbank.compute(&samples[*start as usize..][..24_000], &mut out);
            subtract_mean(&mut out, 80);
            for (a, b) in out.iter().zip(reference["fbank"].row(i)) {
                assert!((f64::from(*a) - b).abs() < 1e-3, "{name}, window {i}: {a} against {b}");
            }
        }
    }
}
