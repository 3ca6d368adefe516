//! A call of two channels made from two recordings, with the echo of each on the other.
//!
//! usage: make_call LEFT RIGHT OUT_FOLDER [LEAK_DB|none] [PERIOD_S] [RIGHT_DB|level] [DELAY_MS]
//!
//! Writes `call.wav` (two channels, 16 kHz, 16 bit, as long as the shorter recording), `left.wav` and `right.wav` (each
//! channel alone, without the other's echo), and `left.rttm` and `right.rttm` where the recordings have labels beside
//! them. The echo is the other channel at LEAK_DB (-30, say), DELAY_MS later. With a PERIOD_S that is not 0 the channels take turns: the left is silent
//! in every second stretch of so many seconds, the right in the others; labels are cut the same way. The right channel is
//! made louder by RIGHT_DB; `level` brings both channels to -28 dB, `level-10` the right one 10 dB below that.
#![allow(clippy::print_stderr, reason = "a program for the terminal")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use worker::audio::{AudioLimits, AudioStream, ChannelMode, SAMPLE_RATE_HZ};

/// Length of the ramp at the border of a stretch, samples: 10 ms.
const RAMP: usize = 160;
/// What `level` brings a channel to, decibels.
const LEVEL_DB: f32 = -28.0;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [left, right, out, rest @ ..] = arguments.as_slice() else {
        bail!("usage: make_call LEFT RIGHT OUT_FOLDER [LEAK_DB|none] [PERIOD_S] [RIGHT_DB|level] [DELAY_MS]");
    };
    let leak = match rest.first().map(String::as_str) {
        None | Some("none") => 0.0,
        Some(db) => 10f32.powf(db.parse::<f32>().context("LEAK_DB is a number")? / 20.0),
    };
    let period = rest.get(1).map(|s| s.parse::<usize>()).transpose().context("PERIOD_S is a whole number")?;
    let period = period.filter(|s| *s > 0).map(|s| s * SAMPLE_RATE_HZ as usize);
    let right_db = rest.get(2).map_or("0", String::as_str);
    let (levelled, right_db) = right_db.strip_prefix("level").map_or((false, right_db), |db| (true, db));
    let right_db: f32 =
        if right_db.is_empty() { 0.0 } else { right_db.parse().context("RIGHT_DB is a number")? };
    let delay = rest.get(3).map(|s| s.parse::<usize>()).transpose().context("DELAY_MS is a whole number")?;
    let delay = delay.unwrap_or(0) * SAMPLE_RATE_HZ as usize / 1_000;
    let sources = [PathBuf::from(left), PathBuf::from(right)];
    let mut channels = [decode(&sources[0])?, decode(&sources[1])?];
    let length = channels[0].len().min(channels[1].len());
    let out = Path::new(out);
    fs::create_dir_all(out)?;
    for (turn, (channel, source)) in channels.iter_mut().zip(&sources).enumerate() {
        channel.truncate(length);
        let own = if turn == 1 { right_db } else { 0.0 };
        let gain_db = if levelled { LEVEL_DB - rms_db(channel) + own } else { own };
        channel.iter_mut().for_each(|sample| *sample *= 10f32.powf(gain_db / 20.0));
        if let Some(period) = period {
            (0..length).for_each(|n| channel[n] *= audible(n, period, turn));
        }
        let name = ["left", "right"][turn];
        fs::write(out.join(format!("{name}.wav")), wav(std::slice::from_ref(channel)))?;
        let labels = source.with_extension("rttm");
        if labels.exists() {
            let text = fs::read_to_string(&labels)?;
            fs::write(out.join(format!("{name}.rttm")), cut(&text, name, length, period, turn)?)?;
        }
    }
    let echo = |other: &[f32], n: usize| n.checked_sub(delay).map_or(0.0, |n| leak * other[n]);
    let mix = |own: &[f32], other: &[f32]| (0..own.len()).map(|n| own[n] + echo(other, n)).collect();
    let call: [Vec<f32>; 2] = [mix(&channels[0], &channels[1]), mix(&channels[1], &channels[0])];
    fs::write(out.join("call.wav"), wav(&call))?;
    eprintln!("{}: {:.1} s", out.display(), length as f64 / f64::from(SAMPLE_RATE_HZ));
    Ok(())
}

fn rms_db(samples: &[f32]) -> f32 {
    let power: f64 = samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
    10.0 * (power / samples.len().max(1) as f64).max(1e-12).log10() as f32
}

fn decode(path: &Path) -> anyhow::Result<Vec<f32>> {
    let mut stream = AudioStream::open(path, &AudioLimits::default(), ChannelMode::Mix)?;
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    while stream.next_block(&mut block)? {
        samples.extend_from_slice(&block[0]);
    }
    Ok(samples)
}

/// How much of sample `n` is heard on the channel whose stretches are those of parity `turn`.
fn audible(n: usize, period: usize, turn: usize) -> f32 {
    if n / period % 2 != turn {
        return 0.0;
    }
    let edge = (n % period).min(period - n % period);
    (edge as f32 / RAMP as f32).min(1.0)
}

/// The labels of what is heard.
fn cut(
    text: &str,
    name: &str,
    length: usize,
    period: Option<usize>,
    parity: usize,
) -> anyhow::Result<String> {
    let rate = f64::from(SAMPLE_RATE_HZ);
    let end_s = length as f64 / rate;
    let stretches: Vec<(f64, f64)> = match period {
        None => vec![(0.0, end_s)],
        Some(period) => (0..length.div_ceil(period))
            .filter(|stretch| stretch % 2 == parity)
            .map(|stretch| (stretch * period, ((stretch + 1) * period).min(length)))
            .map(|(from, to)| (from as f64 / rate, to as f64 / rate))
            .collect(),
    };
    let mut out = String::new();
    for line in text.lines().filter(|line| line.starts_with("SPEAKER ")) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, start, duration, _, _, label, ..] = fields[..] else { bail!("not RTTM: {line}") };
        let (start, duration): (f64, f64) = (start.parse()?, duration.parse()?);
        for (from, to) in &stretches {
            let (from, to) = (start.max(*from), (start + duration).min(*to));
            if to > from {
                let length = to - from;
                writeln!(out, "SPEAKER {name} 1 {from:.3} {length:.3} <NA> <NA> {label} <NA> <NA>")?;
            }
        }
    }
    Ok(out)
}

/// 16-bit PCM of 16 kHz.
fn wav(channels: &[Vec<f32>]) -> Vec<u8> {
    let (count, frames) = (channels.len() as u16, channels[0].len());
    let bytes = (frames * usize::from(count) * 2) as u32;
    let mut out = Vec::with_capacity(44 + bytes as usize);
    out.extend(b"RIFF");
    out.extend((36 + bytes).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16u32.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(SAMPLE_RATE_HZ.to_le_bytes());
    out.extend((SAMPLE_RATE_HZ * u32::from(count) * 2).to_le_bytes());
    out.extend((count * 2).to_le_bytes());
    out.extend(16u16.to_le_bytes());
    out.extend(b"data");
    out.extend(bytes.to_le_bytes());
    for frame in 0..frames {
        for channel in channels {
            out.extend(((channel[frame].clamp(-1.0, 1.0) * 32_767.0).round() as i16).to_le_bytes());
        }
    }
    out
}
