//! The edges of the HTTP API: what is late, too much, broken or of another kind.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use common::clock::{Monotonic, Timestamp};
use common::job::id::JobId;
use common::job::lease::Nonce;
use common::job::record::{Document, StoredResult};
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::job::transition::Transition;
use common::job::worker::WorkerId;
use common::port::job_store::{AcquireRequest, Acquired, JobStore as _, NewJob};
use common::port::object_store::ObjectStore as _;
use serde_json::{Value, json};
use tests::servers::wait_until;

use crate::client::{Server, read};
use crate::harness::{Fleet, Queue};

const PATIENCE: Duration = Duration::from_secs(60);
const WEB: &str = "https://example.org/a.wav";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_put_off_for_a_year_at_most() {
    let fleet = Fleet::new(Queue::Redis).await;
    let server = Server::start(&fleet, "", &[]);
    let put_off = |delay_s: f64| server.submit(&json!({"audio": {"uri": WEB}, "delay_s": delay_s}));
    assert_eq!(put_off(366.0 * 86_400.0).status, 202);
    assert_eq!((put_off(1e17).code(), put_off(1e17).status), ("invalid".to_owned(), 422));
    assert_eq!(fleet.run(&format!("submit {WEB} --delay 367d")).await.code, 2);
    fleet.file("jobs.jsonl", &json!({"audio": WEB, "delay_s": 1e17}).to_string());
    assert_eq!(fleet.run("submit --manifest jobs.jsonl").await.code, 2);
    assert_eq!(server.get("/v1/jobs").json()["jobs"].as_array().unwrap().len(), 1);
}

