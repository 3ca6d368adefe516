//! `rollcall speakers`: flags to use cases, and what is printed.

use common::clock::SystemClock;
use common::job::id::JobId;
use common::random::OsRandom;
use common::reach::{Reach, StoreUrl};
use common::speech::render::printable::one_line;

use super::Ended;
use super::jobs::watched;
use crate::cli::SpeakersCommand;
use crate::cli::speakers::EnrollArguments;
use crate::command::error::FleetError;
use crate::command::{ExitStatus, speakers as voices};
use crate::output::submitted::{Uploads, accepted, told};
use crate::settings::Settings;
use crate::submit::enroll::{Lesson, enroll as use_case};
use crate::submit::{Ports, Terms};
use crate::{connect, output};

pub(super) async fn speakers(command: SpeakersCommand, settings: &Settings) -> Ended {
    match command {
        SpeakersCommand::Enroll(arguments) => enroll(arguments, settings).await,
        SpeakersCommand::List(arguments) => {
            let objects = connect::object_store(settings).await?;
            let known = voices::list(&objects, arguments.bundle.as_deref()).await?;
            if arguments.json {
                return Ok(output::status(output::print(&output::speakers::list_json(&known))));
            }
            if known.is_empty() {
                output::note("no voice is known; `rollcall speakers enroll NAME AUDIO` learns one");
            }
            Ok(output::status(output::print(&output::speakers::list(&known, output::width()))))
        }
        SpeakersCommand::Remove(arguments) => {
            let objects = connect::object_store(settings).await?;
            let (removed, unknown) =
                voices::remove(&objects, &arguments.names, arguments.bundle.as_deref()).await?;
            let line = |(bundle, name): &(String, String)| format!("{name}  removed from {bundle}\n");
            let written = output::print(&removed.iter().map(line).collect::<String>());
            if unknown.is_empty() {
                return Ok(output::status(written));
            }
            let told = |name: &String| format!("error: no such voice: `{}`\n", one_line(name));
            output::complain(&unknown.iter().map(told).collect::<String>());
            Ok(ExitStatus::Failed)
        }
    }
}

async fn enroll(arguments: EnrollArguments, settings: &Settings) -> Ended {
    let EnrollArguments { name, audio, bundle, recursive, no_wait, json } = arguments;
    let url = settings.store_url.value.as_deref().ok_or(FleetError::NoStore)?;
    let terms = Terms {
        recursive,
        cache: false,
        force: false,
        reach: Reach::new(StoreUrl::new(url), settings.allow.value.clone()),
        signs_webhooks: false,
    };
    let (jobs, broker) = (connect::job_store(settings)?, connect::queue(settings)?);
    let objects = connect::object_store(settings).await?;
    let (clock, random) = (SystemClock::new(), OsRandom);
    let ports = Ports { jobs: &jobs, broker: &broker, objects: &objects, clock: &clock, random: &random };
    let uploads = Uploads::new();
    let lesson = Lesson { name, audio, bundle };
    let outcome = use_case(&ports, &lesson, &terms, &|event| uploads.heard(event)).await;
    uploads.finish();
    let outcome = outcome?;
    let told = told(&outcome, json);
    output::complain(&told.failed);
    let ids: Vec<JobId> = accepted(&outcome).map(|record| record.id).collect();
    if ids.is_empty() {
        return Ok(ExitStatus::Failed);
    }
    if no_wait {
        return Ok(output::status(output::print(&told.accepted)));
    }
    let ended = watched(&jobs, &ids, json).await?;
    if ended == ExitStatus::Done && !json {
        return Ok(output::status(output::print(&format!("{}  is known now\n", one_line(&lesson.name)))));
    }
    Ok(ended)
}
