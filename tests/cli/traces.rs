//! One trace from `rollcall submit` to the exported documents, over two processes; the log says which.

use std::process::Command;
use std::time::Duration;

use tests::collector::{Collector, Span};
use tests::fleet::{Process, program};

use crate::harness::{Fleet, Queue};

/// Every span of a job, and whose child it is.
const SPANS: [(&str, &str); 9] = [
    ("submit", ""),
    ("queued", "submit"),
    ("lease", "submit"),
    ("attempt", "submit"),
    ("work", "attempt"),
    ("fetch", "work"),
    ("store", "work"),
    ("settle", "attempt"),
    ("export", "attempt"),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_submit_to_export() {
    let fleet = Fleet::new(Queue::Redis).await;
    let collector = Collector::start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str());
    let store = "s3://bucket/fleet";
    let mut worker = Command::new(program("rollcall-noop-worker").unwrap());
    worker
        .args([
            "--fetch",
            "--redis-url",
            &fleet.redis.url(),
            "--queue-url",
            &fleet.queue_url,
            "--store-url",
            store,
        ])
        .args(["--log", "info", "--log-format", "json"])
        .env("AWS_ENDPOINT_URL_S3", fleet.s3.endpoint())
        .envs([
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ])
        .envs([endpoint]);
    let worker = Process::start(fleet.folder.path(), "worker", &mut worker);
    for name in ["a.wav", "b.wav"] {
        fleet.file(name, name);
    }
    let ran = fleet.run_with("submit --wait --json a.wav b.wav", &[endpoint], "").await;
    assert_eq!(ran.code, 0, "{}{}{}", ran.out, ran.err, worker.said());

    let mut spans = Vec::new();
    for _ in 0..1200 {
        spans = collector.spans();
        if spans.len() >= 2 * SPANS.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let roots: Vec<_> = spans.iter().filter(|span| span.name == "submit").collect();
    assert_eq!(roots.len(), 2, "{spans:#?}");
    assert_ne!(roots[0].trace, roots[1].trace, "a trace a job");
    for root in roots {
        let own: Vec<&Span> = spans.iter().filter(|span| span.trace == root.trace).collect();
        let named = |name: &str| own.iter().copied().find(|span| span.name == name).unwrap_or(root);
        let mut told: Vec<_> = own.iter().map(|span| span.name.as_str()).collect();
        told.sort_unstable();
        let mut expected = SPANS.map(|(name, _)| name);
        expected.sort_unstable();
        assert_eq!(told, expected);
        for (name, parent) in SPANS {
            let parent = if parent.is_empty() { "" } else { &named(parent).id };
            assert_eq!(named(name).parent, parent, "{name}");
            let service = if name == "submit" { "rollcall" } else { "rollcall-noop-worker" };
            assert_eq!(named(name).service, service);
        }
        let (attempt, settle) = (named("attempt").time, named("settle").time);
        assert!(attempt.0 <= settle.0 && settle.1 <= attempt.1, "a child lies in its parent");
        assert!(
            named("lease").time.1 <= attempt.0 + 2_000_000,
            "times are told in milliseconds before the attempt"
        );

        let said = worker.said();
        let lines = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let settled = |line: &serde_json::Value| line["fields"]["message"] == "settled";
        let mut attempts = lines.filter(settled).map(|line| line["spans"][0].clone());
        let logged =
            attempts.find(|span| span["trace_id"] == root.trace.as_str()).expect("the log names the trace");
        assert_eq!((&logged["name"], &logged["attempt"]), (&"attempt".into(), &1.into()));
        assert!(ran.out.contains(logged["job"].as_str().unwrap()), "{logged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_costs_a_submission_little() {
    let fleet = Fleet::new(Queue::Redis).await;
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    fleet.file("a.wav", "a");
    let began = std::time::Instant::now();
    let ran = fleet.run_with("submit a.wav", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], "").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    let ran = fleet.run_with("submit a.wav", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address")], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}
