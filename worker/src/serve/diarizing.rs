//! The craft of a real worker: the job code that `run` uses, over the networks that the process has loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::{Clock as _, SystemClock};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::spec::{Channels, DocumentFormat, JobKind, JobSpec, SourceRef, SpeakerCount};
use common::model::manifest::EmbeddingKind;
use common::object_key;
use common::speech::result_document::JobFacts;
use common::speech::transcript;
use common::telemetry::TRACED;

use super::memory;
use crate::batch::plan::Network;
use crate::cli::Format;
use crate::device::reading::DeviceReading;
use crate::diarize::speaker_limits::{SPEAKERS_MAX, SpeakerLimits};
use crate::enroll::{self, Lesson};
use crate::job::{self, Outcome};
use crate::publish;
use crate::recording::{Progress, Request, Watch};
use crate::supervise::craft::{Badge, Craft, Needs, Product, Task};
use crate::workbench::Workbench;

/// Diarizes with one workbench.
pub struct Diarizing {
    bench: Workbench,
    badge: Badge,
}

impl Diarizing {
    /// With this bundle and device.
    #[must_use]
    pub fn new(bench: Workbench) -> Self {
        let manifest = &bench.bundle.manifest;
        let badge = Badge {
            device: bench.device_name.clone(),
            device_name: bench.gpu_name.clone().unwrap_or_else(processor),
            bundle: manifest.name.clone(),
            version: manifest.version.clone(),
        };
        Self { bench, badge }
    }

    fn bundle(&self) -> String {
        format!("{}@{}", self.badge.bundle, self.badge.version)
    }
}

impl Craft for Diarizing {
    fn badge(&self) -> Badge {
        self.badge.clone()
    }

    fn needs(&self, spec: &JobSpec) -> Result<Needs, Failure> {
        if let Some(wanted) = &spec.bundle
            && *wanted != self.badge.bundle
            && *wanted != self.bundle()
        {
            let detail = format!("this worker has the bundle {}, not `{wanted}`", self.bundle());
            return Err(refused(FailureCode::ModelMismatch, detail));
        }
        speakers(spec.options.speakers)?;
        // Recordings of one voice come one after the other, so the longest counts.
        let more: &[SourceRef] = match &spec.kind {
            JobKind::Enroll { more, .. } => more,
            _ => &[],
        };
        let channels = match spec.options.channels {
            Channels::Mix => 1,
            Channels::Separate => u64::from(self.bench.limits.channels_max),
        };
        let recordings = std::iter::once(&spec.audio).chain(more);
        let needed = recordings.map(|audio| memory::needed_bytes(audio.duration, audio.bytes, channels));
        let memory_bytes = needed.max().unwrap_or_default();
        Ok(Needs { memory_bytes, sources: true })
    }

    fn device(&self) -> Option<DeviceReading> {
        let device = &self.bench.device;
        Some(DeviceReading {
            engines: device.lanes(),
            done: self.networks().iter().map(|network| (*network, device.tally().done(*network))).collect(),
            memory: device.gauges(),
            utilization: None,
        })
    }

    fn work(&self, task: &Task, watch: &dyn Watch) -> Result<Product, Failure> {
        let spec = &task.spec;
        let Some(audio) = task.audio.clone() else {
            return Err(refused(FailureCode::Internal, "a job without its audio".to_owned()));
        };
        if let JobKind::Enroll { name, more } = &spec.kind {
            return self.enroll(name, audio, more, task, watch);
        }
        let transcript = task.transcript.as_deref().map(|bytes| {
            transcript::read(bytes, transcript::Limits::default()).map(Arc::new).map_err(|error| {
                let detail = format!("not a transcript that can be used: {error}");
                refused(FailureCode::AudioUnsupported, detail)
            })
        });
        let request = Request {
            audio,
            uri: spec.audio.uri.clone(),
            job: JobFacts { id: task.job.clone(), attempt: task.attempt },
            speakers: speakers(spec.options.speakers)?,
            channels: spec.options.channels,
            transcript: transcript.transpose()?,
            voices: Arc::clone(&task.voices),
        };
        let outcome = job::run(&self.bench, &request, watch)?;
        let duration_s = outcome.document.audio.duration.as_s();
        watch.progress(Progress { stage: Stage::Render, audio_s: duration_s, total_s: Some(duration_s) });
        let rendering = Instant::now();
        let documents =
            tracing::error_span!(target: TRACED, "render").in_scope(|| render(&request, spec, &outcome))?;
        watch.spent(Stage::Render, rendering.elapsed());
        Ok(Product {
            documents,
            audio: Duration::try_from_secs_f64(duration_s).unwrap_or_default(),
            audio_sha256: outcome.document.audio.sha256.parse().ok(),
            bundle: Some(self.bundle()),
            voices: task.voices.digest,
        })
    }
}

