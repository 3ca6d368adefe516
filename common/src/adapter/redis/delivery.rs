//! Tries to deliver a webhook as text: `{at} {tries} {json}`; the first two are put before by the script.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::codec::unreadable;
use crate::clock::{Timestamp, millis};
use crate::job::id::JobId;
use crate::port::job_store::{Delivery, StoreResult, WebhookAnswer, WebhookOutcome};

#[derive(Serialize, Deserialize)]
struct Wire {
    job: String,
    outcome: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Done,
    Again,
    GivenUp,
}

pub fn write_delivery(job: JobId, outcome: WebhookOutcome, answer: &WebhookAnswer) -> String {
    let (outcome, after_ms) = match outcome {
        WebhookOutcome::Done => (Word::Done, None),
        WebhookOutcome::GivenUp => (Word::GivenUp, None),
        WebhookOutcome::Again { after } => (Word::Again, Some(millis(after))),
    };
    let (status, detail) = (answer.status, answer.detail.clone());
    let wire = Wire { job: job.to_string(), outcome, after_ms, status, detail };
    serde_json::to_string(&wire).expect("texts and numbers always have a JSON form")
}

pub fn read_delivery(text: &str) -> StoreResult<Delivery> {
    let wrong = || unreadable("delivery", text);
    let mut parts = text.splitn(3, ' ');
    let mut part = || parts.next().ok_or_else(wrong);
    let (at, tries, json) = (part()?, part()?, part()?);
    let wire: Wire = serde_json::from_str(json).map_err(|_| wrong())?;
    let outcome = match wire.outcome {
        Word::Done => WebhookOutcome::Done,
        Word::GivenUp => WebhookOutcome::GivenUp,
        Word::Again => {
            WebhookOutcome::Again { after: Duration::from_millis(wire.after_ms.ok_or_else(wrong)?) }
        }
    };
    Ok(Delivery {
        job: wire.job.parse().map_err(|_| wrong())?,
        at: Timestamp::from_millis(at.parse().map_err(|_| wrong())?),
        tries: tries.parse().map_err(|_| wrong())?,
        outcome,
        answer: WebhookAnswer { status: wire.status, detail: wire.detail },
    })
}
