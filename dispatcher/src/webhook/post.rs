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

    /// Posts a signed body; what came of it.
    pub async fn post(&self, url: &str, allowed: bool, signature: String, body: String) -> WebhookAnswer {
        let (dial, audience) =
            if allowed { (&self.allowed, Audience::Allowed) } else { (&self.public, Audience::Public) };
        let answered = match target(url, audience) {
            Ok(uri) => match timeout(PATIENCE, send(&**dial, &uri, signature, body)).await {
                Ok(answered) => answered,
                Err(_) => Err("no answer in time".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        };
        match answered {
            Ok(status) if (200..300).contains(&status) => {
                WebhookAnswer { status: Some(status), detail: String::new() }
            }
            Ok(status) => WebhookAnswer { status: Some(status), detail: format!("HTTP {status}") },
            Err(detail) => {
                WebhookAnswer { status: None, detail: detail.chars().take(DETAIL_CHARS_MAX).collect() }
            }
        }
    }
}

async fn send(dial: &dyn Dial, uri: &Uri, signature: String, body: String) -> Result<u16, String> {
    let pipe = dial.dial(uri).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(pipe)).await.map_err(|error| error.to_string())?;
    // Ends when the sender is dropped, or with an error that the sender reports.
    let connection = tokio::spawn(connection);
    let request = Request::post(uri.path_and_query().map_or("/", |whole| whole.as_str()))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(USER_AGENT, concat!("rollcall/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .header("Rollcall-Signature", signature)
        .body(body)
        .map_err(|error| format!("not an address: {error}"))?;
    let answer = sender.send_request(request).await;
    connection.abort();
    answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
}
