//! Known voices: which speakers they are, and what a recording says of one voice.

use common::speech::diarization::Diarization;
use common::speech::result_document::KnownVoice;
use common::speech::voice::Voice;

use super::geometry::Geometry;
use super::masks::active;
use super::observations::{Observations, dot, to_unit_length};

/// Share of a local speaker's clean frames that have to lie where the speaker is alone for its embedding to count.
const ALONE_SHARE_MIN: f64 = 0.8;

/// Which known voice each speaker is: the nearest, if its cosine is at least `cosine_min` and no other speaker is nearer to
/// it. Nobody gets the name of a voice that is only second to him: that somebody else is nearer to the first says nothing
/// for the second.
///
/// `centroids` have unit length, or are all zeros for a speaker without a voice of his own.
#[must_use]
pub fn recognise(centroids: &[Vec<f32>], voices: &[&Voice], cosine_min: f64) -> Vec<Option<KnownVoice>> {
    let near: Vec<Option<(usize, f64)>> = centroids
        .iter()
        .map(|centroid| nearest(centroid, voices).filter(|(_, cosine)| *cosine >= cosine_min))
        .collect();
    let mut owners: Vec<Option<(usize, f64)>> = vec![None; voices.len()];
    for (speaker, found) in near.iter().enumerate() {
        if let Some((voice, cosine)) = *found
            && owners[voice].is_none_or(|(_, best)| cosine > best)
        {
            owners[voice] = Some((speaker, cosine));
        }
    }
    let known = |(speaker, found): (usize, &Option<(usize, f64)>)| {
        let (voice, similarity) = (*found)?;
        let is_owner = owners[voice].is_some_and(|(owner, _)| owner == speaker);
        is_owner.then(|| KnownVoice { name: voices[voice].name.clone(), similarity })
    };
    near.iter().enumerate().map(known).collect()
}

/// The known voice that is nearest to a unit-length embedding, and its cosine; the first of several.
pub(super) fn nearest(unit: &[f32], voices: &[&Voice]) -> Option<(usize, f64)> {
    let cosines = voices.iter().map(|voice| dot(unit, &voice.embedding)).enumerate();
    cosines.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// What a recording says of the voice that speaks most in it.
#[derive(Debug, Clone, PartialEq)]
pub struct MainVoice {
    /// Sum of unit-length embeddings of clean sound, in order of time: of its first half, of its second.
    pub halves: [Vec<f64>; 2],
    /// Seconds in which the voice speaks alone.
    pub alone_s: f64,
    /// Seconds of that which the embeddings are made of; the rest comes in pieces too short for one.
    pub heard_s: f64,
    /// Seconds of speech of everybody.
    pub speech_s: f64,
}

/// The main voice of a recording; `None` without speech. Speakers whose centroids are at least `same_cosine` like that of
/// the one who speaks most are that voice too: one person is sometimes found twice.
#[must_use]
pub fn main_voice(
    geometry: &Geometry,
    window: Option<usize>,
    seen: &Observations,
    diarization: &Diarization,
    centroids: &[Vec<f32>],
    same_cosine: f64,
) -> Option<MainVoice> {
    let spans = alone(diarization);
    let mut seconds = vec![0.0; diarization.speakers()];
    spans.iter().for_each(|span| seconds[span.speaker] += span.end_s - span.start_s);
    let most = (0..seconds.len()).max_by(|a, b| seconds[*a].total_cmp(&seconds[*b]).then(b.cmp(a)))?;
    let same =
        |speaker: &usize| *speaker == most || dot(&centroids[*speaker], &centroids[most]) >= same_cosine;
    let own: Vec<Span> = spans.into_iter().filter(|span| same(&span.speaker)).collect();
    let samples = match window {
        Some(window) => of_windows(geometry, window, seen, &own),
        None => of_locals(geometry, seen, &own),
    };
    let (mut heard_s, mut until_s) = (0.0, 0.0f64);
    for Sample { start_s, end_s, .. } in samples.iter().filter(|sample| sample.end_s > sample.start_s) {
        // Windows overlap; each second counts once.
        heard_s += (end_s - start_s.max(until_s)).max(0.0);
        until_s = until_s.max(*end_s);
    }
    let total: f64 = samples.iter().map(|sample| sample.weight).sum();
    let (mut halves, mut before) = ([vec![0.0; seen.dimension()], vec![0.0; seen.dimension()]], 0.0);
    for Sample { weight, embedding, .. } in samples {
        let half = usize::from(before * 2.0 >= total);
        before += weight;
        for (sum, value) in halves[half].iter_mut().zip(embedding) {
            *sum += weight * f64::from(value);
        }
    }
    Some(MainVoice {
        halves,
        alone_s: own.iter().map(|span| span.end_s - span.start_s).sum(),
        heard_s,
        speech_s: diarization.turns().iter().map(|turn| turn.length_s()).sum(),
    })
}

/// The sum of vectors at unit length; all zeros where it has no length.
#[must_use]
pub fn direction(parts: &[&[f64]]) -> Vec<f32> {
    let length = parts.first().map_or(0, |part| part.len());
    let sum: Vec<f64> = (0..length).map(|i| parts.iter().map(|part| part[i]).sum()).collect();
    let norm = sum.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let mut unit: Vec<f32> = sum.iter().map(|v| (v / norm) as f32).collect();
    to_unit_length(&mut unit);
    unit
}

/// Where one speaker speaks and nobody else.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start_s: f64,
    end_s: f64,
    speaker: usize,
}

