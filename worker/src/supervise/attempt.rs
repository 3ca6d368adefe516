//! The work of one attempt, in order: admit → fetch → work → store. Settling and exporting follow in
//! `common::fleet::trip`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::clock::{Clock as _, SystemClock};
use common::fleet::keep::Hold;
use common::fleet::trip::{Work, WorkError};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::lease::Lease;
use common::job::record::{Document, Progress, StoredResult};
use common::job::spec::{ContentDigest, JobKind, JobSpec};
use common::object_key;
use common::port::job_store::{JobStore, Reported};
use common::port::object_store::content::Content;
use common::port::object_store::{ObjectStore, PutOptions};
use common::speech::transcript;
use common::speech::voice::VoiceSet;
use common::telemetry::{TRACED, metrics};
use tracing::Instrument as _;

use crate::fetch::AudioFile;

use super::craft::{Craft, Product, Task};
use super::seats::Seated;
use super::watching::Watching;
use crate::audio::AudioLimits;
use crate::fetch::Fetcher;

/// How often the record is told how far a job is, and a job that is waiting looks whether it has to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks between two reports. Short jobs never report.
const LOOKS_PER_REPORT: u32 = 5;

/// What attempts of a worker share.
pub struct Tools<S, O, C> {
    /// Where progress goes.
    pub store: S,
    /// Where documents go.
    pub objects: O,
    /// Where sources come from.
    pub fetcher: Fetcher<O>,
    /// What does the work.
    pub craft: Arc<C>,
    /// What audio is accepted.
    pub limits: AudioLimits,
    /// This process's time.
    pub clock: SystemClock,
}

/// One attempt.
pub struct Attempt<'a, S, O, C> {
    /// What it works with.
    pub tools: &'a Arc<Tools<S, O, C>>,
    /// Its place in the worker.
    pub seated: &'a Seated,
    /// The lease, shared with its keeper.
    pub hold: &'a Arc<Hold>,
    /// Where the length of the recording goes, milliseconds.
    pub audio_ms: &'a AtomicU64,
    /// Set when the device is gone: the process has to end.
    pub device_lost: &'a AtomicBool,
}

/// What the work reads; the files go with it.
#[derive(Default)]
struct Sources {
    audio: Option<AudioFile>,
    text: Option<bytes::Bytes>,
    /// Further recordings of a voice that is enrolled.
    more: Vec<AudioFile>,
    voices: VoiceSet,
}

impl<S: JobStore, O: ObjectStore, C: Craft> Work for Attempt<'_, S, O, C> {
    async fn work(&self, lease: &Lease<JobSpec>, hold: &Hold) -> Result<StoredResult, WorkError> {
        debug_assert_eq!(hold.key(), self.hold.key());
        let watching = Watching::new(Arc::clone(self.hold), self.tools.clock, lease.payload.limits.timeout);
        let watching = Arc::new(watching);
        let work = async {
            let done = self.stages(lease, &watching).await;
            if let Err(WorkError::Failed(failure)) = &done {
                metrics::failed(failure.code);
            }
            done
        };
        tokio::pin!(work);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.tick().await;
        let (mut looks, mut told) = (0, None);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = look.tick() => {
                    looks += 1;
                    if looks % LOOKS_PER_REPORT == 0 {
                        self.report(&watching, &mut told).await;
                    }
                }
            }
        }
    }
}

