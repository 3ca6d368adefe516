//! The stand-in for the networks: a deterministic craft that takes as long, and fails, as a job's tags say.

use std::time::{Duration, Instant};

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::spec::JobSpec;
use worker::recording::{Progress, Watch};
use worker::supervise::craft::{Badge, Craft, Needs, Product, Task};

/// Tag: how long the work takes, milliseconds.
pub const WORK_MS: &str = "work-ms";
/// Tag: how the work ends: `retryable`, `permanent`, `panic`, `lost` (the device); else well.
pub const END: &str = "end";
/// Tag: the attempt from which on the work ends well in spite of [`END`].
pub const WELL_FROM: &str = "well-from";

/// How often the work looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(5);

/// A craft without networks.
#[derive(Debug, Clone, Copy)]
pub struct Noop {
    /// Whether it wants the audio fetched.
    pub sources: bool,
}

/// What it writes.
pub const DOCUMENT: &str = "segments.json";

impl Craft for Noop {
    fn badge(&self) -> Badge {
        let [device, device_name, bundle, version] = ["cpu", "nothing", "noop", "1"].map(str::to_owned);
        Badge { device, device_name, bundle, version }
    }

    fn needs(&self, _: &JobSpec) -> Result<Needs, Failure> {
        Ok(Needs { memory_bytes: 0, sources: self.sources })
    }

    fn work(&self, task: &Task, watch: &dyn Watch) -> Result<Product, Failure> {
        let tag = |name: &str| task.spec.tags.get(name).map(String::as_str);
        let work = Duration::from_millis(tag(WORK_MS).and_then(|ms| ms.parse().ok()).unwrap_or(0));
        let (began, total_s) = (Instant::now(), Some(work.as_secs_f64()));
        while began.elapsed() < work {
            let audio_s = began.elapsed().as_secs_f64();
            watch.progress(Progress { stage: Stage::Segmentation, audio_s, total_s });
            if let Some(stopped) = watch.stop() {
                return Err(stopped);
            }
            std::thread::sleep(LOOK.min(work.saturating_sub(began.elapsed())));
        }
        let well_from = tag(WELL_FROM).and_then(|attempt| attempt.parse().ok()).unwrap_or(u32::MAX);
        let failed = |code, class| Failure { code, stage: Stage::Embedding, class, detail: "as told".into() };
        match tag(END).filter(|_| task.attempt < well_from) {
            Some("retryable") => return Err(failed(FailureCode::Internal, FailureClass::Retryable)),
            Some("permanent") => return Err(failed(FailureCode::AudioCorrupt, FailureClass::Permanent)),
            Some("lost") => return Err(failed(FailureCode::DeviceLost, FailureClass::Retryable)),
            Some("panic") => panic!("as told"),
            _ => {}
        }
        // Names the attempt, so that a document of another one is told by its digest.
        let content = format!(r#"{{"job":{{"id":"{}","attempt":{}}}}}"#, task.job, task.attempt);
        Ok(Product {
            documents: vec![(DOCUMENT.to_owned(), content.into_bytes())],
            audio: Duration::from_secs(1),
            audio_sha256: None,
            bundle: None,
            voices: None,
        })
    }
}
