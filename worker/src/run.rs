//! `rollcall-worker run`: the trip of a job over an in-process queue and a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::spec::Channels;
use common::speech::render::{printable, table};
use common::speech::result_document::JobFacts;
use common::speech::transcript::Transcript;
use common::speech::voice::VoiceSet;
use serde::Serialize;

use crate::cli::Format;
use crate::diarize::speaker_limits::SpeakerLimits;
use crate::job::{self, Outcome};
use crate::progress::{Display, Line};
use crate::publish;
use crate::recording::Request;
use crate::workbench::Workbench;

/// Turns shown in the terminal for one recording; the files hold all of them.
const TABLE_TURNS_MAX: usize = 40;

/// What to do with which recordings.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The recordings.
    pub audio: Vec<PathBuf>,
    /// Folder for the results.
    pub out: PathBuf,
    /// Which files to write.
    pub formats: Vec<Format>,
    /// How many speakers there may be.
    pub speakers: SpeakerLimits,
    /// What the channels are.
    pub channels: Channels,
    /// A transcript whose segments get speakers.
    pub transcript: Option<Arc<Transcript>>,
    /// The voices that speakers may be.
    pub voices: Arc<VoiceSet>,
    /// Whether to print JSON lines instead of tables.
    pub json: bool,
    /// Recordings worked on at once.
    pub jobs: usize,
}

/// The `--json` line of one recording.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    audio: &'a str,
    ok: bool,
    out: Option<&'a str>,
    duration_s: Option<f64>,
    speakers: Option<usize>,
    turns: Option<usize>,
    realtime_factor: Option<f64>,
    failure: Option<FailureLine<'a>>,
}

#[derive(Debug, Serialize)]
struct FailureLine<'a> {
    code: &'static str,
    stage: Stage,
    detail: &'a str,
}

/// Works on every recording; returns how many failed. `print` gets what belongs on stdout, a piece at a time.
pub fn run(bench: &Workbench, plan: &Plan, display: &Display, print: &(dyn Fn(&str) + Sync)) -> usize {
    let folders = publish::folders(&plan.out, &plan.audio);
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((audio, folder)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            plan.audio.get(index).zip(folders.get(index))
        } {
            let line = display.line(&publish::stem(audio));
            let outcome = one(bench, plan, audio, folder, &line);
            failed.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed);
            report(plan, audio, folder, &outcome, &line, print);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.min(plan.audio.len()) {
            scope.spawn(work);
        }
    });
    failed.into_inner()
}

fn one(
    bench: &Workbench,
    plan: &Plan,
    audio: &Path,
    folder: &Path,
    line: &Line<'_>,
) -> Result<Outcome, Failure> {
    let uri = audio.to_string_lossy().into_owned();
    let request = Request {
        audio: audio.to_owned(),
        job: JobFacts { id: publish::stem(audio), attempt: 1 },
        uri,
        speakers: plan.speakers,
        channels: plan.channels,
        transcript: plan.transcript.clone(),
        voices: Arc::clone(&plan.voices),
    };
    let outcome = job::run(bench, &request, line)?;
    publish::write(folder, &publish::stem(audio), audio, &outcome, &plan.formats).map_err(|e| Failure {
        code: FailureCode::StoreUnavailable,
        stage: Stage::Store,
        class: FailureClass::Retryable,
        detail: format!("cannot write to {}: {e}", folder.display()),
    })?;
    Ok(outcome)
}

fn report(
    plan: &Plan,
    audio: &Path,
    folder: &Path,
    outcome: &Result<Outcome, Failure>,
    line: &Line<'_>,
    print: &(dyn Fn(&str) + Sync),
) {
    let (audio, folder) = (audio.to_string_lossy(), folder.to_string_lossy());
    let shown = printable::path(&audio);
    match outcome {
        Ok(Outcome { document, .. }) => {
            let duration_s = document.audio.duration.as_s();
            let timing = &document.timing;
            let speed = if timing.total_s > 0.0 { duration_s / timing.total_s } else { 0.0 };
            line.finish(&format!(
                "{shown}: {} speaker(s), {} turn(s); {duration_s:.1} s of audio in {:.2} s, real-time factor {:.4} ({speed:.0}x)",
                document.speakers.len(),
                document.diarization.len(),
                timing.total_s,
                timing.realtime_factor,
            ));
            if !plan.json {
                let turns = table::turns(document, TABLE_TURNS_MAX);
                let folder = printable::path(&folder);
                print(&format!("\n{shown}\n{turns}\n{}  files: {folder}\n", table::summary(document)));
            }
        }
        Err(failure) => {
            let failure = format!("error: {shown}: {}: {failure}", failure.code.as_str());
            line.finish(&printable::path(&failure));
        }
    }
    if plan.json {
        let document = outcome.as_ref().ok().map(|o| &o.document);
        let summary = Summary {
            audio: &audio,
            ok: outcome.is_ok(),
            out: document.map(|_| &*folder),
            duration_s: document.map(|d| d.audio.duration.as_s()),
            speakers: document.map(|d| d.speakers.len()),
            turns: document.map(|d| d.diarization.len()),
            realtime_factor: document.map(|d| d.timing.realtime_factor),
            failure: outcome.as_ref().err().map(|f| FailureLine {
                code: f.code.as_str(),
                stage: f.stage,
                detail: &f.detail,
            }),
        };
        let text = serde_json::to_string(&summary).expect("a summary holds only text and numbers");
        print(&format!("{text}\n"));
    }
}