impl<S: JobStore, O: ObjectStore, C: Craft> Attempt<'_, S, O, C> {
    async fn stages(
        &self,
        lease: &Lease<JobSpec>,
        watching: &Arc<Watching>,
    ) -> Result<StoredResult, WorkError> {
        let spec = &lease.payload;
        let needs = self.tools.craft.needs(spec)?;
        stoppable(watching, self.seated.admitted(needs.memory_bytes)).await?;
        watching.enter(Stage::Fetch)?;
        let sources = if needs.sources {
            let fetching = self.sources(spec, watching);
            self.timed(Stage::Fetch, fetching, tracing::error_span!(target: TRACED, "fetch")).await?
        } else {
            Sources::default()
        };
        watching.enter(Stage::Decode)?;
        let task = Task {
            job: lease.job().to_string(),
            attempt: lease.attempt,
            spec: spec.clone(),
            audio: sources.audio.as_ref().map(AudioFile::path),
            transcript: sources.text,
            more_audio: sources.more.iter().map(AudioFile::path).collect(),
            voices: Arc::new(sources.voices),
        };
        let product = self.craft(task, watching).await?;
        // The files go with their last handles; nothing needs them any more.
        drop((sources.audio, sources.more));
        watching.enter(Stage::Store)?;
        let storing = self.deposit(lease, watching, product);
        self.timed(Stage::Store, storing, tracing::error_span!(target: TRACED, "store")).await
    }

    /// Everything that the work reads, at hand.
    async fn sources(&self, spec: &JobSpec, watching: &Arc<Watching>) -> Result<Sources, WorkError> {
        let check = || watching.check();
        let fetcher = &self.tools.fetcher;
        let file = async |source| {
            let fetching = fetcher.file(source, self.tools.limits.bytes_max, check);
            fetched(stoppable(watching, fetching).await?)
        };
        let mut sources = Sources { audio: Some(file(&spec.audio).await?), ..Sources::default() };
        if let Some(source) = &spec.options.transcript {
            let bytes_max = transcript::Limits::default().bytes_max as u64;
            let fetching = fetcher.bytes(source, bytes_max, check);
            sources.text = Some(fetched(stoppable(watching, fetching).await?)?);
        }
        match &spec.kind {
            JobKind::Enroll { more, .. } => {
                for source in more {
                    sources.more.push(file(source).await?);
                }
            }
            JobKind::Diarize => {
                let bundle = self.tools.craft.badge().bundle;
                sources.voices = fetched(stoppable(watching, fetcher.voices(&bundle)).await?)?;
            }
        }
        Ok(sources)
    }

    /// A stage as a span and as a duration.
    async fn timed<T>(&self, stage: Stage, work: impl Future<Output = T>, span: tracing::Span) -> T {
        let began = self.tools.clock.monotonic();
        let done = work.instrument(span).await;
        metrics::stage(stage, self.tools.clock.monotonic().since(began));
        done
    }

    /// The blocking part, on a thread that may block.
    async fn craft(&self, task: Task, watching: &Arc<Watching>) -> Result<Product, WorkError> {
        let (craft, watch) = (Arc::clone(&self.tools.craft), Arc::clone(watching));
        let span = tracing::Span::current();
        let working = tokio::task::spawn_blocking(move || span.in_scope(|| craft.work(&task, &*watch)));
        match working.await.unwrap_or_else(|error| Err(broken(&error))) {
            Ok(product) => Ok(product),
            // Why it stopped is what the hold says; a lost lease must never be recorded as a failure.
            Err(failure) => {
                if failure.code == FailureCode::DeviceLost {
                    self.device_lost.store(true, Ordering::SeqCst);
                }
                watching.check()?;
                Err(failure.into())
            }
        }
    }

    async fn deposit(
        &self,
        lease: &Lease<JobSpec>,
        watching: &Watching,
        product: Product,
    ) -> Result<StoredResult, WorkError> {
        let folder = object_key::attempt(lease.key());
        let mut documents = Vec::with_capacity(product.documents.len());
        for (name, content) in product.documents {
            watching.check()?;
            let (bytes, sha256) = (content.len() as u64, ContentDigest::of(&content));
            let options = PutOptions { content_type: content_type(&name), ..PutOptions::default() };
            let key = format!("{folder}{name}");
            let putting = self.tools.objects.put(&key, Content::from(content), &options);
            stoppable(watching, putting).await?.map_err(|error| Failure {
                code: FailureCode::StoreUnavailable,
                stage: Stage::Store,
                class: FailureClass::Retryable,
                detail: error.to_string(),
            })?;
            documents.push(Document { name, bytes, sha256 });
        }
        self.audio_ms.store(common::clock::millis(product.audio), Ordering::Relaxed);
        let Product { audio, audio_sha256, bundle, voices, .. } = product;
        Ok(StoredResult { documents, audio, audio_sha256, bundle, voices })
    }

    /// Tells the record how far the job is, when that has changed.
    async fn report(&self, watching: &Watching, told: &mut Option<Progress>) {
        let seen = watching.seen();
        if *told == Some(seen) {
            return;
        }
        match self.tools.store.report(self.hold.key(), seen).await {
            Ok(Reported::Held { cancel_requested }) => {
                *told = Some(seen);
                if cancel_requested {
                    self.hold.cancel();
                }
            }
            Ok(Reported::Lost) => self.hold.lose(),
            // Told again with the next look.
            Err(_) => {}
        }
    }
}

/// Awaits work that may be dropped at any time, unless it has to stop.
async fn stoppable<T>(watching: &Watching, work: impl Future<Output = T>) -> Result<T, WorkError> {
    tokio::pin!(work);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = look.tick() => {
                watching.check()?;
                if let Some(failure) = watching.timed_out() {
                    return Err(failure.into());
                }
            }
        }
    }
}

/// The work panicked outside of what catches panics, or the process is ending.
fn broken(error: &tokio::task::JoinError) -> Failure {
    let class = if error.is_panic() { FailureClass::Permanent } else { FailureClass::Interrupted };
    let detail = format!("a defect in Rollcall: {error}");
    Failure { code: FailureCode::Internal, stage: Stage::Decode, class, detail }
}

fn fetched<T>(outcome: Result<T, crate::fetch::FetchError>) -> Result<T, WorkError> {
    outcome.map_err(|error| match error.into_failure() {
        Ok(failure) => WorkError::Failed(failure),
        Err(stop) => WorkError::Stopped(stop),
    })
}

fn content_type(name: &str) -> Option<String> {
    let kind = match name.rsplit_once('.')?.1 {
        "json" => "application/json",
        "rttm" | "txt" | "srt" => "text/plain; charset=utf-8",
        "vtt" => "text/vtt; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    };
    Some(kind.to_owned())
}
