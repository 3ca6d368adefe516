//! The people of each channel of a call as the people of one recording.
//!
//! Every channel is diarized by itself, so each has its own people: the same voice on two channels is two speakers.
//! All turns of all channels are turns of the recording. Exclusive turns are few where channels talk at once: of each
//! stretch in which several channels have one, it goes to the channel that is louder, compared with how loud that channel
//! is in its own turns on the whole (so that a quiet line is not always interrupted); ties go to the lower channel.

use common::speech::diarization::{Diarization, Turn};
use common::speech::time::Seconds;

use super::crosstalk::Levels;
use super::observations::Observations;
use super::pipeline::{Diarized, Pipeline};
use super::speaker_limits::SpeakerLimits;

/// Who spoke when on all channels, and on which channel each speaker is.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The turns of all channels, and the centroids of all speakers.
    pub diarized: Diarized,
    /// Channel of each speaker, in label order, counted from 0; empty where channels were not kept apart.
    pub channels: Vec<usize>,
}

/// Finds the people of each channel; `limits` hold on each. One channel is a recording like any other.
#[must_use]
pub fn diarize(pipeline: &Pipeline, seen: &[Observations], levels: &Levels, limits: SpeakerLimits) -> Call {
    let mut parts: Vec<Diarized> = seen.iter().map(|seen| pipeline.diarize(seen, limits)).collect();
    match parts.pop() {
        Some(diarized) if parts.is_empty() => Call { diarized, channels: Vec::new() },
        last => {
            parts.extend(last);
            join(parts, levels, pipeline.geometry().rate_hz)
        }
    }
}

/// Joins the channels of a call.
///
/// # Panics
/// Only on a defect: turns that are in order on every channel are so together.
#[must_use]
pub fn join(parts: Vec<Diarized>, levels: &Levels, rate_hz: u32) -> Call {
    let (mut turns, mut exclusive, mut centroids, mut of_speaker) = (vec![], vec![], vec![], vec![]);
    for (channel, part) in parts.into_iter().enumerate() {
        let first = of_speaker.len();
        let shift = |t: &Turn| Turn { speaker: first + t.speaker, ..*t };
        turns.extend(part.diarization.turns().iter().map(shift));
        exclusive.push(part.diarization.exclusive().iter().map(shift).collect::<Vec<_>>());
        let found = part.diarization.speakers();
        centroids.extend(part.in_label_order());
        of_speaker.extend(std::iter::repeat_n(channel, found));
    }
    let exclusive = one_at_a_time(&exclusive, levels, rate_hz);
    let diarization = Diarization::new(turns, exclusive).expect("turns of all channels are in order");
    let mut channels = vec![0; diarization.speakers()];
    for (old, channel) in of_speaker.into_iter().enumerate() {
        if let Some(new) = diarization.renumbered(old) {
            channels[new] = channel;
        }
    }
    Call { diarized: Diarized { diarization, centroids }, channels }
}

