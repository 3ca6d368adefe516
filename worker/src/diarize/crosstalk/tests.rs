//! Channels against one another, on sound made up.

use super::*;
use crate::diarize::geometry::tests::pyannote;

/// A square wave of each level, in dB below full scale, one after another, each of the given seconds.
fn tone(parts: &[(f64, f64)]) -> Vec<f32> {
    let part = |(db, seconds): &(f64, f64)| {
        let level = 10f64.powf(db / 20.0) as f32;
        (0..(seconds * 16_000.0) as usize).map(move |n| if n / 40 % 2 == 0 { level } else { -level })
    };
    parts.iter().flat_map(part).collect()
}

fn verdicts(channels: &[Vec<f32>], block: usize) -> (Levels, Vec<Vec<Verdict>>) {
    let mut levels = Levels::new(&pyannote(), channels.len());
    let mut all = vec![Vec::new(); channels.len()];
    let mut take =
        |part: Vec<Vec<Verdict>>| all.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
    for start in (0..channels[0].len()).step_by(block) {
        let cut = |c: &Vec<f32>| c[start..(start + block).min(c.len())].to_vec();
        levels.push(&channels.iter().map(cut).collect::<Vec<_>>());
        take(levels.decide(false));
    }
    take(levels.decide(true));
    (levels, all)
}

fn decide(channels: &[Vec<f32>], block: usize) -> (Levels, Vec<Vec<bool>>) {
    let (levels, verdicts) = verdicts(channels, block);
    (levels, verdicts.iter().map(|frames| frames.iter().map(|frame| frame.foreign).collect()).collect())
}

/// Numbers in [-0.5, 0.5) that depend on nothing but the seed.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    })
}

/// Something like speech: about every tenth of a second another loudness and another colour. About the level in dB.
fn speech(seed: u64, db: f64, seconds: f64) -> Vec<f32> {
    let scale = 10f64.powf(db / 20.0) as f32;
    let (mut shape, mut last, mut loud, mut colour) = (noise(seed + 1_000), 0.0, 0.0, 0.0);
    let mut next = || shape.next().unwrap() + 0.5;
    noise(seed)
        .take((seconds * 16_000.0) as usize)
        .enumerate()
        .map(|(n, sample)| {
            if n % (1_500 + 170 * seed as usize) == 0 {
                (loud, colour) = (10f32.powf(-1.5 * next()) * 6.0, 0.95 * next());
            }
            last = colour * last + (1.0 - colour) * sample;
            scale * loud * last
        })
        .collect()
}

/// The sound as it leaks: later, duller, fainter by the decibels.
fn leak(sound: &[f32], delay: usize, db: f64) -> Vec<f32> {
    let scale = 10f64.powf(db / 20.0) as f32;
    let heard = |n: usize, way: usize| n.checked_sub(delay + way).map_or(0.0, |n| sound[n]);
    (0..sound.len()).map(|n| scale * (0.6 * heard(n, 0) + 0.3 * heard(n, 9) - 0.2 * heard(n, 40))).collect()
}