impl Diarizing {
    /// What the bundle has of networks.
    fn networks(&self) -> &'static [Network] {
        match self.bench.bundle.manifest.embedding.kind {
            EmbeddingKind::Windowed { .. } => &[Network::Segmentation, Network::Embedding],
            EmbeddingKind::FrameLevel { .. } => {
                &[Network::Segmentation, Network::Locals, Network::Trunk, Network::Pooling]
            }
        }
    }

    /// Learns a voice; its document is the only one.
    fn enroll(
        &self,
        name: &str,
        audio: PathBuf,
        more: &[SourceRef],
        task: &Task,
        watch: &dyn Watch,
    ) -> Result<Product, Failure> {
        let further =
            task.more_audio.iter().zip(more).map(|(path, source)| (path.clone(), source.uri.clone()));
        let lesson = Lesson {
            name: name.to_owned(),
            audio: std::iter::once((audio, task.spec.audio.uri.clone())).chain(further).collect(),
            now: SystemClock::new().now().to_string(),
        };
        let learnt = enroll::enroll(&self.bench, &lesson, watch)?;
        Ok(Product {
            audio: Duration::try_from_secs_f64(learnt.audio_s).unwrap_or_default(),
            documents: vec![(object_key::VOICE_DOCUMENT.to_owned(), learnt.voice.to_json().into_bytes())],
            audio_sha256: None,
            bundle: Some(self.bundle()),
            voices: None,
        })
    }
}

/// The documents that were asked for, and `segments.json` in any case: every other form can be made of it later.
fn render(request: &Request, spec: &JobSpec, outcome: &Outcome) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut formats = vec![Format::Json];
    let wanted = spec.options.formats.iter().filter(|format| **format != DocumentFormat::Json);
    formats.extend(wanted.map(|format| match format {
        DocumentFormat::Json => Format::Json,
        DocumentFormat::Rttm => Format::Rttm,
        DocumentFormat::Srt => Format::Srt,
        DocumentFormat::Vtt => Format::Vtt,
        DocumentFormat::Html => Format::Html,
        DocumentFormat::Txt => Format::Txt,
    }));
    let documents = publish::documents(spec.stem(), &request.audio, outcome, &formats, None);
    let documents = documents.map_err(|error| Failure {
        code: FailureCode::StoreUnavailable,
        stage: Stage::Render,
        class: FailureClass::Retryable,
        detail: format!("the fetched audio cannot be read again: {error}"),
    })?;
    Ok(documents.into_iter().map(|(name, content)| (name.to_owned(), content)).collect())
}

fn speakers(count: SpeakerCount) -> Result<SpeakerLimits, Failure> {
    let most = u32::try_from(SPEAKERS_MAX).unwrap_or(u32::MAX);
    let (min, max) = match count {
        SpeakerCount::Auto => (1, most),
        SpeakerCount::Exactly(count) => (count, count),
        // More than can be told apart at all is no wish.
        SpeakerCount::Between(min, max) => (min.unwrap_or(1), max.unwrap_or(most).min(most)),
    };
    SpeakerLimits::new(min as usize, max as usize).ok_or_else(|| {
        refused(
            FailureCode::NotAllowed,
            format!("1 to {SPEAKERS_MAX} speakers can be asked for: {min} to {max}"),
        )
    })
}

/// A failure that no attempt changes.
fn refused(code: FailureCode, detail: String) -> Failure {
    Failure { code, stage: Stage::Fetch, class: FailureClass::Permanent, detail }
}

/// The processor's name, as the system says it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
