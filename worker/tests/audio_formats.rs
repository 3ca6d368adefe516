//! Every file of `shared/audio/formats` at the level of samples: what must decode has its length and is the clip, what
//! must be refused is refused with a code of the contract. Skipped, aloud, where the folder is absent.
#![allow(clippy::print_stderr, reason = "a skip is told, and so is what each file gave")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use worker::audio::{AudioError, AudioLimits, AudioStream, ChannelMode};

/// Constant delays of decoders without gapless information reach 69 ms.
const LAG_MAX: usize = 1600;
/// What is left of the waveform at 8 kHz and 16 kbit/s is 0.69; other audio gives below 0.1.
const CORRELATION_MIN: f64 = 0.6;

fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("ROLLCALL_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = shared.join("audio/formats");
    if folder.join("manifest.tsv").exists() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no audio/formats in {}; set ROLLCALL_SHARED", shared.display());
    None
}

fn decode(path: &Path) -> Result<(Vec<f32>, AudioStream), AudioError> {
    let mut stream = AudioStream::open(path, &AudioLimits::default(), ChannelMode::Mix)?;
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    while stream.next_block(&mut block)? {
        assert!(block[0].iter().all(|s| s.is_finite() && s.abs() <= 1.0));
        samples.extend_from_slice(&block[0]);
    }
    Ok((samples, stream))
}

/// The largest correlation of two seconds of the clip with the decoded audio, at lags up to [`LAG_MAX`].
fn correlation(clip: &[f32], decoded: &[f32]) -> f64 {
    let (from, count) = (48_000, 32_000);
    let part = &clip[from..from + count];
    let norm = |s: &[f32]| s.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let mut best = 0.0f64;
    for start in from - LAG_MAX..(from + LAG_MAX).min(decoded.len().saturating_sub(count)) {
        let window = &decoded[start..start + count];
        let product: f32 = part.iter().zip(window).map(|(a, b)| a * b).sum();
        // The norms differ little between lags, so they are only computed for a promising one.
        if f64::from(product.abs()) > best {
            best = f64::from(product.abs());
        }
    }
    best / (norm(part) * norm(&decoded[from..from + count])).max(1e-9)
}

fn check(path: &Path, kind: &str, expected: &str, clip: &[f32]) -> Result<String, String> {
    let may_refuse = expected.contains("error") || expected.contains("unsupported") || kind == "maybe";
    let must_refuse =
        expected.starts_with("clear ") && !expected.contains(" or ") && !expected.contains("walked");
    let started = Instant::now();
    let result = decode(path);
    if started.elapsed().as_secs_f64() > 30.0 {
        return Err(format!("took {:?}", started.elapsed()));
    }
    let (samples, stream) = match result {
        Err(error) if may_refuse => {
            let failure = error.to_failure();
            let code = failure.code.as_str();
            let known = code.starts_with("audio_") && failure.detail.len() >= 10;
            return if known { Ok(format!("{code}: {error}")) } else { Err(format!("{code}: {error}")) };
        }
        Err(error) => return Err(format!("refused: {error}")),
        Ok(_) if must_refuse => return Err("accepted".to_owned()),
        Ok(decoded) => decoded,
    };
    let summary = stream.summary();
    let length = expected.split('~').nth(1).map(|rest| {
        rest.chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect::<String>()
            .parse()
            .unwrap_or(0.0)
    });
    if let Some(length_s) = length.filter(|_| kind == "valid") {
        let off: f64 = summary.duration_s - length_s;
        if off.abs() > 0.3 {
            return Err(format!("{} s", summary.duration_s));
        }
    }
    let samples_s = samples.len() as f64 / 16_000.0;
    if (samples_s - summary.duration_s).abs() > 0.001 {
        return Err(format!("{samples_s} s of samples, {} s of source", summary.duration_s));
    }
    let mut said = format!("{:.3} s, {}", summary.duration_s, stream.info().codec);
    if kind == "valid" {
        let found = correlation(clip, &samples);
        if found < CORRELATION_MIN {
            return Err(format!("correlates {found:.3} with the clip"));
        }
        said += &format!(", correlation {found:.3}");
    }
    for warning in summary.warnings {
        said += &format!("; {warning}");
    }
    Ok(said)
}

#[test]
fn every_format_behaves() {
    let Some(folder) = folder() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let (clip, _) = decode(&folder.join("valid/pcm16_16k.wav")).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in manifest.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, name, _, expected] = fields[..] else { continue };
        let path = folder.join(kind).join(name);
        if !path.exists() {
            continue;
        }
        count += 1;
        match check(&path, kind, expected, &clip) {
            Ok(said) => eprintln!("{kind}/{name}: {said}"),
            Err(said) => wrong.push(format!("{kind}/{name}: {said}   (expected: {expected})")),
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 90, "only {count} files found");
}
