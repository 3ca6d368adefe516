//! Keys and deliveries: tables and JSON.

use common::clock::Timestamp;
use common::port::job_store::{Delivery, WebhookOutcome};
use common::port::key_store::{ApiKey, Scope};
use serde::Serialize;

use super::json_line;
use super::length::short;
use super::table::Table;
use crate::command::keys::Made;

#[derive(Serialize)]
struct MadeDocument<'a> {
    id: &'a str,
    key: &'a str,
}

/// A new key: its text in a line of its own.
#[must_use]
pub fn made(made: &Made, json: bool) -> String {
    if json {
        return json_line(&MadeDocument { id: made.id.as_str(), key: &made.text });
    }
    format!("{}\n", made.text)
}

#[derive(Serialize)]
struct KeyDocument<'a> {
    id: &'a str,
    name: &'a str,
    scopes: Vec<&'static str>,
    created_at: String,
    revoked_at: Option<String>,
}

impl<'a> From<&'a ApiKey> for KeyDocument<'a> {
    fn from(key: &'a ApiKey) -> Self {
        Self {
            id: key.key.id.as_str(),
            name: &key.key.name,
            scopes: key.key.scopes.iter().map(|scope| scope.as_str()).collect(),
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// Keys as a JSON array in one line.
#[must_use]
pub fn keys_json(keys: &[ApiKey]) -> String {
    json_line(&keys.iter().map(KeyDocument::from).collect::<Vec<_>>())
}

/// A line a key.
#[must_use]
pub fn keys(keys: &[ApiKey], now: Timestamp, width: Option<usize>) -> String {
    let mut table = Table::new(&["id", "name", "scopes", "made", "revoked"]).flexible(1, 8);
    for key in keys {
        let ago = |at: Timestamp| format!("{} ago", short(now.since(at)));
        let scopes: Vec<_> = key.key.scopes.iter().map(|scope: &Scope| scope.as_str()).collect();
        table.row([
            key.key.id.to_string(),
            key.key.name.clone(),
            scopes.join(","),
            ago(key.created_at),
            key.revoked_at.map(ago).unwrap_or_default(),
        ]);
    }
    table.render(width)
}

#[derive(Serialize)]
struct DeliveryDocument<'a> {
    job: String,
    at: String,
    tries: u32,
    outcome: &'static str,
    again_in_s: Option<f64>,
    status: Option<u16>,
    detail: &'a str,
}

impl<'a> From<&'a Delivery> for DeliveryDocument<'a> {
    fn from(told: &'a Delivery) -> Self {
        let again_in_s = match told.outcome {
            WebhookOutcome::Again { after } => Some(after.as_secs_f64()),
            WebhookOutcome::Done | WebhookOutcome::GivenUp => None,
        };
        Self {
            job: told.job.to_string(),
            at: told.at.to_string(),
            tries: told.tries,
            outcome: word(told.outcome),
            again_in_s,
            status: told.answer.status,
            detail: &told.answer.detail,
        }
    }
}

fn word(outcome: WebhookOutcome) -> &'static str {
    match outcome {
        WebhookOutcome::Done => "delivered",
        WebhookOutcome::GivenUp => "given up",
        WebhookOutcome::Again { .. } => "again",
    }
}

/// Deliveries as a JSON array in one line.
#[must_use]
pub fn deliveries_json(deliveries: &[Delivery]) -> String {
    json_line(&deliveries.iter().map(DeliveryDocument::from).collect::<Vec<_>>())
}

/// A line a delivery.
#[must_use]
pub fn deliveries(deliveries: &[Delivery], now: Timestamp, width: Option<usize>) -> String {
    let mut table = Table::new(&["job", "when", "try", "outcome", "answer"]).number(2).flexible(4, 12);
    for told in deliveries {
        let outcome = match told.outcome {
            WebhookOutcome::Again { after } => format!("again after {}", short(after)),
            other => word(other).to_owned(),
        };
        let answer = match told.answer.status {
            Some(status) => format!("HTTP {status}"),
            None => told.answer.detail.clone(),
        };
        table.row([
            told.job.to_string(),
            format!("{} ago", short(now.since(told.at))),
            told.tries.to_string(),
            outcome,
            answer,
        ]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::job::digest::ContentDigest;
    use common::job::id::JobId;
    use common::port::job_store::WebhookAnswer;
    use common::port::key_store::{KeyId, NewKey};

    use super::*;

    #[test]
    fn keys_are_shown_without_their_secrets() {
        let key = NewKey {
            id: KeyId::new([1; 6]),
            name: "ci \u{1b}[31m".to_owned(),
            sha256: ContentDigest::of(b"secret"),
            scopes: vec![Scope::Read, Scope::Submit],
        };
        let key = ApiKey { key, created_at: Timestamp::from_millis(0), revoked_at: None };
        let table = keys(std::slice::from_ref(&key), Timestamp::from_millis(60_000), None);
        assert!(table.contains("010101010101  ci ·[31m  read,submit  "), "{table}");
        let json = keys_json(&[key]);
        assert!(json.contains(r#""scopes":["read","submit"]"#) && !json.contains("sha256"), "{json}");
    }

    #[test]
    fn deliveries_say_what_follows() {
        let told = |outcome, status| Delivery {
            job: JobId::new(Timestamp::from_millis(0), [0; 16]),
            at: Timestamp::from_millis(0),
            tries: 3,
            outcome,
            answer: WebhookAnswer { status, detail: "refused".to_owned() },
        };
        let all = [
            told(WebhookOutcome::Again { after: Duration::from_secs(4) }, None),
            told(WebhookOutcome::Done, Some(204)),
        ];
        let table = deliveries(&all, Timestamp::from_millis(5_000), None);
        assert!(
            table.contains("again after 4") && table.contains("refused") && table.contains("HTTP 204"),
            "{table}"
        );
        let json = deliveries_json(&all);
        assert!(
            json.contains(r#""again_in_s":4.0,"status":null"#) && json.contains(r#""status":204"#),
            "{json}"
        );
    }
}
