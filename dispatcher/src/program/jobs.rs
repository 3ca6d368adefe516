//! The commands about jobs.

use std::io;
use std::path::Path;

use common::job::id::JobId;
use common::job::record::JobRecord;
use common::job::spec::DocumentFormat;
use common::port::job_store::{JobFilter, JobStore};

use super::{Ended, now};
use crate::cli::submit::FormatFlag;
use crate::cli::{DeadCommand, JobsArguments, ListArguments, ResultArguments, StatusArguments};
use crate::command::error::FleetError;
use crate::command::follow::{all_completed, follow};
use crate::command::{ExitStatus, dead as dead_letters, jobs, result as results};
use crate::output::bars::Bars;
use crate::output::records::{self, Told};
use crate::settings::Settings;
use crate::{connect, output};

impl From<FormatFlag> for DocumentFormat {
    fn from(flag: FormatFlag) -> Self {
        match flag {
            FormatFlag::Json => Self::Json,
            FormatFlag::Rttm => Self::Rttm,
            FormatFlag::Srt => Self::Srt,
            FormatFlag::Vtt => Self::Vtt,
            FormatFlag::Html => Self::Html,
            FormatFlag::Txt => Self::Txt,
        }
    }
}

pub(super) async fn status(arguments: &StatusArguments, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    let found = jobs::records(&store, &arguments.jobs).await?;
    Ok(output::status(output::print(&blocks(&found, arguments.json))))
}

/// Records as JSON lines, or as blocks with a blank line between them.
fn blocks(found: &[JobRecord], json: bool) -> String {
    if json {
        return found.iter().map(records::json).collect();
    }
    let now = now();
    found.iter().map(|record| records::block(record, now)).collect::<Vec<_>>().join("\n")
}

pub(super) async fn list(arguments: ListArguments, settings: &Settings) -> Ended {
    let ListArguments { state, tag, limit, json } = arguments;
    let store = connect::job_store(settings)?;
    let found =
        jobs::list(&store, JobFilter { state, tag, limit: usize::from(limit), ..JobFilter::default() })
            .await?;
    let text =
        if json { records::json_array(&found) } else { records::table(&found, now(), output::width()) };
    Ok(output::status(output::print(&text)))
}

pub(super) async fn watch(arguments: &JobsArguments, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    watched(&store, &arguments.jobs, arguments.json).await
}

/// Shows the progress of jobs until they are over; as JSON, every change is a line on stdout.
pub(super) async fn watched(store: &impl JobStore, ids: &[JobId], json: bool) -> Ended {
    let mut bars = Bars::new(ids.len(), !json && output::is_watched());
    let mut last = std::collections::BTreeMap::new();
    let mut written = Ok(());
    let mut seen = |record: &JobRecord| {
        if !json {
            bars.seen(record);
        } else if record.state.is_final() && !record.is_over() {
            // Its documents are not there yet.
        } else if last.get(&record.id) != Some(record) {
            last.insert(record.id, record.clone());
            if written.is_ok() {
                written = output::print(&records::json(record));
            }
        }
    };
    let ended = follow(store, ids, &mut seen).await;
    bars.finish();
    let ended = ended?;
    Ok(verdict(&ended, written))
}

pub(super) async fn wait(arguments: &JobsArguments, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    let ended = follow(&store, &arguments.jobs, &mut |_| {}).await?;
    let line = |record: &JobRecord| {
        if arguments.json { records::json(record) } else { format!("{}\n", records::ended(record)) }
    };
    let text: String = ended.iter().map(line).collect();
    Ok(verdict(&ended, output::print(&text)))
}

/// 0 when all completed and the output was written.
fn verdict(ended: &[JobRecord], written: io::Result<()>) -> ExitStatus {
    match output::status(written) {
        ExitStatus::Done if !all_completed(ended) => ExitStatus::Failed,
        status => status,
    }
}

pub(super) async fn result(arguments: &ResultArguments, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    // Making the store's client takes as long as asking for the record.
    let (record, objects) =
        futures::join!(results::completed(&store, arguments.job), connect::object_store(settings));
    let bytes = results::document(&objects?, &record?, arguments.format.into()).await?;
    match &arguments.output {
        None => Ok(output::status(output::print_bytes(&bytes))),
        Some(path) => {
            write_whole(path, &bytes).map_err(|source| FleetError::Write { path: path.clone(), source })?;
            Ok(ExitStatus::Done)
        }
    }
}

/// A file appears whole or not at all; what is no regular file (`/dev/stdout`, a pipe) is written to as it is.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(path, bytes);
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

pub(super) async fn cancel(arguments: &JobsArguments, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    let changed = jobs::cancel(&store, &arguments.jobs).await?;
    told(&store, records::cancelled(&changed), &arguments.jobs, arguments.json, None).await
}

pub(super) async fn retry(arguments: &JobsArguments, settings: &Settings) -> Ended {
    let (store, broker) = (connect::job_store(settings)?, connect::queue(settings)?);
    let again = jobs::retry(&store, &broker, &arguments.jobs).await?;
    told(&store, records::retried(&again.jobs), &arguments.jobs, arguments.json, again.silent).await
}

/// Prints what became of jobs: lines, or their records as JSON lines.
async fn told(
    store: &impl JobStore,
    told: Told,
    ids: &[JobId],
    json: bool,
    silent: Option<FleetError>,
) -> Ended {
    let mut text = told.done;
    if json {
        text = String::new();
        for job in ids {
            if let Some(record) = store.get(*job).await.map_err(FleetError::from)? {
                text.push_str(&records::json(&record));
            }
        }
    }
    let written = output::print(&text);
    if let Some(error) = silent {
        output::note(&format!("the queue was not told, a worker or `rollcall serve` will: {error}"));
    }
    if told.failed.is_empty() {
        return Ok(output::status(written));
    }
    output::complain(&told.failed);
    Ok(ExitStatus::Failed)
}

pub(super) async fn dead(command: DeadCommand, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    match command {
        DeadCommand::List(arguments) => {
            let found = dead_letters::list(&store, usize::from(arguments.limit)).await?;
            let text = if arguments.json.json {
                records::json_array(&found)
            } else {
                records::dead_table(&found, now(), output::width())
            };
            Ok(output::status(output::print(&text)))
        }
        DeadCommand::Show(arguments) => {
            let found = jobs::records(&store, &arguments.jobs).await?;
            Ok(output::status(output::print(&blocks(&found, arguments.json))))
        }
        DeadCommand::Requeue(arguments) => {
            let broker = connect::queue(settings)?;
            let ids = dead_letters::meant(&store, arguments.jobs, arguments.all).await?;
            let again = dead_letters::requeue(&store, &broker, &ids).await?;
            told(&store, records::retried(&again.jobs), &ids, arguments.json.json, again.silent).await
        }
        DeadCommand::Purge(arguments) => {
            let ids = dead_letters::meant(&store, arguments.jobs, arguments.all).await?;
            let purged = records::purged(&dead_letters::purge(&store, &ids).await?);
            // A forgotten job has no record left to print: with `--json` its id stands for it.
            let json = arguments.json.json;
            let text = if json { records::forgotten_json(&purged) } else { purged.done.clone() };
            told(&store, Told { done: text, failed: purged.failed }, &[], false, None).await
        }
    }
}