/// Whether one of the spans, which are in order and apart, holds all from one instant to another.
fn holds(spans: &[Span], start_s: f64, end_s: f64) -> bool {
    let after = spans.partition_point(|span| span.start_s <= start_s);
    after.checked_sub(1).is_some_and(|index| end_s <= spans[index].end_s)
}

/// In order of time.
fn alone(diarization: &Diarization) -> Vec<Span> {
    let turns = diarization.turns();
    let mut borders: Vec<f64> = turns.iter().flat_map(|t| [t.start.get(), t.end.get()]).collect();
    borders.sort_by(f64::total_cmp);
    borders.dedup();
    let mut spans: Vec<Span> = Vec::new();
    let mut first = 0;
    for pair in borders.windows(2) {
        let (start_s, end_s) = (pair[0], pair[1]);
        // Turns are sorted by start, so those before the first that still runs are over.
        while turns.get(first).is_some_and(|turn| turn.end.get() <= start_s) {
            first += 1;
        }
        let open = turns[first..].iter().take_while(|turn| turn.start.get() <= start_s);
        let mut speakers = open.filter(|turn| turn.end.get() >= end_s).map(|turn| turn.speaker);
        let (Some(speaker), None) = (speakers.next(), speakers.next()) else { continue };
        match spans.last_mut() {
            Some(last) if last.speaker == speaker && last.end_s == start_s => last.end_s = end_s,
            _ => spans.push(Span { start_s, end_s, speaker }),
        }
    }
    spans
}

struct Sample {
    weight: f64,
    embedding: Vec<f32>,
    /// From when to when it lasts; of pieces, so long from the first on.
    start_s: f64,
    end_s: f64,
}

/// Windows that lie inside one span.
fn of_windows(geometry: &Geometry, window: usize, seen: &Observations, own: &[Span]) -> Vec<Sample> {
    let seconds = |samples: usize| samples as f64 / f64::from(geometry.rate_hz);
    let of = |(index, start): (usize, &usize)| {
        let (start_s, end_s) = (seconds(*start), seconds(start + window));
        let sample = || Sample { weight: 1.0, embedding: seen.embedding(index).to_vec(), start_s, end_s };
        holds(own, start_s, end_s).then(sample)
    };
    seen.windows.iter().enumerate().filter_map(of).collect()
}

