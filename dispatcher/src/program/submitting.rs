//! `rollcall submit`: flags to requests, the use case, and what is printed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use common::clock::SystemClock;
use common::job::id::JobId;
use common::job::spec::{Channels, SpeakerCount};
use common::random::OsRandom;
use common::reach::{Reach, StoreUrl};

use super::Ended;
use super::jobs::watched;
use crate::cli::SubmitArguments;
use crate::cli::submit::ChannelsFlag;
use crate::command::ExitStatus;
use crate::command::error::FleetError;
use crate::output::submitted::{Uploads, accepted, told};
use crate::settings::Settings;
use crate::submit::error::SubmitError;
use crate::submit::manifest::{self, ManifestError};
use crate::submit::{Ports, Terms, submit as use_case};
use crate::wire::request::{JobRequest, Wishes, sorted};
use crate::{connect, output};

pub(super) async fn submit(arguments: SubmitArguments, settings: &Settings) -> Ended {
    let url = settings.store_url.value.as_deref().ok_or(FleetError::NoStore)?;
    let terms = Terms {
        recursive: arguments.recursive,
        cache: !arguments.no_cache,
        force: arguments.force,
        reach: Reach::new(StoreUrl::new(url), settings.allow.value.clone()),
        signs_webhooks: settings.webhook_secret.value.is_some(),
    };
    let (wait, json) = (arguments.wait, arguments.json);
    let requests = requests(arguments)?;
    let (jobs, broker) = (connect::job_store(settings)?, connect::queue(settings)?);
    let objects = connect::object_store(settings).await?;
    let (clock, random) = (SystemClock::new(), OsRandom);
    let ports = Ports { jobs: &jobs, broker: &broker, objects: &objects, clock: &clock, random: &random };
    let uploads = Uploads::new();
    let outcome = use_case(&ports, requests, &terms, &|event| uploads.heard(event)).await;
    uploads.finish();
    let outcome = outcome?;

    let told = told(&outcome, json);
    // With `--wait --json` the records follow as they change; the first of them are the same.
    let written = if wait && json { Ok(()) } else { output::print(&told.accepted) };
    if output::is_watched() {
        output::complain(&told.notes);
    }
    output::complain(&told.failed);
    let refused = accepted(&outcome).count() < outcome.submitted.len()
        || accepted(&outcome).any(|record| record.output_problem.is_some());
    let status = match (&outcome.stopped, output::status(written)) {
        (Some(error), _) => crate::command::Explain::status(error),
        (None, ExitStatus::Done) if refused => ExitStatus::Failed,
        (None, status) => status,
    };
    let ids: Vec<JobId> = accepted(&outcome).map(|record| record.id).collect();
    if !wait || ids.is_empty() {
        return Ok(status);
    }
    let waited = watched(&jobs, &ids, json).await?;
    Ok(if status == ExitStatus::Done { waited } else { status })
}

/// What the flags ask for: one request for each argument, line of a list, and line of the manifest.
fn requests(arguments: SubmitArguments) -> Result<Vec<JobRequest>, SubmitError> {
    let SubmitArguments { audio, manifest, .. } = &arguments;
    let (audio, manifest) = (audio.clone(), manifest.clone());
    let wishes = wishes(arguments);
    let mut requests = Vec::new();
    for text in audio {
        if text == "-" {
            let named = |source| SubmitError::Manifest { name: "-".to_owned(), source };
            let list = manifest::read_list(io::stdin().lock()).map_err(named)?;
            requests.extend(list.into_iter().map(|audio| JobRequest { audio, wishes: wishes.clone() }));
        } else {
            requests.push(JobRequest { audio: text, wishes: wishes.clone() });
        }
    }
    if let Some(path) = manifest {
        for JobRequest { audio, wishes: own } in read_manifest(&path)? {
            requests.push(JobRequest { audio, wishes: own.or(&wishes) });
        }
    }
    let recordings = requests.len();
    if recordings == 0 {
        return Err(SubmitError::Nothing { name: "the list".to_owned(), shallow: false });
    }
    if wishes.transcript.is_some() && recordings > 1 {
        return Err(SubmitError::TranscriptForMany { recordings });
    }
    Ok(requests)
}

fn read_manifest(path: &Path) -> Result<Vec<JobRequest>, SubmitError> {
    let named = |source| SubmitError::Manifest { name: path.display().to_string(), source };
    if path.as_os_str() == "-" {
        return manifest::read(io::stdin().lock(), Path::new("")).map_err(named);
    }
    let file = File::open(path).map_err(|source| named(ManifestError::Unreadable { line: 0, source }))?;
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    manifest::read(BufReader::new(file), &folder).map_err(named)
}

fn wishes(arguments: SubmitArguments) -> Wishes {
    let speakers = match (arguments.num_speakers, arguments.min_speakers, arguments.max_speakers) {
        (Some(count), _, _) => Some(SpeakerCount::Exactly(count)),
        (None, None, None) => None,
        (None, min, max) => Some(SpeakerCount::Between(min, max)),
    };
    let formats: Vec<_> = arguments.formats.into_iter().map(Into::into).collect();
    Wishes {
        speakers,
        channels: arguments.channels.map(|channels| match channels {
            ChannelsFlag::Mix => Channels::Mix,
            ChannelsFlag::Separate => Channels::Separate,
        }),
        formats: (!formats.is_empty()).then(|| sorted(formats)),
        transcript: arguments.transcript,
        lane: arguments.priority,
        delay: arguments.delay,
        tags: arguments.tags.into_iter().collect::<BTreeMap<_, _>>(),
        callback_url: arguments.callback_url,
        idempotency_key: arguments.idempotency_key,
        bundle: arguments.bundle,
        output: arguments.output,
        attempts_max: arguments.max_attempts,
        timeout: arguments.timeout,
    }
}
