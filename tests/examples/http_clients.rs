//! How fast `rollcall serve` answers many who poll: `http_clients ADDRESS PATH CLIENTS SECONDS [KEY]`. Each client has one
//! connection and asks once a second, spread over the second; printed are the answers, errors, and percentiles of the
//! time from a request to the end of its answer.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for a person")]

use std::time::Duration;

use anyhow::Context as _;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

async fn client(
    address: String,
    path: String,
    key: Option<String>,
    first: Instant,
    rounds: u32,
) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut took = Vec::new();
    for round in 0..rounds {
        sleep_until(first + Duration::from_secs(round.into())).await;
        let began = Instant::now();
        let mut request = Request::get(&path).header(HOST, &address);
        if let Some(key) = &key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let mut answer = sender.send_request(request.body(String::new())?).await?;
        anyhow::ensure!(answer.status().is_success(), "HTTP {}", answer.status());
        while let Some(frame) = next(answer.body_mut()).await {
            frame?;
        }
        took.push(began.elapsed());
    }
    Ok(took)
}

async fn next(
    body: &mut hyper::body::Incoming,
) -> Option<Result<hyper::body::Frame<bytes::Bytes>, hyper::Error>> {
    use hyper::body::Body as _;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, clients, seconds, key @ ..] = &arguments[..] else {
        anyhow::bail!("http_clients ADDRESS PATH CLIENTS SECONDS [KEY]");
    };
    let (clients, rounds): (u32, u32) = (clients.parse()?, seconds.parse()?);
    let start = Instant::now() + Duration::from_secs(1);
    let mut tasks = JoinSet::new();
    for n in 0..clients {
        let first = start + Duration::from_secs(1) * n / clients;
        tasks.spawn(client(address.clone(), path.clone(), key.first().cloned(), first, rounds));
    }
    let (mut took, mut errors) = (Vec::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        match ended.context("a client broke down")? {
            Ok(times) => took.extend(times),
            Err(error) => {
                println!("error: {error}");
                errors += 1;
            }
        }
    }
    took.sort_unstable();
    let at = |share: f64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
        took.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{clients} clients, {} answers, {errors} clients failed; ms: p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1}",
        took.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
