//! A small server for scrapers and probes: three pages, few connections, little patience.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::telemetry::exposition::CONTENT_TYPE;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE as TYPE};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Board;

/// Connections at a time; a scraper and a few probes need no more. Others wait.
const CONNECTIONS_MAX: usize = 16;
/// Longest time for the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Longest time for a connection, however many requests it carries: whoever stands still gives way.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// Wait after the system gave no connection, for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers for ever.
pub async fn answer(listener: TcpListener, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let board = Arc::clone(&board);
        tokio::spawn(async move {
            let _seat = seat;
            let pages = service_fn(|request: Request<Incoming>| {
                let answer = page(request.method(), request.uri().path(), &board);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
            let serving = builder.serve_connection(TokioIo::new(stream), pages);
            // Errors of a connection are its peer's.
            let _ = timeout(CONNECTION_MAX, serving).await;
        });
    }
}

fn page(method: &Method, path: &str, board: &Board) -> Response<String> {
    let mut response = Response::new(String::new());
    if method != Method::GET && method != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let (status, kind, text) = match path {
        "/metrics" => (StatusCode::OK, CONTENT_TYPE, board.page()),
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" if board.is_ready() => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
        "/readyz" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            format!("{:?}\n", board.phases.now()).to_lowercase(),
        ),
        _ => (StatusCode::NOT_FOUND, "text/plain", "there are /metrics, /healthz and /readyz\n".to_owned()),
    };
    *response.status_mut() = status;
    response.headers_mut().insert(TYPE, hyper::header::HeaderValue::from_static(kind));
    *response.body_mut() = text;
    response
}

#[cfg(test)]
mod tests {
    use common::telemetry::lint;

    use super::*;
    use crate::supervise::Phases;

    #[test]
    fn each_page_has_its_answer() {
        let phases = Phases::default();
        let board = Board::new(phases.clone());
        let get = |path| page(&Method::GET, path, &board);
        assert_eq!((get("/healthz").status(), get("/healthz").body().as_str()), (StatusCode::OK, "ok\n"));
        assert_eq!(get("/readyz").body(), "starting\n");
        phases.work();
        assert_eq!(get("/readyz").status(), StatusCode::OK);
        phases.drain();
        let draining = get("/readyz");
        assert_eq!(
            (draining.status(), draining.body().as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        );
        let metrics = get("/metrics");
        assert_eq!(metrics.headers()[TYPE], CONTENT_TYPE);
        assert_eq!(lint::problems(metrics.body()), [""; 0], "{}", metrics.body());
        assert_eq!(get("/").status(), StatusCode::NOT_FOUND);
        let posted = page(&Method::POST, "/metrics", &board);
        assert_eq!((posted.status(), posted.body().as_str()), (StatusCode::METHOD_NOT_ALLOWED, ""));
    }
}
