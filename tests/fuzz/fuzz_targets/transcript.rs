//! Any bytes as a transcript: an error, or segments in order, which are joined with turns, written in every form, and read
//! again.
#![no_main]

use common::speech::diarization::{Diarization, Turn};
use common::speech::render::subtitles;
use common::speech::result_document::{AudioFacts, BundleFacts, Document, JobFacts, Provenance, Timing};
use common::speech::time::{Millis, Seconds};
use common::speech::transcript::{Limits, join, read};
use common::speech::render::{html, json, text};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { bytes_max: 1 << 20, segments_max: 2_000, words_max: 8_000 };

fn turn(start: f64, end: f64, speaker: usize) -> Turn {
    let at = |s| Seconds::new(s).expect("constants are times");
    Turn { start: at(start), end: at(end), speaker }
}

fn provenance() -> Provenance {
    let name = String::new;
    Provenance {
        job: JobFacts { id: name(), attempt: 1 },
        audio: AudioFacts {
            uri: name(),
            sha256: name(),
            duration: Millis::new(10_000),
            sample_rate_hz: 16_000,
            channels: 1,
            codec: name(),
        },
        bundle: BundleFacts { name: name(), version: name(), sha256: name() },
        device: name(),
        timing: Timing::default(),
        warnings: Vec::new(),
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(transcript) = read(data, LIMITS) else { return };
    for segment in &transcript.segments {
        assert!(segment.start <= segment.end);
        assert_eq!(segment.text.trim(), segment.text);
    }
    let turns = vec![turn(0.0, 2.5, 0), turn(2.5, 6.0, 1), turn(8.0, 9.25, 0)];
    let diarization = Diarization::new(turns.clone(), turns).expect("constants are in order");
    let spoken = join(&transcript, &diarization);
    assert!(spoken.len() >= transcript.segments.len());
    assert!(spoken.iter().all(|part| part.start <= part.end && part.speaker.is_none_or(|s| s < 2)));
    let document = Document::new(&diarization, provenance()).with_transcript(&spoken);
    assert_eq!(json::read(json::write(&document).as_bytes()).expect("we read what we write"), document);
    for subtitles in [subtitles::srt(&document), subtitles::vtt(&document)] {
        let back = read(subtitles.as_bytes(), Limits::default()).expect("we read what we write");
        let cues = document.segments.iter().filter(|s| s.text.as_deref().is_some_and(|t| !t.trim().is_empty()));
        assert_eq!(back.segments.len(), cues.count());
    }
    assert_eq!(text::write(&document).lines().count(), document.segments.len());
    let page = html::write(&document, "x", html::Sound::Absent);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
});
