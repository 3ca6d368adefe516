//! Learning a known voice from recordings, and what makes them unsuitable.
//!
//! A recording is diarized like any other. The voice that speaks most in it is the one; what counts is where it speaks
//! alone. Refused is what would make a voice that names the wrong people: too little clean speech, several people, halves
//! or recordings that do not sound alike.

use std::path::PathBuf;
use std::sync::Arc;

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::spec::Channels;
use common::speech::result_document::JobFacts;
use common::speech::voice::{HeardBy, SCHEMA, Voice, VoiceSet};

use crate::diarize::observations::dot;
use crate::diarize::pipeline::{EmbeddingPlan, Pipeline};
use crate::diarize::speaker_limits::{SPEAKERS_MAX, SpeakerLimits};
use crate::diarize::voices::{MainVoice, direction, main_voice};
use crate::job;
use crate::recording::{Request, Watch, open_audio};
use crate::workbench::Workbench;

/// Clean speech that a voice takes, seconds: with less, what was said weighs as much as who said it.
pub const SPEECH_S_MIN: f64 = 10.0;
/// How much of it has to come in pieces long enough for an embedding, seconds.
pub const HEARD_S_MIN: f64 = 5.0;
/// Share of all speech that has to be the voice's, alone.
pub const SHARE_MIN: f64 = 0.8;

/// How far below the cosine of a known voice parts of its recordings may be alike: a part holds less speech than a voice.
const PARTS_SLACK: f64 = 0.1;

/// A voice to learn.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Whose it is.
    pub name: String,
    /// Recordings, at least one, and what to call each.
    pub audio: Vec<(PathBuf, String)>,
    /// The present, as text.
    pub now: String,
}

/// A voice that was learnt.
#[derive(Debug, Clone)]
pub struct Learnt {
    /// It.
    pub voice: Voice,
    /// Length of its recordings together, seconds.
    pub audio_s: f64,
}

/// What a recording gave.
struct Part {
    uri: String,
    main: MainVoice,
    audio_s: f64,
}

/// Learns a voice.
///
/// # Errors
/// The failure of a recording, or `voice_unsuitable` with what to do.
pub fn enroll(bench: &Workbench, lesson: &Lesson, watch: &dyn Watch) -> Result<Learnt, Failure> {
    let pipeline = job::pipeline(bench)?;
    let mut parts = Vec::new();
    for (audio, uri) in &lesson.audio {
        parts.push(part_of(bench, &pipeline, audio.clone(), uri, watch)?);
    }
    let manifest = &bench.bundle.manifest;
    let embedding = judge(&parts, manifest.voices.cosine_min).map_err(unsuitable)?;
    let voice = Voice {
        schema: SCHEMA.to_owned(),
        name: lesson.name.clone(),
        bundle: HeardBy {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: bench.bundle.sha256.clone(),
            embedding_sha256: manifest.embedding_sha256(),
        },
        dimension: embedding.len(),
        embedding,
        speech_s: (alone_s(&parts) * 1e3).round() / 1e3,
        recordings: parts.len(),
        created_at: lesson.now.clone(),
    };
    Ok(Learnt { voice, audio_s: parts.iter().map(|part| part.audio_s).sum() })
}

fn part_of(
    bench: &Workbench,
    pipeline: &Pipeline,
    audio: PathBuf,
    uri: &str,
    watch: &dyn Watch,
) -> Result<Part, Failure> {
    let speakers = SpeakerLimits::new(1, SPEAKERS_MAX).expect("one is not more than the most");
    let request = Request {
        audio,
        uri: uri.to_owned(),
        job: JobFacts { id: String::new(), attempt: 1 },
        speakers,
        channels: Channels::Mix,
        transcript: None,
        voices: Arc::new(VoiceSet::default()),
    };
    let opened = open_audio(bench, &request)?;
    let (heard, call) = job::hear(bench, pipeline, opened, speakers, watch)?;
    let (diarization, centroids) = (&call.diarized.diarization, call.diarized.in_label_order());
    let window = match pipeline.embedding_plan() {
        EmbeddingPlan::Windows(plan) => Some(plan.window()),
        EmbeddingPlan::Locals(_) => None,
    };
    let cosine = bench.bundle.manifest.voices.cosine_min;
    let main = heard
        .seen
        .first()
        .and_then(|seen| main_voice(pipeline.geometry(), window, seen, diarization, &centroids, cosine));
    let nobody = || unsuitable(format!("nobody speaks in {uri}; give a recording of the person talking"));
    Ok(Part { uri: uri.to_owned(), main: main.ok_or_else(nobody)?, audio_s: heard.duration_s })
}

fn alone_s(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.main.alone_s).sum()
}

