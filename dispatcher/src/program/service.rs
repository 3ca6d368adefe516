//! `serve`, and the commands about its keys and webhooks.

use common::port::job_store::JobStore as _;
use common::random::OsRandom;
use common::reach::{Reach, StoreUrl};
use common::telemetry::metrics;
use tokio_util::sync::CancellationToken;

use super::{Ended, now};
use crate::cli::{KeysCommand, ServeArguments, WebhooksCommand};
use crate::command::error::FleetError;
use crate::command::{ExitStatus, keys as api_keys, serve as serving};
use crate::http::Rules;
use crate::output::service as shown;
use crate::settings::Settings;
use crate::submit::Terms;
use crate::{connect, output};

pub(super) async fn serve(arguments: &ServeArguments, settings: &Settings) -> Ended {
    let url = settings.store_url.value.as_deref().ok_or(FleetError::NoStore)?;
    let terms = Terms {
        recursive: false,
        cache: true,
        force: false,
        reach: Reach::new(StoreUrl::new(url), settings.allow.value.clone()),
        signs_webhooks: settings.webhook_secret.value.is_some(),
    };
    let rules = Rules {
        door: serving::door(arguments.listen, arguments.require_keys),
        upload_bytes_max: arguments.max_upload,
        requests_per_s: arguments.rate,
        patience: arguments.patience,
        ..Rules::default()
    };
    let secret = settings.webhook_secret.value.clone();
    let plan = serving::Plan { listen: arguments.listen, terms, secret, rules };
    let ports =
        (connect::job_store(settings)?, connect::queue(settings)?, connect::streaming_store(settings).await?);
    metrics::start(metrics::Role::Service);
    tokio::spawn(metrics::tidy());
    let stop = CancellationToken::new();
    tokio::spawn(told_to_stop(stop.clone()));
    let listening = |address| tracing::info!(%address, "listening");
    Ok(serving::run(ports, plan, stop, listening).await?)
}

/// Cancels `stop` at SIGTERM or SIGINT.
async fn told_to_stop(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            // Without a handler the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.cancel();
}

pub(super) async fn keys(command: KeysCommand, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    match command {
        KeysCommand::Create(arguments) => {
            let made = api_keys::create(&store, &arguments.name, arguments.scopes, &OsRandom).await?;
            if !arguments.json.json && output::is_watched() {
                output::note("keep it: it is not shown again");
            }
            Ok(output::status(output::print(&shown::made(&made, arguments.json.json))))
        }
        KeysCommand::List(json) => {
            let all = api_keys::list(&store).await?;
            let text =
                if json.json { shown::keys_json(&all) } else { shown::keys(&all, now(), output::width()) };
            Ok(output::status(output::print(&text)))
        }
        KeysCommand::Revoke(arguments) => {
            let (mut text, mut failed) = (String::new(), String::new());
            for id in &arguments.ids {
                match api_keys::revoke(&store, id).await {
                    Ok(true) => text.push_str(&format!("{id} revoked\n")),
                    Ok(false) => text.push_str(&format!("{id} was revoked before\n")),
                    Err(error @ FleetError::UnknownKey { .. }) => {
                        failed.push_str(&format!("error: {error}\n"))
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(ended(output::print(&text), &failed))
        }
    }
}

pub(super) async fn webhooks(command: WebhooksCommand, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    match command {
        WebhooksCommand::List(arguments) => {
            let told = store.deliveries(usize::from(arguments.limit)).await.map_err(FleetError::from)?;
            let text = if arguments.json.json {
                shown::deliveries_json(&told)
            } else {
                shown::deliveries(&told, now(), output::width())
            };
            Ok(output::status(output::print(&text)))
        }
        WebhooksCommand::Redeliver(arguments) => {
            let (mut text, mut failed) = (String::new(), String::new());
            for job in arguments.jobs {
                match store.redeliver(job).await.map_err(FleetError::from)? {
                    Some(true) => text.push_str(&format!("{job} is delivered again\n")),
                    Some(false) => {
                        failed.push_str(&format!("error: nobody is to be told of it, or not yet: {job}\n"))
                    }
                    None => failed.push_str(&format!("error: no such job: `{job}`\n")),
                }
            }
            Ok(ended(output::print(&text), &failed))
        }
    }
}

/// What came of several things, after the good news was printed.
fn ended(written: std::io::Result<()>, failed: &str) -> ExitStatus {
    output::complain(failed);
    if failed.is_empty() { output::status(written) } else { ExitStatus::Failed }
}
