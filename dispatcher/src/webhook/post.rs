//! One POST: no redirects, no credentials, a bound on every wait.

use std::sync::Arc;
use std::time::Duration;

use common::adapter::web::{Audience, Dial, Internet, WebError, target};
use common::port::job_store::WebhookAnswer;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

/// Longest time from the name of the host to the head of its answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Longest detail that is remembered, characters.
const DETAIL_CHARS_MAX: usize = 200;

/// The way out, for addresses of the public internet and for those that an operator allowed.
pub struct Post {
    public: Arc<dyn Dial>,
    allowed: Arc<dyn Dial>,
}

impl Post {
    /// Trusts whom this machine trusts.
    ///
    /// # Errors
    /// When the machine has no certificates.
    pub fn new() -> Result<Self, WebError> {
        let dial = |audience| Ok(Arc::new(Internet::new(audience)?) as Arc<dyn Dial>);
        Ok(Self { public: dial(Audience::Public)?, allowed: dial(Audience::Allowed)? })
    }

    /// Both ways over one.
    #[cfg(test)]
    pub fn over(dial: Arc<dyn Dial>) -> Self {
        Self { public: Arc::clone(&dial), allowed: dial }
    }

    /// Posts a signed body; what came of it.
    pub async fn post(&self, url: &str, allowed: bool, signature: String, body: String) -> Posted {
        let (dial, audience) =
            if allowed { (&self.allowed, Audience::Allowed) } else { (&self.public, Audience::Public) };
        let answered = match target(url, audience) {
            Ok(uri) => match timeout(PATIENCE, send(&**dial, &uri, signature, body)).await {
                Ok(answered) => answered,
                Err(_) => Err(unavailable("no answer in time")),
            },
            Err(error) => Err(error),
        };
        posted(answered)
    }
}

/// What came of a POST.
#[derive(Debug)]
pub struct Posted {
    /// What the other side said.
    pub answer: WebhookAnswer,
    /// Whether it is of no use to try again: the address is none, or may not be told.
    pub hopeless: bool,
}

fn posted(answered: Result<u16, WebError>) -> Posted {
    let (status, detail, hopeless) = match answered {
        Ok(status) if (200..300).contains(&status) => (Some(status), String::new(), false),
        Ok(status) => (Some(status), format!("HTTP {status}"), false),
        Err(error) => {
            let hopeless = !matches!(error, WebError::Unavailable { .. });
            (None, error.to_string().chars().take(DETAIL_CHARS_MAX).collect(), hopeless)
        }
    };
    Posted { answer: WebhookAnswer { status, detail }, hopeless }
}

fn unavailable(error: impl ToString) -> WebError {
    WebError::Unavailable { detail: error.to_string() }
}

async fn send(dial: &dyn Dial, uri: &Uri, signature: String, body: String) -> Result<u16, WebError> {
    let pipe = dial.dial(uri).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(pipe)).await;
    let (mut sender, connection) = handshake.map_err(unavailable)?;
    // Ends when the sender is dropped, or with an error that the sender reports.
    let connection = tokio::spawn(connection);
    let request = Request::post(path(uri))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(USER_AGENT, concat!("rollcall/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .header("Rollcall-Signature", signature)
        .body(body)
        .map_err(|error| WebError::Missing { detail: format!("not an address: {error}") })?;
    let answer = sender.send_request(request).await;
    connection.abort();
    answer.map(|answer| answer.status().as_u16()).map_err(unavailable)
}

/// What is asked for at an address: its path and query, from `/` on.
fn path(uri: &Uri) -> String {
    let given = uri.path_and_query().map_or("", |whole| whole.as_str());
    if given.starts_with('/') { given.to_owned() } else { format!("/{given}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_root() {
        for (url, asked) in [
            ("https://h", "/"),
            ("https://h/", "/"),
            ("https://h?a=b", "/?a=b"),
            ("https://h/x?a=b", "/x?a=b"),
        ] {
            assert_eq!(path(&url.parse().unwrap()), asked, "{url}");
        }
    }

    #[test]
    fn what_may_not_be_told_is_not_tried_again() {
        let detail = || "why".to_owned();
        for (answered, hopeless) in [
            (Ok(503), false),
            (Err(WebError::Unavailable { detail: detail() }), false),
            (Err(WebError::Forbidden { detail: detail() }), true),
            (Err(WebError::Missing { detail: detail() }), true),
        ] {
            assert_eq!(posted(answered.clone()).hopeless, hopeless, "{answered:?}");
        }
    }
}
