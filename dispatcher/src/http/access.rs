//! Who asks, what for, and how often (contract, sections 8 and 10).
//!
//! Invariant: nothing that says or changes anything about jobs is reached but through [`admit`]: by whoever has a key with
//! the scope that the route needs, or, where the door is [`Door::Loopback`], under a loopback name and from no other site.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use common::job::digest::ContentDigest;
use common::port::job_store::JobStoreError;
use common::port::key_store::{ApiKey, KeyId, KeyStore as _, NewKey, Scope};
use common::random::Random;
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use super::service::{Door, Service};

/// What the text of a key begins with.
const PREFIX: &str = "rk_";
/// Tokens that a request without a right key costs: guessing is fifty times slower than asking.
const WRONG_COST: f64 = 50.0;
/// What is said of a wrong key, whatever is wrong with it.
const NOT_GOOD: &str = "the key is not good";

/// A new key: what is kept of it, and its text, which nobody sees again.
#[must_use]
pub fn new_key(name: &str, scopes: Vec<Scope>, random: &dyn Random) -> (NewKey, String) {
    let [a, b, c, d, e, f, ..] = random.bytes();
    let id = KeyId::new([a, b, c, d, e, f]);
    let secret: String =
        [random.bytes(), random.bytes()].iter().flatten().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{PREFIX}{id}_{secret}");
    (NewKey { id, name: name.to_owned(), sha256: ContentDigest::of(secret.as_bytes()), scopes }, text)
}

/// The id and the secret of a key's text.
fn parts(text: &str) -> Option<(KeyId, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Some((id.parse().ok()?, secret))
}

/// Whether this is the secret of the key.
fn opens(key: &ApiKey, secret: &str) -> bool {
    let given = ContentDigest::of(secret.as_bytes()).to_string();
    let same: bool = given.as_bytes().ct_eq(key.key.sha256.to_string().as_bytes()).into();
    same && key.revoked_at.is_none()
}

/// What a route needs; `None` for what tells nothing about anybody's jobs.
fn needed(method: &Method, path: &str) -> Option<Scope> {
    let api = path == "/metrics" || path.starts_with("/v1/");
    match *method {
        _ if !api => None,
        Method::GET | Method::HEAD => Some(Scope::Read),
        _ => Some(Scope::Submit),
    }
}

/// Whether a host, with or without a port, is a name of this machine for itself.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What keeps other sites out where no key does: a name that leads elsewhere (DNS rebinding), a page that makes a browser
/// ask (request forgery).
fn is_at_home(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host =
        uri.authority().map(|authority| authority.as_str()).or_else(|| text(&HOST)).unwrap_or_default();
    if !is_loopback_name(host) {
        return Err("without keys the `Host` has to be a name of this machine for itself");
    }
    if method.is_safe() {
        return Ok(());
    }
    let own = |origin: &str| origin.split_once("://").is_some_and(|(_, at)| at.eq_ignore_ascii_case(host));
    if text(&ORIGIN).is_some_and(|origin| !own(origin)) {
        return Err("without keys other sites may not ask: the `Origin` is not this one");
    }
    let site = text(&HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err("without keys other sites may not ask");
    }
    Ok(())
}

/// The layer.
pub async fn admit(State(service): State<Service>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match judge(&service, &head).await {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(problem) => problem.into_response(),
    }
}

async fn judge(service: &Service, request: &Parts) -> Result<(), Problem> {
    let (method, headers) = (&request.method, &request.headers);
    let path = request.uri.path();
    if matches!(path, "/healthz" | "/readyz") {
        return Ok(());
    }
    let door = service.rules.door;
    if door == Door::Loopback {
        is_at_home(method, &request.uri, headers).map_err(Problem::forbidden)?;
    }
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let peer = peer.map_or_else(|| "peer".to_owned(), |ip| format!("peer {ip}"));
    let Some(scope) = needed(method, path) else {
        // Behind a proxy everybody is one peer: who guesses keys must not take the dashboard's files from the others.
        return paced(service, &format!("files {peer}"));
    };
    if door == Door::Loopback && !headers.contains_key(AUTHORIZATION) {
        return paced(service, "loopback");
    }
    let key = keyed(service, &peer, headers).await?;
    paced(service, key.key.id.as_str())?;
    if key.key.allows(scope) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("the key {} lacks the scope `{}`", key.key.id, scope.as_str())))
}