/// What an earlier version wrote of a job that was put off for ever.
#[tokio::test(flavor = "multi_thread")]
async fn one_unreadable_record_hides_no_other() {
    let fleet = Fleet::new(Queue::Redis).await;
    let server = Server::start(&fleet, "", &[]);
    let job = json!({"audio": {"uri": WEB}, "tags": {"a": "b"}});
    let ids: Vec<String> =
        (0..3).map(|_| server.submit(&job).json()["id"].as_str().unwrap().to_owned()).collect();
    fleet.redis_command(&format!("HSET rollcall:job:{} av 99999999999999999999999", ids[1]), ":0");
    for query in ["", "?state=available", "?tag=a=b"] {
        let page = server.get(&format!("/v1/jobs{query}")).json();
        let seen: Vec<_> = page["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()).collect();
        assert_eq!(seen, [json!(ids[2]), json!(ids[0])], "{query}");
        assert_eq!(page["next_cursor"], Value::Null);
    }
    assert_eq!(fleet.run("list --json").await.json().as_array().unwrap().len(), 2);
    assert_eq!(fleet.run(&format!("cancel {}", ids[1])).await.code, 0, "it can still be stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_no_document() {
    let fleet = Fleet::new(Queue::Redis).await;
    let (jobs, id) = (fleet.jobs(), JobId::new(Timestamp::from_millis(1), [7; 16]));
    let spec = JobSpec::enroll("Ada", SourceRef::at(WEB), vec![]);
    jobs.insert(NewJob::new(id, spec)).await.unwrap();
    let request = AcquireRequest {
        job: id,
        worker: WorkerId::new("w", [0; 16]),
        nonce: Nonce::new([1; 16]),
        lasts: Duration::from_secs(60),
        called_at: Monotonic::from_millis(0),
    };
    let Acquired::Granted(lease) = jobs.acquire(request).await.unwrap() else { panic!("nobody has it") };
    let voice = Document { name: "voice.json".to_owned(), bytes: 1, sha256: ContentDigest::of(b"v") };
    let result = StoredResult {
        documents: vec![voice],
        audio: Duration::from_secs(1),
        audio_sha256: None,
        bundle: Some("starter@1".to_owned()),
        voices: None,
    };
    jobs.settle(*lease.key(), Transition::complete(result)).await.unwrap();
    let server = Server::start(&fleet, "", &[]);
    for headers in [vec![], vec![("If-None-Match", "\"x\"")], vec![("If-None-Match", "*")]] {
        let answer = server.ask(&format!("GET /v1/jobs/{id}/result"), &headers, b"");
        assert_eq!((answer.status, answer.code().as_str()), (409, "no_result"), "{headers:?}");
    }
    let told = fleet.run(&format!("result {id}")).await;
    assert!(told.code == 1 && told.err.contains("it learnt a voice"), "{}", told.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_judged_as_it_comes() {
    let fleet = Fleet::new(Queue::Redis).await;
    let server = Server::start(&fleet, "--max-upload 1000", &[]);
    // The recording is announced and never comes: the answer does not wait for it.
    let part = |name: &str, text: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    for job in [
        json!({"delay_s": 1e17}),
        json!({"output": "s3://elsewhere/"}),
        json!({"callback_url": "https://example.org/"}),
        json!({"idempotency_key": "k".repeat(257)}),
    ] {
        let mut stream = server.connect();
        let parts =
            part("job", &job.to_string()) + "--b\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\n";
        let head =
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n";
        let length = format!("Connection: close\r\nContent-Length: {}\r\n\r\n", parts.len() + 1000);
        stream.write_all([head, &length, &parts].concat().as_bytes()).unwrap();
        let answer = read(stream);
        assert!(matches!(answer.status, 403 | 422), "{job}: {answer:?}");
    }
    let refused = |parts: &[(&str, Option<&str>, &[u8])]| {
        let answer = server.submit_form(parts, &[]);
        (answer.status, answer.code())
    };
    let audio: (&str, Option<&str>, &[u8]) = ("audio", Some("a.wav"), b"sound");
    let invalid = (422, "invalid".to_owned());
    assert_eq!(refused(&[("job", None, b"{}"), ("job", None, b"{}"), audio]), invalid);
    let named = json!({"audio": {"uri": WEB}}).to_string();
    assert_eq!(refused(&[("job", None, named.as_bytes()), audio]), invalid);
    assert_eq!(refused(&[audio, ("job", None, named.as_bytes())]), invalid);
    let text = vec![b'x'; 1001];
    assert_eq!(refused(&[("transcript", Some("t.srt"), &text), audio]), (413, "too_large".to_owned()));
    let left = fleet.objects().await.list("inbox/", None, 10).await.unwrap();
    assert_eq!(left.objects, [], "nothing of a refused form stays");

    // As many tags as there may be: the file's name is left out, as on the command line.
    let tags: serde_json::Map<_, _> = (0..32).map(|n| (n.to_string(), json!("v"))).collect();
    let job = json!({"tags": tags}).to_string();
    let accepted = server.submit_form(&[("job", None, job.as_bytes()), audio], &[]);
    assert_eq!(
        (accepted.status, accepted.json()["tags"].as_object().unwrap().len()),
        (202, 32),
        "{accepted:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_after_the_end_is_sent_away_at_once() {
    let fleet = Fleet::new(Queue::Redis).await;
    let mut server = Server::start(&fleet, "", &[]);
    // A request under way, which may go on for a while.
    let mut slow = server.connect();
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    // Its head is read, and its body asked for.
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.tell_to_stop();
    let away = || TcpStream::connect(&server.address).is_err();
    assert!(wait_until(PATIENCE, away), "nobody listens any more");
    assert!(server.is_alive(), "while the request goes on");
    drop(slow);
    assert_eq!(server.told_to_stop(PATIENCE), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_certificates_no_webhook_is_promised() {
    let fleet = Fleet::new(Queue::Redis).await;
    let url = format!("file://{}/store", fleet.folder.path().display());
    let variables = [
        ("ROLLCALL_WEBHOOK_SECRET", "s"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("ROLLCALL_STORE_URL", url.as_str()),
    ];
    let ran = fleet.run_with("serve --listen 127.0.0.1:0", &variables, "").await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("no certificates") && ran.err.contains("ca-certificates"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_certificates_reaches_a_store_that_is_not_encrypted() {
    let fleet = Fleet::new(Queue::Redis).await;
    fleet.file("a.wav", "a");
    let none = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    let ran = fleet.run_with("submit a.wav", &none, "").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let https = [none[0], none[1], ("AWS_ENDPOINT_URL_S3", "https://127.0.0.1:9")];
    let ran = fleet.run_with("submit a.wav", &https, "").await;
    assert!(
        ran.code == 3 && ran.err.contains("the object store does not answer"),
        "{}: {}",
        ran.code,
        ran.err
    );
}