fn sum_of(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn share(foreign: &[bool]) -> f64 {
    foreign.iter().filter(|f| **f).count() as f64 / foreign.len() as f64
}

#[test]
fn a_copy_is_foreign_and_faint_speech_is_not() {
    for delay in [0, 320, 2_400] {
        for db in [-17.0, -30.0, -40.0] {
            let loud = speech(1, -10.0, 10.0);
            let (_, foreign) = decide(&[loud.clone(), leak(&loud, delay, db)], 16_000);
            assert!(foreign[0].iter().all(|f| !f), "the loud channel is its own");
            assert!(share(&foreign[1]) > 0.97, "a copy {delay} samples later at {db} dB");
        }
    }
    for db in [-10.0, -20.0, -30.0, -40.0] {
        let (_, foreign) = decide(&[speech(1, -10.0, 10.0), speech(2, -10.0 + db, 10.0)], 16_000);
        assert!(share(&foreign[1]) < 0.05, "{} of somebody else's speech at {db} dB", share(&foreign[1]));
    }
}

/// Pauses of the faint channel hold the leak, which is taken away; its words lie over the leak, and stay.
#[test]
fn faint_speech_over_a_leak_is_kept() {
    let loud = speech(1, -10.0, 20.0);
    let own: Vec<f32> = [vec![0.0; 128_000], speech(2, -30.0, 4.0), vec![0.0; 128_000]].concat();
    let (_, foreign) = decide(&[loud.clone(), sum_of(&own, &leak(&loud, 160, -40.0))], 16_000);
    let frames =
        |from_s: f64, to_s: f64| (from_s * 16_000.0 / 270.0) as usize..(to_s * 16_000.0 / 270.0) as usize;
    assert!(share(&foreign[1][frames(0.0, 7.5)]) > 0.95, "{}", share(&foreign[1][frames(0.0, 7.5)]));
    assert!(share(&foreign[1][frames(8.0, 12.0)]) < 0.1, "{}", share(&foreign[1][frames(8.0, 12.0)]));
    assert!(share(&foreign[1][frames(12.5, 20.0)]) > 0.95, "{}", share(&foreign[1][frames(12.5, 20.0)]));
}

#[test]
fn nothing_is_foreign_in_silence_or_alone() {
    let (_, foreign) = decide(&[vec![0.0; 32_000], vec![0.0; 32_000]], 16_000);
    assert!(foreign.iter().flatten().all(|f| !f));
    let (_, foreign) = decide(&[tone(&[(-90.0, 2.0)])], 16_000);
    assert!(foreign[0].iter().all(|f| !f));
}

/// The other channel stops at 3 s, where the own speech begins: no frame of it is lost.
#[test]
fn own_speech_beside_the_other_channels_is_kept_whole() {
    let other = [speech(1, -10.0, 3.0), vec![0.0; 48_000]].concat();
    let own = sum_of(&leak(&other, 80, -40.0), &[vec![0.0; 48_000], speech(2, -15.0, 3.0)].concat());
    let (_, foreign) = decide(&[other, own], 16_000);
    let first_own = foreign[1].iter().position(|f| !f).unwrap();
    let at_s = pyannote().frame_middle(first_own).get();
    assert!((2.7..=3.02).contains(&at_s), "{at_s}");
    assert!(foreign[1][first_own..].iter().all(|f| !f));
}

/// Echo is brought down to what the channel sounds like without it, and what is already there stays.
#[test]
fn foreign_frames_get_the_gain_that_leaves_noise() {
    let other = [vec![0.0; 32_000], speech(1, -10.0, 3.0), vec![0.0; 32_000]].concat();
    let hiss: Vec<f32> = noise(5).take(other.len()).map(|n| n * 1e-3).collect();
    let own = sum_of(&leak(&other, 80, -30.0), &hiss);
    let (levels, found) = verdicts(&[other.clone(), own], 16_000);
    let hiss_power = levels.mean(1, 0.0, 1.9, 16_000);
    let inside = &found[1][130..285];
    assert!(inside.iter().filter(|frame| frame.foreign).count() > 140);
    let left = |(at, frame): (usize, &Verdict)| {
        let middle_s = pyannote().frame_middle(130 + at).get();
        levels.mean(1, middle_s - 0.05, middle_s + 0.05, 16_000) * f64::from(frame.gain).powi(2)
    };
    let foreign: Vec<f64> = inside.iter().enumerate().filter(|(_, frame)| frame.foreign).map(left).collect();
    let left = foreign.iter().sum::<f64>() / foreign.len() as f64;
    assert!((0.3..4.0).contains(&(left / hiss_power)), "{left} of {hiss_power}");
    assert!(found[0].iter().all(|frame| frame.gain == 1.0));
    let (_, found) = verdicts(&[other, hiss], 16_000);
    assert!(found[1].iter().all(|frame| !frame.foreign && frame.gain == 1.0), "its own noise");
}

#[test]
fn blocks_of_any_size_decide_alike_and_frames_come_in_time() {
    let other = [speech(1, -10.0, 2.3), vec![0.0; 16_000], speech(3, -12.0, 1.0)].concat();
    let own = [vec![0.0; 32_000], speech(2, -10.0, 2.3)].concat();
    let channels = [other.clone(), sum_of(&own, &leak(&other, 30, -25.0))];
    let (_, whole) = verdicts(&channels, usize::MAX >> 1);
    assert!(whole[1].iter().any(|frame| frame.foreign) && whole[1].iter().any(|frame| !frame.foreign));
    for block in [270, 1_000, 16_000] {
        assert_eq!(verdicts(&channels, block).1, whole, "blocks of {block}");
    }
    // A block later, everything about the block before is decided: what the observers rely on.
    let mut levels = Levels::new(&pyannote(), 2);
    levels.push(&[vec![0.1; 32_000], vec![0.1; 32_000]]);
    let decided = levels.decide(false)[0].len();
    assert!(pyannote().frame_middle(decided).get() > 1.0, "{decided} frames");
}

#[test]
fn three_channels_are_held_against_each_other() {
    let (loud, other) = (speech(1, -10.0, 5.0), speech(2, -10.0, 5.0));
    let (_, foreign) = decide(&[leak(&loud, 9, -30.0), leak(&other, 300, -35.0), loud, other], 16_000);
    assert_eq!([share(&foreign[0]), share(&foreign[1])], [1.0, 1.0]);
    assert!(foreign[2..].iter().flatten().all(|f| !f));
}

#[test]
fn levels_are_means_and_equal_channels_are_seen() {
    let (a, b) = (tone(&[(-20.0, 2.0)]), tone(&[(-40.0, 1.0), (-10.0, 1.0)]));
    let (levels, _) = decide(&[a.clone(), b, a.iter().map(|s| -0.3 * s).collect()], 16_000);
    assert!((10.0 * levels.mean(0, 0.5, 1.5, 16_000).log10() + 20.0).abs() < 0.01);
    assert!((10.0 * levels.mean(1, 0.1, 0.9, 16_000).log10() + 40.0).abs() < 0.01);
    assert_eq!(levels.mean(1, 7.0, 8.0, 16_000), 0.0);
    assert_eq!(levels.same_as_first(), Some(2), "turned over and fainter is still the same");
    let noise = |seed| noise(seed).take(32_000).collect();
    let (levels, _) = decide(&[noise(1), noise(500)], 16_000);
    assert_eq!(levels.same_as_first(), None);
}
