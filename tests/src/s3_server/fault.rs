//! What goes wrong on the way to the server and back, by rules.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, HttpError};

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The request is answered with this status and nothing is done.
    Answer {
        /// Such as 503.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// The request waits before it is done.
    Delay(Duration),
    /// The connection ends before anything is done.
    LoseRequest,
    /// Everything is done and the connection ends without an answer.
    LoseAnswer,
    /// The connection ends after so many bytes of the answer's body.
    Cut {
        /// Bytes that still come.
        after_bytes: u64,
    },
    /// Nothing comes any more after so many bytes of the answer's body, and the connection stays open.
    Silence {
        /// Bytes that still come.
        after_bytes: u64,
    },
    /// One byte of the answer's body is wrong.
    Flip {
        /// Which, from 0.
        at_byte: u64,
    },
}

/// When something goes wrong.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Only requests of this method.
    pub method: Option<Method>,
    /// Only requests whose path and query contain this.
    pub contains: String,
    /// So many requests are let through first.
    pub skip: u32,
    /// Then it happens so often.
    pub times: u32,
    /// What happens.
    pub fault: Fault,
}

/// The rules in force, and what was asked so far.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<String>>,
    /// Of a million requests, so many go wrong at random.
    rate_ppm: AtomicU64,
    random: AtomicU64,
}

/// Requests that are remembered for tests.
const REQUESTS_MAX: usize = 10_000;

impl Faults {
    /// Adds a rule; the first that fits decides.
    pub fn add(&self, rule: Rule) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// `fault` for the next `times` requests of a method whose address contains a text.
    pub fn next(&self, method: Method, contains: &str, times: u32, fault: Fault) {
        self.add(Rule { method: Some(method), contains: contains.to_owned(), skip: 0, times, fault });
    }

    /// Lets a share of all requests fail with 503, delay, a lost answer or a cut.
    pub fn at_random(&self, rate: f64, seed: u64) {
        self.rate_ppm.store((rate.clamp(0.0, 1.0) * 1e6) as u64, Ordering::Relaxed);
        self.random.store(seed, Ordering::Relaxed);
    }

    /// The requests so far whose line contains a text: `METHOD path?query range`.
    #[must_use]
    pub fn requests(&self, contains: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|line| line.contains(contains)).cloned().collect()
    }

    fn decide(&self, request: &Request<Incoming>) -> Option<Fault> {
        let address = request.uri().path_and_query().map_or("", |whole| whole.as_str());
        let range = request.headers().get("range").and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < REQUESTS_MAX {
            requests.push(format!("{} {address} {range}", request.method()));
        }
        drop(requests);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |rule: &&mut Rule| {
            rule.times > 0
                && rule.method.as_ref().is_none_or(|method| method == request.method())
                && address.contains(&rule.contains)
        };
        let Some(rule) = rules.iter_mut().find(fits) else {
            return self.decide_at_random();
        };
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    fn decide_at_random(&self) -> Option<Fault> {
        let rate = self.rate_ppm.load(Ordering::Relaxed);
        if rate == 0 {
            return None;
        }
        // Splitmix64: the same seed gives the same sequence of faults.
        let seed = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let drawn = mixed ^ (mixed >> 31);
        (drawn % 1_000_000 < rate).then(|| match (drawn >> 40) % 5 {
            0 => Fault::Answer { status: 500, retry_after_s: None },
            1 => Fault::Answer { status: 503, retry_after_s: None },
            2 => Fault::Delay(Duration::from_millis((drawn >> 44) % 300)),
            3 => Fault::LoseAnswer,
            _ => Fault::Cut { after_bytes: (drawn >> 44) % 4096 },
        })
    }
}

/// The server behind its faults.
#[derive(Clone)]
pub(super) struct FaultyService {
    pub(super) inner: S3Service,
    pub(super) faults: Arc<Faults>,
}

impl hyper::service::Service<Request<Incoming>> for FaultyService {
    type Response = Response<Body>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Response<Body>, HttpError>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let fault = self.faults.decide(&request);
        let inner = self.inner.clone();
        Box::pin(async move {
            let lost = || Err(HttpError::new("a fault of the test".into()));
            match fault {
                Some(Fault::Answer { status, retry_after_s }) => return Ok(answer(status, retry_after_s)),
                Some(Fault::LoseRequest) => return lost(),
                Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
                _ => {}
            }
            let response = hyper::service::Service::call(&inner, request).await?;
            let (after, then) = match fault {
                Some(Fault::LoseAnswer) => return lost(),
                Some(Fault::Cut { after_bytes }) => (after_bytes, Then::Cut),
                Some(Fault::Silence { after_bytes }) => (after_bytes, Then::Silence),
                Some(Fault::Flip { at_byte }) => (at_byte, Then::Flip),
                _ => return Ok(response),
            };
            Ok(response.map(|body| Body::http_body_unsync(Torn { body, after, then, pause: None })))
        })
    }
}

fn answer(status: u16, retry_after_s: Option<u64>) -> Response<Body> {
    let code = match status {
        503 => "SlowDown",
        403 => "AccessDenied",
        _ => "InternalError",
    };
    let xml = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a fault of the test</Message></Error>"
    );
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Cut,
    Silence,
    Flip,
    Pass,
}

/// A body that goes wrong after some bytes.
struct Torn {
    body: Body,
    after: u64,
    then: Then,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// Long enough for bytes to reach the client on a busy machine.
const BEFORE_CUT: Duration = Duration::from_millis(50);

impl hyper::body::Body for Torn {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let this = &mut *self;
        if this.after == 0 && this.then == Then::Cut {
            // What was sent has to leave before the end does, or it is lost with the connection.
            let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(BEFORE_CUT)));
            std::task::ready!(pause.as_mut().poll(context));
            return Poll::Ready(Some(Err("a fault of the test".into())));
        }
        if this.after == 0 && this.then == Then::Silence {
            // Never woken: the client has to give up.
            return Poll::Pending;
        }
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let Ok(mut bytes) = frame.into_data() else {
            return Poll::Ready(None);
        };
        match this.then {
            Then::Cut | Then::Silence => {
                bytes.truncate(usize::try_from(this.after).unwrap_or(usize::MAX));
                this.after -= bytes.len() as u64;
            }
            Then::Flip if (bytes.len() as u64) > this.after => {
                let mut wrong = bytes.to_vec();
                wrong[this.after as usize] ^= 1;
                bytes = wrong.into();
                this.then = Then::Pass;
            }
            Then::Flip => this.after -= bytes.len() as u64,
            Then::Pass => {}
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