/// The key of a request. A peer is counted before its key is looked up, so that guessing costs the job store no more than
/// asking may; a wrong key is charged for, a good one and an outage are not. A key that was good a moment ago is looked up
/// whatever its peer has done: others may be the same peer.
async fn keyed(service: &Service, peer: &str, headers: &HeaderMap) -> Result<ApiKey, Problem> {
    let now = service.clock().monotonic();
    let Some(given) = headers.get(AUTHORIZATION) else {
        // Nothing to look up, and nothing guessed.
        paced(service, peer)?;
        return Err(Problem::unauthorized("a key is needed"));
    };
    let shown = ContentDigest::of(given.as_bytes());
    let known = service.opened.knows(&shown, now);
    if !known {
        paced(service, peer)?;
    }
    let found = bearer(service, given).await;
    let counted = if known { 0.0 } else { 1.0 };
    match &found {
        Ok(Some(_)) => {
            service.opened.good(shown, now);
            service.rates.charge(peer, -counted, now);
        }
        Err(_) => service.rates.charge(peer, -counted, now),
        Ok(None) => {
            service.opened.wrong(&shown);
            service.rates.charge(peer, WRONG_COST - counted, now);
        }
    }
    match found {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(Problem::unauthorized(NOT_GOOD)),
        Err(error) => Err(error.into()),
    }
}

fn paced(service: &Service, who: &str) -> Result<(), Problem> {
    let taken = service.rates.take(who, service.clock().monotonic());
    taken.map_err(|wait| {
        let wait = wait.max(Duration::from_secs(1));
        Problem::busy(StatusCode::TOO_MANY_REQUESTS, "too many requests", wait)
    })
}

/// The key that a request shows; `None` when it is not good.
async fn bearer(service: &Service, given: &HeaderValue) -> Result<Option<ApiKey>, JobStoreError> {
    let Ok(text) = given.to_str() else { return Ok(None) };
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((id, secret)) = token.and_then(|(_, token)| parts(token.trim())) else { return Ok(None) };
    let found = service.jobs.find_key(&id).await?;
    Ok(found.filter(|key| opens(key, secret)))
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::random::OsRandom;

    use super::*;

    #[test]
    fn a_key_is_opened_by_its_text_alone() {
        let (key, text) = new_key("ci", vec![Scope::Submit], &OsRandom);
        assert_eq!(text.len(), 3 + 12 + 1 + 64);
        let (id, secret) = parts(&text).unwrap();
        assert_eq!(id, key.id);
        assert!(!format!("{key:?}").contains(secret), "the secret is not kept");
        let mut kept = ApiKey { key, created_at: Timestamp::from_millis(0), revoked_at: None };
        assert!(opens(&kept, secret));
        assert!(!opens(&kept, &secret[1..]) && !opens(&kept, "") && !opens(&kept, &secret.to_uppercase()));
        kept.revoked_at = Some(Timestamp::from_millis(1));
        assert!(!opens(&kept, secret));
        for text in
            ["", "rk_", "rk_000000000000", "rk_00000000000_x", "sk_000000000000_x", "rk_../../000000_x"]
        {
            assert!(parts(text).is_none(), "{text}");
        }
    }

    #[test]
    fn routes_need_their_scopes() {
        for (method, path, scope) in [
            (Method::GET, "/v1/jobs", Some(Scope::Read)),
            (Method::HEAD, "/v1/jobs/x/result", Some(Scope::Read)),
            (Method::POST, "/v1/jobs", Some(Scope::Submit)),
            (Method::DELETE, "/v1/jobs/x", Some(Scope::Submit)),
            (Method::PATCH, "/v1/anything/new", Some(Scope::Submit)),
            (Method::GET, "/metrics", Some(Scope::Read)),
            (Method::GET, "/", None),
            (Method::GET, "/openapi.json", None),
        ] {
            assert_eq!(needed(&method, path), scope, "{method} {path}");
        }
    }

    #[test]
    fn only_this_machine_is_at_home() {
        for host in ["localhost", "LocalHost:7700", "127.0.0.1:7700", "127.1.2.3", "[::1]:7700", "[::1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["", "example.org", "localhost.example.org", "127.0.0.1.nip.io:7700", "10.0.0.1", "[::2]:7700"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
        let judged = |method: Method, pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_at_home(&method, &Uri::from_static("/v1/jobs"), &HeaderMap::from_iter(pairs)).is_ok()
        };
        let host = ("host", "127.0.0.1:7700");
        assert!(judged(Method::POST, &[host]), "a program sends no origin");
        assert!(judged(Method::POST, &[host, ("origin", "http://127.0.0.1:7700")]));
        assert!(judged(Method::POST, &[host, ("sec-fetch-site", "same-origin")]));
        assert!(judged(Method::GET, &[host, ("origin", "http://evil.example")]), "it cannot read the answer");
        for wrong in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:7701"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!judged(Method::POST, &[host, wrong]), "{wrong:?}");
        }
        assert!(!judged(Method::GET, &[("host", "evil.example:7700")]));
        assert!(!judged(Method::GET, &[]));
    }
}