/// Local speakers whose clean frames lie inside spans, by how many frames that are.
fn of_locals(geometry: &Geometry, seen: &Observations, own: &[Span]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for index in 0..seen.locals.len() {
        let (chunk, local) = seen.locals.of(index);
        let masks = &seen.activity[chunk];
        debug_assert!(active(masks).any(|active| active == local), "only active ones are embedded");
        let first = geometry.chunk_first_frame(chunk);
        let clean: Vec<f64> = (0..masks.len())
            .filter(|frame| masks[*frame] == 1 << local)
            .map(|frame| geometry.frame_middle(first + frame).get())
            .collect();
        let inside: Vec<f64> = clean.iter().copied().filter(|at| holds(own, *at, *at)).collect();
        let weight = inside.len() as f64;
        if weight > 0.0 && weight >= ALONE_SHARE_MIN * clean.len() as f64 {
            let start_s = inside[0];
            let end_s = start_s + weight * geometry.frame_step as f64 / f64::from(geometry.rate_hz);
            samples.push(Sample { weight, embedding: seen.locals.unit(index), start_s, end_s });
        }
    }
    samples
}

#[cfg(test)]
pub(crate) mod tests {
    use common::speech::diarization::Turn;
    use common::speech::time::Seconds;
    use common::speech::voice::{HeardBy, SCHEMA};

    use super::*;
    use crate::diarize::geometry::tests::pyannote;

    pub(crate) fn voice(name: &str, angle: f32) -> Voice {
        let bundle = HeardBy {
            name: "b".into(),
            version: "1".into(),
            sha256: "0".repeat(64),
            embedding_sha256: "0".repeat(64),
        };
        Voice {
            schema: SCHEMA.into(),
            name: name.into(),
            bundle,
            dimension: 2,
            embedding: unit(angle),
            speech_s: 10.0,
            recordings: 1,
            created_at: String::new(),
        }
    }

    pub(crate) fn unit(angle: f32) -> Vec<f32> {
        let radians = angle.to_radians();
        vec![radians.cos(), radians.sin()]
    }

    fn names(centroids: &[Vec<f32>], voices: &[Voice], cosine_min: f64) -> Vec<Option<String>> {
        let voices: Vec<&Voice> = voices.iter().collect();
        recognise(centroids, &voices, cosine_min).into_iter().map(|known| known.map(|k| k.name)).collect()
    }

