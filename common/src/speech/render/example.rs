//! The result that the tests of all forms write.

use crate::speech::diarization::{Diarization, Turn};
use crate::speech::result_document::{
    AudioFacts, BundleFacts, Document, JobFacts, KnownVoice, Provenance, SpokenSegment, Timing,
};
use crate::speech::time::{Millis, Seconds};

pub fn turn(start: f64, end: f64, speaker: usize) -> Turn {
    Turn { start: Seconds::new(start).unwrap(), end: Seconds::new(end).unwrap(), speaker }
}

/// Three turns of two people in ten seconds; the first two overlap for 0.3 s.
pub fn diarization() -> Diarization {
    Diarization::new(
        vec![turn(0.0, 2.799_999_9, 0), turn(2.5, 6.0, 1), turn(8.0, 9.25, 0)],
        vec![turn(0.0, 2.5, 0), turn(2.5, 6.0, 1), turn(8.0, 9.25, 0)],
    )
    .unwrap()
}

pub fn provenance() -> Provenance {
    Provenance {
        job: JobFacts { id: "01J9Z".into(), attempt: 1 },
        audio: AudioFacts {
            uri: "file:///data/my \"call\".m4a".into(),
            sha256: "ab".repeat(32),
            duration: Millis::new(10_000),
            sample_rate_hz: 44_100,
            channels: 2,
            codec: "aac".into(),
        },
        bundle: BundleFacts { name: "starter".into(), version: "1".into(), sha256: "cd".repeat(32) },
        device: "cpu".into(),
        timing: Timing {
            decode_s: 0.1 + 0.2,
            segmentation_s: 2.1,
            embedding_s: 3.000_4,
            clustering_s: 0.1,
            total_s: 5.7,
            realtime_factor: 0.0,
        },
        warnings: vec!["damaged audio: 3.0 s to 3.5 s".into()],
    }
}

pub fn without_transcript() -> Document {
    Document::new(&diarization(), provenance())
}

/// The same with a known voice and three segments, one of them while nobody speaks.
pub fn with_transcript() -> Document {
    let segment = |start, end, text: &str, speaker| SpokenSegment {
        start: Millis::new(start),
        end: Millis::new(end),
        text: text.into(),
        speaker,
    };
    without_transcript()
        .with_transcript(&[
            segment(100, 2_400, "Hello", Some(0)),
            segment(2_600, 5_900, "Good <b>morning</b> & welcome", Some(1)),
            segment(6_500, 7_000, "(door)", None),
        ])
        .with_voices(&[None, Some(KnownVoice { name: "Zoë".into(), similarity: 0.812_345 })])
}
