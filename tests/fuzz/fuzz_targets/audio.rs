//! Any bytes as an audio file: an error or blocks of finite samples within ±1, no more than the limit, all outputs of one
//! length, and the length that the summary states.
#![no_main]

use std::sync::{Arc, Once};

use libfuzzer_sys::fuzz_target;
use worker::audio::{AudioLimits, AudioStream, BLOCK_SAMPLES, ChannelMode, SAMPLE_RATE_HZ};

/// Longest audio; short, so that an input is over soon.
const LIMITS: AudioLimits = AudioLimits {
    duration_s_max: 120.0,
    bytes_max: 1 << 20,
    channels_max: 8,
    sample_rate_hz_min: 2_000,
    sample_rate_hz_max: 768_000,
    damaged_share_max: 0.5,
};
static HOOK: Once = Once::new();

fuzz_target!(|data: &[u8]| {
    // Decoders that panic are caught by the product; the fuzzer's hook would end the process before that. What no one
    // catches still unwinds out of here, and ends it.
    HOOK.call_once(|| std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("FUZZ_PANICS").is_some() {
            eprintln!("{info}");
        }
    })));
    let mode = if data.len().is_multiple_of(2) { ChannelMode::Mix } else { ChannelMode::Separate };
    let heard = std::panic::catch_unwind(|| hear(data, mode));
    if heard.is_err() {
        std::process::abort();
    }
});

fn hear(data: &[u8], mode: ChannelMode) {
    let Ok(mut stream) = AudioStream::from_bytes(Arc::from(data), &LIMITS, mode) else { return };
    let (mut block, mut samples, mut ended) = (Vec::new(), 0, false);
    loop {
        match stream.next_block(&mut block) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => return,
        }
        assert!(!ended, "a block behind a short one");
        ended = block[0].len() < BLOCK_SAMPLES;
        assert_eq!(block.len(), stream.outputs());
        for output in &block {
            assert_eq!(output.len(), block[0].len());
            assert!(output.iter().all(|s| s.is_finite() && s.abs() <= 1.0));
        }
        samples += block[0].len();
    }
    let summary = stream.summary();
    assert!(summary.duration_s <= LIMITS.duration_s_max + 1.0, "{}", summary.duration_s);
    let off_s = samples as f64 / f64::from(SAMPLE_RATE_HZ) - summary.duration_s;
    assert!(off_s.abs() < 0.05, "{samples} samples for {} s", summary.duration_s);
    assert!(summary.warnings.iter().all(|warning| warning.to_string().len() < 4_000));
}
