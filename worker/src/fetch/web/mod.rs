//! `https://` sources: without anybody's credentials, from public addresses only, which is checked when connecting and
//! after each redirect; resumed where an answer broke off.

mod body;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use common::adapter::web::{Audience, Dial, WebError, target};
use common::port::object_store::content::Body;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, IF_RANGE, LOCATION, RANGE, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use body::{Reading, Version};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// Times that a source which is busy, or a connection that fails, is asked again.
const TRIES: u32 = 3;
/// Wait before asking again; doubled.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for the head of an answer.
const HEAD: Duration = Duration::from_secs(30);

/// Reads from the web; clones share nothing but the way to connect.
#[derive(Clone)]
pub struct Web {
    dial: Arc<dyn Dial>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Web")
    }
}

/// A source on the web, opened: its length where the server says it.
#[derive(Debug)]
pub struct Found {
    /// Length, bytes.
    pub bytes: Option<u64>,
    /// The bytes.
    pub body: Body,
}

/// What to ask for again: bytes from `start` on, of the same version.
struct Rest<'a> {
    start: u64,
    version: &'a Version,
}

impl Web {
    /// With this way to connect.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial }
    }

    /// Opens a source.
    ///
    /// # Errors
    /// See [`WebError`].
    pub async fn open(&self, uri: &str) -> Result<Found, WebError> {
        let mut uri = target(uri, Audience::Public)?;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&uri, None).await?;
            if answer.status().is_redirection() {
                uri = redirected(&uri, &answer)?;
                continue;
            }
            let bytes = length(&answer);
            let version = Version::of(answer.headers());
            let reading = Reading::new(self.clone(), uri, version, bytes, answer.into_body());
            return Ok(Found { bytes, body: Body::new(reading) });
        }
        Err(WebError::Missing { detail: format!("more than {REDIRECTS_MAX} redirects") })
    }

    /// Asks until there is an answer that means something.
    async fn ask(&self, uri: &Uri, rest: Option<Rest<'_>>) -> Result<Response<Incoming>, WebError> {
        let (mut tries, mut pause) = (1, PAUSE);
        loop {
            match self.once(uri, rest.as_ref()).await {
                Err(WebError::Unavailable { .. }) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
    }

    async fn once(&self, uri: &Uri, rest: Option<&Rest<'_>>) -> Result<Response<Incoming>, WebError> {
        let unavailable = |error: hyper::Error| WebError::Unavailable { detail: error.to_string() };
        let pipe = self.dial.dial(uri).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(pipe)).await.map_err(unavailable)?;
        // Ends with the answer's body or with an error, which the body reports as well.
        tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |whole| whole.as_str());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::get(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "identity");
        if let Some(rest) = rest {
            request = request.header(RANGE, format!("bytes={}-", rest.start));
            if let Some(value) = rest.version.value() {
                request = request.header(IF_RANGE, value);
            }
        }
        let request = request
            .body(String::new())
            .map_err(|error| WebError::Missing { detail: format!("not an address: {error}") })?;
        let answer = timeout(HEAD, sender.send_request(request)).await;
        let late = |_| WebError::Unavailable { detail: "no answer in time".to_owned() };
        judged(answer.map_err(late)?.map_err(unavailable)?)
    }
}

/// An answer with something in it, or a redirect; else what the refusal means.
fn judged(answer: Response<Incoming>) -> Result<Response<Incoming>, WebError> {
    let status = answer.status();
    let detail = format!("HTTP {status}");
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
        _ if status.is_redirection() => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(WebError::Forbidden { detail }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(WebError::Unavailable { detail }),
        _ if status.is_server_error() => Err(WebError::Unavailable { detail }),
        _ => Err(WebError::Missing { detail }),
    }
}

/// Where a redirect leads: another `https` address, or a path of the same host.
fn redirected(from: &Uri, answer: &Response<Incoming>) -> Result<Uri, WebError> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let missing = || WebError::Missing { detail: "a redirect to nowhere".to_owned() };
    let location = location.ok_or_else(missing)?;
    if location.starts_with('/') && !location.starts_with("//") {
        let authority = from.authority().ok_or_else(missing)?;
        return target(&format!("https://{authority}{location}"), Audience::Public);
    }
    target(location, Audience::Public)
}

fn length(answer: &Response<Incoming>) -> Option<u64> {
    answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
