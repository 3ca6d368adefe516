//! The room as a whole, on files written here.

use super::fixtures::{Noise, Wav, chunk, sine};
use super::*;

mod aac;
mod damage;
mod headers;
mod levels;

/// Everything that a file gives.
pub(super) struct Heard {
    pub info: AudioInfo,
    pub outputs: Vec<Vec<f32>>,
    pub summary: AudioSummary,
}

impl Heard {
    pub(super) fn warnings(&self) -> Vec<String> {
        self.summary.warnings.iter().map(ToString::to_string).collect()
    }
}

pub(super) fn hear_with(bytes: &[u8], limits: &AudioLimits, mode: ChannelMode) -> Result<Heard, AudioError> {
    let mut stream = AudioStream::from_bytes(bytes.into(), limits, mode)?;
    let mut outputs = vec![Vec::new(); stream.outputs()];
    let mut block = Vec::new();
    let mut last = BLOCK_SAMPLES;
    while stream.next_block(&mut block)? {
        assert_eq!(last, BLOCK_SAMPLES, "only the last block is short");
        last = block[0].len();
        assert!(block.iter().all(|samples| samples.len() == last && last <= BLOCK_SAMPLES));
        for (output, samples) in outputs.iter_mut().zip(&block) {
            assert!(samples.iter().all(|s| s.is_finite() && s.abs() <= 1.0));
            output.extend_from_slice(samples);
        }
    }
    assert!(!stream.next_block(&mut block)?, "the end stays the end");
    let summary = stream.summary();
    assert_eq!(summary.samples as usize, outputs[0].len());
    Ok(Heard { info: stream.info().clone(), outputs, summary })
}

pub(super) fn hear(bytes: &[u8]) -> Result<Heard, AudioError> {
    hear_with(bytes, &AudioLimits::default(), ChannelMode::Mix)
}

pub(super) fn refusal(bytes: &[u8]) -> AudioError {
    match hear(bytes) {
        Err(error) => error,
        Ok(heard) => panic!("accepted as {:?} with {:?}", heard.info, heard.summary),
    }
}

pub(super) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// One second of a tone.
pub(super) fn tone(rate_hz: u32) -> Vec<f32> {
    sine(440.0, rate_hz, rate_hz as usize, 0.5)
}

#[test]
fn a_stream_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<AudioStream>();
}

#[test]
fn sixteen_kilohertz_passes_through() {
    let samples = Noise::new(1).samples(40_000, 0.9);
    let heard = hear(&Wav::float32(16_000, std::slice::from_ref(&samples)).build()).unwrap();
    assert_eq!(heard.outputs, [samples]);
    let info = heard.info;
    assert_eq!((info.sample_rate_hz, info.channels, info.container), (16_000, 1, "wav"));
    assert_eq!((info.codec.as_str(), info.declared_duration_s), ("pcm_f32le", Some(2.5)));
    assert_eq!((heard.summary.duration_s, heard.summary.samples), (2.5, 40_000));
    assert_eq!(heard.summary.warnings, []);
}

#[test]
fn every_rate_gives_the_same_tone_at_the_same_time() {
    let expected = tone(16_000);
    for rate_hz in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000] {
        let heard = hear(&Wav::pcm16(rate_hz, &[tone(rate_hz)]).build()).unwrap();
        assert_eq!(heard.outputs[0].len(), 16_000, "{rate_hz} Hz");
        let off = largest_difference(&heard.outputs[0][2000..14_000], &expected[2000..14_000]);
        assert!(off < 2e-4, "{rate_hz} Hz: {off}");
        assert_eq!(heard.summary.duration_s, 1.0);
    }
}

#[test]
fn separate_channels_stay_separate() {
    let (left, right) = (tone(16_000), Noise::new(2).samples(16_000, 0.2));
    let wav = Wav::float32(16_000, &[left.clone(), right.clone()]).build();
    let heard = hear_with(&wav, &AudioLimits::default(), ChannelMode::Separate).unwrap();
    assert_eq!(heard.outputs, [left, right]);
}

#[test]
fn eight_channels_pass_and_nine_do_not() {
    let channels = |count: usize| Wav::pcm16(16_000, &vec![tone(16_000); count]).build();
    assert_eq!(hear(&channels(8)).unwrap().info.channels, 8);
    assert_eq!(refusal(&channels(9)), AudioError::TooManyChannels { channels: 9, channels_max: 8 });
}

#[test]
fn the_length_limit_holds_at_the_bound_and_one_past_it() {
    let limits = AudioLimits { duration_s_max: 2.0, ..AudioLimits::default() };
    let wav = |samples: usize| Wav::pcm16(16_000, &[vec![0.1; samples]]).build();
    assert!(hear_with(&wav(32_000), &limits, ChannelMode::Mix).is_ok());
    let error = hear_with(&wav(32_001), &limits, ChannelMode::Mix).err().unwrap();
    assert!(matches!(error, AudioError::TooLong { .. }), "{error}");
    // MPEG audio does not state its length exactly: it is found out on the way.
    let mp3 = damage::silent_mp3(100);
    let error = hear_with(&mp3, &limits, ChannelMode::Mix).err().unwrap();
    assert!(matches!(error, AudioError::TooLong { .. }), "{error}");
}

#[test]
fn the_same_bytes_give_the_same_samples() {
    let stereo = [Noise::new(3).samples(50_000, 0.4), Noise::new(4).samples(50_000, 0.4)];
    let wav = Wav::pcm16(44_100, &stereo).build();
    assert_eq!(hear(&wav).unwrap().outputs, hear(&wav).unwrap().outputs);
}

#[test]
fn failures_carry_the_codes_of_the_contract() {
    use common::job::failure::{FailureClass, Stage};
    let failure = AudioError::Missing { path: "a.wav".into() }.to_failure();
    assert_eq!((failure.code.as_str(), failure.stage), ("source_missing", Stage::Fetch));
    let failure = refusal(b"#!AMR\n").to_failure();
    assert_eq!((failure.code.as_str(), failure.stage), ("audio_unsupported", Stage::Decode));
    assert_eq!(failure.class, FailureClass::Permanent);
    assert_eq!(refusal(&[]).to_failure().code.as_str(), "audio_empty");
    let unreadable = AudioError::Unreadable { reason: "input/output error".into() }.to_failure();
    assert_eq!(unreadable.class, FailureClass::Retryable);
}