/// The voice of all parts, or why they are no voice and what to do about it.
fn judge(parts: &[Part], cosine_min: f64) -> Result<Vec<f32>, String> {
    for Part { uri, main, .. } in parts {
        let share = main.alone_s / main.speech_s.max(f64::MIN_POSITIVE);
        if share < SHARE_MIN {
            return Err(format!(
                "several people speak in {uri}: the main voice is alone in {:.0} % of the speech, {:.0} % are needed; \
                 give recordings of this person only",
                100.0 * share,
                100.0 * SHARE_MIN
            ));
        }
    }
    let alike_min = cosine_min - PARTS_SLACK;
    let speech_s = alone_s(parts);
    if speech_s < SPEECH_S_MIN {
        return Err(format!(
            "only {speech_s:.1} s of clean speech, {SPEECH_S_MIN:.0} s are needed; give a longer recording, or several"
        ));
    }
    let heard_s: f64 = parts.iter().map(|part| part.main.heard_s).sum();
    let silent = |half: &Vec<f64>| half.iter().all(|value| *value == 0.0);
    let too_short = |part: &&Part| match parts {
        [only] => only.main.halves.iter().any(silent),
        _ => part.main.halves.iter().all(silent),
    };
    if let Some(part) = parts.iter().find(too_short).or(parts.first().filter(|_| heard_s < HEARD_S_MIN)) {
        return Err(format!(
            "only {heard_s:.1} s of clean speech in pieces long enough to compare, {HEARD_S_MIN:.0} s are needed, in every \
             recording some: the person in {} never speaks for long enough at a time; give a longer recording",
            part.uri
        ));
    }
    let whole = |part: &Part| direction(&[&part.main.halves[0], &part.main.halves[1]]);
    // Of several recordings each has to sound like the rest, of one the halves like one another.
    let alike = match parts {
        [only] => dot(&direction(&[&only.main.halves[0]]), &direction(&[&only.main.halves[1]])),
        _ => 1.0,
    };
    if alike < alike_min {
        return Err(format!(
            "the two halves of the recording do not sound like one person (cosine {alike:.2}, {alike_min:.2} is needed); \
             give a cleaner recording of this person only"
        ));
    }
    for (index, part) in parts.iter().enumerate().filter(|_| parts.len() > 1) {
        let others: Vec<&[f64]> = parts
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .flat_map(|(_, part)| part.main.halves.iter().map(Vec::as_slice))
            .collect();
        let cosine = dot(&whole(part), &direction(&others));
        if cosine < alike_min {
            return Err(format!(
                "{} does not sound like the other recordings (cosine {cosine:.2}, {alike_min:.2} is needed); leave it out, or \
                 the others",
                part.uri
            ));
        }
    }
    let all: Vec<&[f64]> = parts.iter().flat_map(|part| part.main.halves.iter().map(Vec::as_slice)).collect();
    Ok(direction(&all))
}

fn unsuitable(detail: String) -> Failure {
    Failure {
        code: FailureCode::VoiceUnsuitable,
        stage: Stage::Clustering,
        class: FailureClass::Permanent,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(uri: &str, alone_s: f64, speech_s: f64, angles: [f64; 2]) -> Part {
        let half = |angle: f64| vec![5.0 * angle.to_radians().cos(), 5.0 * angle.to_radians().sin()];
        Part {
            uri: uri.into(),
            audio_s: speech_s,
            main: MainVoice { halves: angles.map(half), alone_s, heard_s: alone_s, speech_s },
        }
    }

    fn refused(parts: &[Part], word: &str) {
        let why = judge(parts, 0.6).unwrap_err();
        assert!(why.contains(word), "{why}");
        assert!(why.contains("; "), "it says what to do: {why}");
    }

    #[test]
    fn clean_speech_of_one_person_is_a_voice() {
        let voice = judge(&[part("a.wav", 10.0, 12.5, [10.0, -10.0])], 0.6).unwrap();
        assert!((voice[0] - 1.0).abs() < 1e-6 && voice[1].abs() < 1e-6);
        let short = || part("a.wav", 5.0, 5.0, [0.0, 0.0]);
        assert!(judge(&[short(), short()], 0.6).is_ok(), "together they are enough");
    }

    #[test]
    fn each_bound_refuses_one_past_it() {
        refused(&[part("a.wav", 9.99, 9.99, [0.0, 0.0])], "of clean speech");
        refused(&[part("a.wav", 79.9, 100.0, [0.0, 0.0])], "several people");
        assert!(judge(&[part("a.wav", 80.0, 100.0, [0.0, 0.0])], 0.6).is_ok());
        refused(&[part("a.wav", 20.0, 20.0, [0.0, 61.0])], "halves");
        assert!(judge(&[part("a.wav", 20.0, 20.0, [0.0, 59.0])], 0.6).is_ok());
        refused(
            &[part("a.wav", 20.0, 20.0, [0.0, 0.0]), part("b.wav", 20.0, 20.0, [61.0, 61.0])],
            "a.wav does not",
        );
    }

    #[test]
    fn windows_that_never_fit_are_no_voice() {
        let silent = |halves: &[usize]| {
            let mut part = part("a.wav", 20.0, 20.0, [0.0, 0.0]);
            halves.iter().for_each(|half| part.main.halves[*half] = vec![0.0; 2]);
            part
        };
        let whole = || part("b.wav", 20.0, 20.0, [0.0, 0.0]);
        refused(&[silent(&[0, 1])], "long enough");
        refused(&[silent(&[1])], "long enough");
        refused(&[whole(), silent(&[0, 1])], "a.wav never");
        assert!(judge(&[whole(), silent(&[1])], 0.6).is_ok());
        // Ten seconds in words of a second each.
        let mut words = part("a.wav", 10.0, 10.0, [0.0, 0.0]);
        words.main.heard_s = 4.9;
        refused(&[words], "long enough");
    }
}