    #[test]
    fn strangers_stay_strangers_and_nobody_has_two_names() {
        let voices = [voice("Ada", 0.0), voice("Bob", 40.0)];
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(&[unit(5.0), unit(90.0)], &voices, 0.8), [some("Ada"), None]);
        // Both are nearest to Ada: the nearer one is her, the other stays unknown, also where he is near enough to Bob.
        assert_eq!(names(&[unit(3.0), unit(-10.0)], &voices, 0.8), [some("Ada"), None]);
        assert_eq!(names(&[unit(3.0), unit(10.0)], &voices, 0.8), [some("Ada"), None]);
        assert_eq!(names(&[unit(3.0), unit(30.0)], &voices, 0.8), [some("Ada"), some("Bob")]);
        assert_eq!(names(&[unit(180.0)], &voices, 0.0), [None]);
        assert_eq!(names(&[], &voices, 0.8), []);
        assert_eq!(names(&[unit(0.0)], &[], 0.8), [None]);
        assert_eq!(names(&[vec![0.0, 0.0]], &voices, 0.1), [None], "a speaker without a voice of his own");
    }

    #[test]
    fn a_sure_match_is_not_given_up_for_two_poor_ones() {
        // Speaker 0 is Ada beyond doubt. Giving Ada to speaker 1 would leave room for Bob at 0, barely above.
        let voices = [voice("Ada", 0.0), voice("Bob", 36.0)];
        assert_eq!(names(&[unit(0.0), unit(-36.0)], &voices, 0.8), [Some("Ada".to_owned()), None]);
        // Twins: the sum of cosines would be larger with the names the other way round.
        let voices = [voice("Ada", 0.0), voice("Bob", 53.0)];
        assert_eq!(names(&[unit(26.0), unit(-33.0)], &voices, 0.8), [Some("Ada".to_owned()), None]);
    }

    #[test]
    fn the_threshold_itself_matches() {
        let voices = [voice("Ada", 0.0)];
        let cosine = dot(&unit(30.0), &voices[0].embedding);
        assert!(names(&[unit(30.0)], &voices, cosine)[0].is_some());
        assert!(names(&[unit(30.0)], &voices, cosine + 1e-9)[0].is_none());
    }

    fn turn(start: f64, end: f64, speaker: usize) -> Turn {
        Turn { start: Seconds::new(start).unwrap(), end: Seconds::new(end).unwrap(), speaker }
    }

    #[test]
    fn speech_alone_is_what_nobody_else_covers() {
        let turns = vec![turn(0.0, 10.0, 0), turn(2.0, 3.0, 1), turn(9.0, 12.0, 1), turn(12.0, 13.0, 1)];
        let diarization = Diarization::new(turns, vec![]).unwrap();
        let span = |start_s, end_s, speaker| Span { start_s, end_s, speaker };
        assert_eq!(alone(&diarization), [span(0.0, 2.0, 0), span(3.0, 9.0, 0), span(10.0, 13.0, 1)]);
    }

    /// Ten seconds of one voice, then four of another; a window each second.
    fn seen() -> (Observations, Diarization) {
        let mut seen = Observations::new(2);
        for second in 0..14 {
            seen.push_window(
                second * 16_000,
                &unit(if second < 5 {
                    0.0
                } else if second < 10 {
                    20.0
                } else {
                    90.0
                }),
            );
        }
        let turns = vec![turn(0.0, 10.0, 0), turn(10.0, 14.0, 1)];
        (seen, Diarization::new(turns, vec![]).unwrap())
    }

    #[test]
    fn the_main_voice_is_the_mean_of_its_clean_windows() {
        let (seen, diarization) = seen();
        let centroids = [unit(10.0), unit(90.0)];
        let main = main_voice(&pyannote(), Some(16_000), &seen, &diarization, &centroids, 0.7).unwrap();
        assert_eq!((main.alone_s, main.heard_s, main.speech_s), (10.0, 10.0, 14.0));
        let angle = |v: Vec<f32>| f64::from(v[1]).atan2(f64::from(v[0])).to_degrees();
        let [first, second] = &main.halves;
        assert!(angle(direction(&[first])).abs() < 0.01 && (angle(direction(&[second])) - 20.0).abs() < 0.01);
        assert!((angle(direction(&[first, second])) - 10.0).abs() < 0.01);
        // Where the second speaker sounds like the first, he is the first.
        let one = main_voice(&pyannote(), Some(16_000), &seen, &diarization, &centroids, 0.1).unwrap();
        assert_eq!(one.alone_s, 14.0);
        // Windows of two seconds: two of them cross a border, and what they share counts once.
        let long = main_voice(&pyannote(), Some(32_000), &seen, &diarization, &centroids, 0.7).unwrap();
        assert_eq!((long.alone_s, long.heard_s), (10.0, 10.0));
    }

    #[test]
    fn silence_has_no_voice() {
        let nobody = Diarization::new(vec![], vec![]).unwrap();
        assert_eq!(main_voice(&pyannote(), Some(16_000), &Observations::new(2), &nobody, &[], 0.5), None);
        assert_eq!(direction(&[&[0.0, 0.0]]), [0.0, 0.0]);
    }

    #[test]
    fn local_speakers_count_where_they_are_alone() {
        let mut seen = Observations::new(2);
        let masks: Vec<u8> = (0..589).map(|frame| if frame < 400 { 1 } else { 2 }).collect();
        seen.activity.push(masks);
        seen.locals.push(0, 0, &[3.0, 0.0]);
        seen.locals.push(0, 1, &[0.0, 3.0]);
        let turns = vec![turn(0.0, 6.78, 0), turn(6.78, 10.0, 1)];
        let diarization = Diarization::new(turns, vec![]).unwrap();
        let main = main_voice(&pyannote(), None, &seen, &diarization, &[unit(0.0), unit(90.0)], 0.7).unwrap();
        assert_eq!(direction(&[&main.halves[0], &main.halves[1]]), [1.0, 0.0]);
    }
}
