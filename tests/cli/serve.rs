//! `rollcall serve`, and the commands that need no server.

use std::time::{Duration, Instant};

use common::clock::Timestamp;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::spec::{JobSpec, SourceRef};
use common::port::broker::Broker as _;
use common::port::job_store::{JobStore as _, NewJob};

use crate::client::{PATIENCE, Server};
use crate::harness::{Fleet, Queue};

#[tokio::test(flavor = "multi_thread")]
async fn serve_carries_bells_answers_and_stops_when_told() {
    let fleet = Fleet::new(Queue::Redis).await;
    let mut server = Server::start(&fleet, "", &[]);
    let answer = server.get("/healthz");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));

    // A job whose submitter died before it could ring.
    let id = JobId::new(Timestamp::from_millis(1), [7; 16]);
    let spec = JobSpec::diarize(SourceRef::at("s3://bucket/fleet/a.wav"));
    fleet.jobs().insert(NewJob::new(id, spec)).await.unwrap();
    let broker = fleet.broker();
    let until = Instant::now() + PATIENCE;
    while broker.ready(Lane::Normal).await.unwrap() != 1 {
        assert!(Instant::now() < until, "its bell is not rung");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert_eq!(server.told_to_stop(PATIENCE), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_told() {
    let fleet = Fleet::new(Queue::Redis).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = fleet.run(&format!("serve --listen {address}")).await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.starts_with(&format!("error: cannot listen: `{address}`\ncaused by: ")), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_with_their_origin_and_without_secrets() {
    let fleet = Fleet::new(Queue::Redis).await;
    fleet.file("rollcall.toml", "store_url = \"s3://file\"\nbundle = \"starter@1.0.0\"\n");
    let variables = [("ROLLCALL_WEBHOOK_SECRET", "hidden"), ("ROLLCALL_QUEUE_URL", "amqp://u:hidden@h/v")];
    let shown = fleet
        .run_with("config show --json --config rollcall.toml --redis-url redis://:hidden@r", &variables, "")
        .await;
    assert!(!shown.out.contains("hidden"), "{}", shown.out);
    let shown = shown.json();
    let one = |name: &str| (shown[name]["value"].clone(), shown[name]["from"].as_str().unwrap().to_owned());
    assert_eq!(one("redis_url"), ("redis://[redacted]@r".into(), "--redis-url".to_owned()));
    assert_eq!(one("queue_url"), ("amqp://[redacted]@h/v".into(), "ROLLCALL_QUEUE_URL".to_owned()));
    assert_eq!(one("store_url"), ("s3://bucket/fleet".into(), "ROLLCALL_STORE_URL".to_owned()));
    assert_eq!(one("bundle"), ("starter@1.0.0".into(), "rollcall.toml".to_owned()));
    assert_eq!(one("webhook_secret"), ("[redacted]".into(), "ROLLCALL_WEBHOOK_SECRET".to_owned()));
    assert_eq!(one("log_format"), ("text".into(), "default".to_owned()));
    assert_eq!(one("AWS_SECRET_ACCESS_KEY").0, "[redacted]");
    let table = fleet.run("config show").await.ok();
    assert!(table.starts_with("setting  ") && table.contains("environment\n"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_the_manual_are_printed() {
    let fleet = Fleet::new(Queue::Redis).await;
    assert!(fleet.run("completions bash").await.ok().contains("complete -F _rollcall"));
    assert!(fleet.run("man").await.ok().contains(".TH rollcall 1"));
    assert!(fleet.run("submit --help").await.ok().contains("ROLLCALL_STORE_URL"));
}