/// Exclusive turns of which none overlaps a turn of another channel.
fn one_at_a_time(channels: &[Vec<Turn>], levels: &Levels, rate_hz: u32) -> Vec<Turn> {
    let mean = |channel, start: Seconds, end: Seconds| levels.mean(channel, start.get(), end.get(), rate_hz);
    let usual: Vec<f64> = channels
        .iter()
        .enumerate()
        .map(|(channel, turns)| {
            let energy: f64 = turns.iter().map(|t| mean(channel, t.start, t.end) * t.length_s()).sum();
            energy / turns.iter().map(Turn::length_s).sum::<f64>().max(f64::MIN_POSITIVE)
        })
        .collect();
    let mut borders: Vec<Seconds> = channels.iter().flatten().flat_map(|t| [t.start, t.end]).collect();
    borders.sort_by(|a, b| a.get().total_cmp(&b.get()));
    borders.dedup();
    let mut next = vec![0; channels.len()];
    let mut out: Vec<Turn> = Vec::new();
    for pair in borders.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let mut winner: Option<(f64, Turn)> = None;
        for (channel, turns) in channels.iter().enumerate() {
            while turns.get(next[channel]).is_some_and(|turn| turn.end <= start) {
                next[channel] += 1;
            }
            let Some(turn) = turns.get(next[channel]).filter(|turn| turn.start <= start) else { continue };
            let loudness = mean(channel, start, end) / usual[channel].max(f64::MIN_POSITIVE);
            if winner.is_none_or(|(best, _)| loudness > best) {
                winner = Some((loudness, *turn));
            }
        }
        let Some((_, turn)) = winner else { continue };
        match out.last_mut() {
            Some(last) if last.speaker == turn.speaker && last.end == start && turn.start < start => {
                last.end = end;
            }
            _ => out.push(Turn { start, end, speaker: turn.speaker }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;

    fn turn(start: f64, end: f64, speaker: usize) -> Turn {
        Turn { start: Seconds::new(start).unwrap(), end: Seconds::new(end).unwrap(), speaker }
    }

    fn part(turns: &[Turn], centroids: &[f32]) -> Diarized {
        let diarization = Diarization::new(turns.to_vec(), turns.to_vec()).unwrap();
        Diarized { diarization, centroids: centroids.iter().map(|c| vec![*c]).collect() }
    }

    /// Twenty seconds; the level of a channel in each of them.
    fn levels(channels: &[[f32; 20]]) -> Levels {
        let mut levels = Levels::new(&pyannote(), channels.len());
        for second in 0..20 {
            levels.push(&channels.iter().map(|c| vec![c[second]; 16_000]).collect::<Vec<_>>());
        }
        levels
    }

    #[test]
    fn labels_run_over_the_recording_by_first_speech() {
        let left = part(&[turn(4.0, 6.0, 1), turn(9.0, 10.0, 0)], &[0.1, 0.2]);
        let right = part(&[turn(1.0, 2.0, 5), turn(7.0, 8.0, 0)], &[0.3, 0.0, 0.0, 0.0, 0.0, 0.4]);
        let call = join(vec![left, right], &levels(&[[0.1; 20], [0.1; 20]]), 16_000);
        let diarization = &call.diarized.diarization;
        let expected = [turn(1.0, 2.0, 0), turn(4.0, 6.0, 1), turn(7.0, 8.0, 2), turn(9.0, 10.0, 3)];
        assert_eq!(diarization.turns(), expected);
        assert_eq!(diarization.exclusive(), expected);
        assert_eq!(call.channels, [1, 0, 1, 0]);
        // The centroid of a speaker follows his label.
        let of_label = |label| {
            let old = (0..4).find(|old| diarization.renumbered(*old) == Some(label)).unwrap();
            call.diarized.centroids[old][0]
        };
        assert_eq!([of_label(0), of_label(1), of_label(2), of_label(3)], [0.4, 0.2, 0.3, 0.1]);
    }

    #[test]
    fn where_both_talk_the_louder_for_its_channel_has_the_exclusive_turn() {
        let mut left = [0.5; 20];
        left[4] = 0.1;
        let right = [0.05; 20];
        let parts = || vec![part(&[turn(0.0, 6.0, 0)], &[1.0]), part(&[turn(4.0, 9.0, 0)], &[2.0])];
        let call = join(parts(), &levels(&[left, right]), 16_000);
        let diarization = &call.diarized.diarization;
        assert_eq!(diarization.turns(), [turn(0.0, 6.0, 0), turn(4.0, 9.0, 1)]);
        // From 4 to 6 s the left is quieter than it is on the whole, and the right is as it always is.
        assert_eq!(diarization.exclusive(), [turn(0.0, 4.0, 0), turn(4.0, 9.0, 1)]);
        left[4] = 0.9;
        let call = join(parts(), &levels(&[left, right]), 16_000);
        assert_eq!(call.diarized.diarization.exclusive(), [turn(0.0, 6.0, 0), turn(6.0, 9.0, 1)]);
    }

    #[test]
    fn a_turn_inside_another_splits_it_and_one_beside_it_does_not() {
        let inner = vec![turn(2.0, 3.0, 1)];
        let outer = vec![turn(0.0, 5.0, 0), turn(5.0, 6.0, 2)];
        let mut louder = [0.1; 20];
        louder[2] = 0.9;
        let found = one_at_a_time(&[outer.clone(), inner.clone()], &levels(&[[0.1; 20], louder]), 16_000);
        // The inner one is as loud as itself, the outer one as loud as itself: the lower channel keeps it.
        assert_eq!(found, outer);
        let mut hushed = [0.1; 20];
        hushed[2] = 0.01;
        let found = one_at_a_time(&[outer, inner], &levels(&[hushed, [0.1; 20]]), 16_000);
        let expected = [turn(0.0, 2.0, 0), turn(2.0, 3.0, 1), turn(3.0, 5.0, 0), turn(5.0, 6.0, 2)];
        assert_eq!(found, expected);
    }

    #[test]
    fn silence_on_every_channel_is_nobody() {
        let call = join(vec![part(&[], &[]), part(&[], &[])], &levels(&[[0.0; 20], [0.0; 20]]), 16_000);
        assert_eq!(call.diarized.diarization.speakers(), 0);
        assert!(call.channels.is_empty());
    }
}
