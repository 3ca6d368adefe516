//! Samples that no recorder should write, and channels that cancel.

use super::*;

#[test]
fn what_is_no_number_becomes_silence() {
    let mut samples = tone(16_000);
    samples[100..201].fill(f32::NAN);
    samples[300] = f32::INFINITY;
    samples[301] = f32::NEG_INFINITY;
    let heard = hear(&Wav::float32(16_000, std::slice::from_ref(&samples)).build()).unwrap();
    assert!(heard.outputs[0][100..201].iter().all(|s| *s == 0.0));
    assert_eq!(heard.outputs[0][302..], samples[302..]);
    assert_eq!(heard.warnings(), ["samples that are not numbers were replaced by silence: 103"]);
    let nothing = hear(&Wav::float32(16_000, &[vec![f32::NAN; 16_000]]).build()).unwrap();
    assert_eq!(nothing.outputs, [vec![0.0; 16_000]]);
}

#[test]
fn floats_beyond_full_scale_are_turned_down_not_clipped() {
    let loud: Vec<f32> = tone(16_000).iter().map(|s| s * 40.0).collect();
    let heard = hear(&Wav::float32(16_000, &[loud]).build()).unwrap();
    let off: Vec<f32> = tone(16_000).iter().map(|s| s * 2.0).collect();
    let worst = largest_difference(&heard.outputs[0][1000..], &off[1000..]);
    assert!(worst < 0.05, "{worst}");
    assert_eq!(heard.warnings(), ["samples exceed full scale, so the level was lowered: up to 20.0 times"]);
}

#[test]
fn quiet_audio_keeps_its_level() {
    let quiet: Vec<f32> = tone(16_000).iter().map(|s| s * 0.003).collect();
    let heard = hear(&Wav::float32(16_000, std::slice::from_ref(&quiet)).build()).unwrap();
    assert_eq!(heard.outputs, [quiet]);
}

#[test]
fn opposite_channels_and_one_sided_ones_are_heard() {
    let speech = Noise::new(7).samples(32_000, 0.3);
    let opposite = speech.iter().map(|s| -s).collect();
    let silent = vec![0.0; speech.len()];
    for other in [opposite, silent] {
        let heard = hear(&Wav::float32(16_000, &[speech.clone(), other]).build()).unwrap();
        assert!(largest_difference(&heard.outputs[0], &speech) < 1e-5);
    }
}
