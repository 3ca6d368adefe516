//! The HTTP API as a client meets it.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use common::port::object_store::ObjectStore as _;
use serde_json::{Value, json};
use tests::servers::wait_until;

use crate::client::{Server, form, read};
use crate::harness::{Fleet, Queue};
use crate::stand_in::StandIn;

/// Longest wait for a job.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(server: &Server, job: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut record = Value::Null;
    let came = wait_until(PATIENCE, || {
        record = server.get(&format!("/v1/jobs/{job}")).json();
        wanted(&record)
    });
    assert!(came, "{record}");
    record
}

fn over(record: &Value) -> bool {
    record["exported_at"].is_string() || record["failure"].is_object()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_posts_polls_and_fetches() {
    let fleet = Fleet::new(Queue::Redis).await;
    let worker = StandIn::start(&fleet).await;
    let server = Server::start(&fleet, "", &[]);
    let job = json!({"tags": {"team": "x"}, "options": {"formats": ["json", "rttm"]}}).to_string();
    let parts: [(&str, Option<&str>, &[u8]); 2] =
        [("job", None, job.as_bytes()), ("audio", Some("../a\u{202e} meeting.wav"), b"slow sound")];
    let keyed = [("Idempotency-Key", "one")];
    let accepted = server.submit_form(&parts, &keyed);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let record = accepted.json();
    let id = record["id"].as_str().unwrap().to_owned();
    assert_eq!(accepted.headers["location"], format!("/v1/jobs/{id}"));
    assert_eq!(record["tags"], json!({"file": "a· meeting.wav", "team": "x"}));
    let uri = record["audio"]["uri"].as_str().unwrap();
    assert!(uri.starts_with("s3://bucket/fleet/inbox/") && uri.ends_with(".wav"), "{uri}");
    let same = server.submit_form(&parts, &keyed);
    assert_eq!((same.status, same.json()["id"].as_str()), (202, Some(id.as_str())));
    let inbox = fleet.objects().await.list("inbox/", None, 10).await.unwrap();
    assert_eq!(inbox.objects.len(), 1, "one content, no temporary left: {inbox:?}");

    // It runs, and says how far it is; there is no result yet.
    until(&server, &id, |record| record["percent"] == 42);
    assert_eq!(server.get(&format!("/v1/jobs/{id}/result")).code(), "no_result");
    let mut events = server.connect();
    let asked = format!("GET /v1/jobs/{id}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    events.write_all(asked.as_bytes()).unwrap();
    let mut first = [0; 12];
    events.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    worker.released.store(true, std::sync::atomic::Ordering::SeqCst);
    until(&server, &id, over);
    let mut told = String::new();
    events.read_to_string(&mut told).unwrap();
    assert!(told.contains("event: record\ndata: {\"id\""), "{told}");
    assert!(told.contains("\"percent\":42") && told.contains("\"state\":\"completed\""), "{told}");
    assert!(told.contains("event: end"), "{told}");

    // Results in any format, from what was stored; once only.
    let result = server.get(&format!("/v1/jobs/{id}/result"));
    assert_eq!((result.status, result.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(result.headers["content-length"], result.body.len().to_string());
    assert_eq!(result.json()["speakers"], json!(["SPEAKER_00", "SPEAKER_01"]));
    let path = |format: &str| format!("/v1/jobs/{id}/result?format={format}");
    assert!(server.get(&path("rttm")).text().starts_with("SPEAKER stand-in 1 0.000"));
    assert!(server.get(&path("srt")).text().contains("[SPEAKER_01]"), "rendered from the stored one");
    let page = server.get(&path("html"));
    assert_eq!(page.headers["content-security-policy"], "sandbox allow-scripts");
    assert!(page.text().contains("<html"));
    for format in ["json", "srt"] {
        let tag = server.get(&path(format)).headers["etag"].clone();
        let again = server.ask(&format!("GET {}", path(format)), &[("If-None-Match", &tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{format}");
    }
    assert_eq!(server.get(&path("pdf")).code(), "invalid");

    // The recording, in ranges.
    let audio = format!("/v1/jobs/{id}/audio");
    assert_eq!(server.get(&audio).body, b"slow sound");
    let part = server.ask(&format!("GET {audio}"), &[("Range", "bytes=5-7")], b"");
    assert_eq!((part.status, part.body.as_slice()), (206, b"sou".as_slice()));
    assert_eq!(part.headers["content-range"], "bytes 5-7/10");
    let beyond = server.ask(&format!("GET {audio}"), &[("Range", "bytes=10-")], b"");
    assert_eq!((beyond.status, beyond.code().as_str()), (416, "no_such_range"));
    assert_eq!(beyond.headers["content-range"], "bytes */10");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_paged_stopped_and_tried_again() {
    let fleet = Fleet::new(Queue::Redis).await;
    fleet.file("a.wav", "sound");
    let server = Server::start(&fleet, "", &[]);
    fleet.run("submit a.wav").await.ok();
    let uri = server.get("/v1/jobs").json()["jobs"][0]["audio"]["uri"].clone();
    for n in 0..4 {
        let job = json!({"audio": {"uri": uri}, "tags": {"n": n.to_string()}, "priority": "low"});
        assert_eq!(server.submit(&job).status, 202);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/jobs?limit=2".to_owned());
    loop {
        let page = server.get(&path).json();
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["tags"]["n"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/jobs?limit=2&cursor={next}");
    }
    assert_eq!(seen, [json!("3"), json!("2"), json!("1"), json!("0"), Value::Null]);
    let found = server.get("/v1/jobs?tag=n=2").json();
    assert_eq!(found["jobs"].as_array().unwrap().len(), 1);
    let id = found["jobs"][0]["id"].as_str().unwrap();

    let queue = server.get("/v1/queue").json();
    assert_eq!((&queue["depth"]["low"]["ready"], &queue["depth"]["normal"]["ready"]), (&json!(4), &json!(1)));
    assert_eq!(server.get("/v1/workers").json(), json!([]));

    assert_eq!(server.ask(&format!("POST /v1/jobs/{id}/retry"), &[], b"").code(), "wrong_state");
    for _ in 0..2 {
        let stopped = server.ask(&format!("DELETE /v1/jobs/{id}"), &[], b"");
        assert_eq!((stopped.status, &stopped.json()["state"]), (200, &json!("cancelled")));
    }
    let again = server.ask(&format!("POST /v1/jobs/{id}/retry"), &[], b"");
    assert_eq!((again.status, &again.json()["state"]), (200, &json!("available")));
    assert!(wait_until(PATIENCE, || server.get("/readyz").text() == "ok\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_what_their_scopes_name() {
    let fleet = Fleet::new(Queue::Redis).await;
    let refused = fleet.run("serve --listen 0.0.0.0:0").await;
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("hint: `rollcall keys create NAME` makes one"), "{}", refused.err);
    let key = async |scopes: &str| {
        let made = fleet.run(&format!("keys create ci --scopes {scopes} --json")).await.json();
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    };
    let (reader, submitter) = (key("read").await, key("submit").await);
    let server = Server::start(&fleet, "--require-keys --rate 1000", &[]);
    let ask = |line: &str, key: &str| {
        server.ask(
            line,
            &[("Authorization", &format!("Bearer {key}")), ("Content-Type", "application/json")],
            b"{}",
        )
    };
    let missing = server.get("/v1/queue");
    assert_eq!((missing.status, missing.code().as_str()), (401, "unauthorized"));
    assert_eq!(missing.headers["www-authenticate"], "Bearer realm=\"rollcall\"");
    let other = format!("{}0", &reader.1[..reader.1.len() - 1]);
    for wrong in ["", "x", &other, &format!("rk_{}_", reader.0), &reader.0] {
        let status = ask("GET /v1/queue", wrong).status;
        assert!(status == 401 || wrong == reader.1, "{wrong}: {status}");
    }
    assert_eq!(
        server.get(&format!("/v1/queue?key={}", reader.1)).status,
        401,
        "keys never stand in addresses"
    );
    assert_eq!(ask("GET /v1/queue", &reader.1).status, 200);
    assert_eq!(ask("POST /v1/jobs", &reader.1).code(), "not_allowed");
    assert_eq!(ask("GET /v1/queue", &submitter.1).code(), "not_allowed");
    assert_eq!(ask("POST /v1/jobs", &submitter.1).code(), "malformed", "let in, and looked at");
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/openapi.json").status, 200);

    let listed = fleet.run("keys list --json").await.ok();
    assert!(!listed.contains(&reader.1[16..]), "{listed}");
    assert_eq!(fleet.run(&format!("keys revoke {}", reader.0)).await.ok(), format!("{} revoked\n", reader.0));
    assert_eq!(ask("GET /v1/queue", &reader.1).status, 401, "at once");
    assert_eq!(fleet.run("keys revoke 000000000000").await.code, 1);
    assert_eq!(fleet.run(&format!("keys revoke {} 000000000000 {}", reader.0, submitter.0)).await.code, 1);
    assert_eq!(ask("GET /v1/queue", &submitter.1).status, 401, "those beside an unknown one are revoked too");
    // A key's id is found where keys are kept, its secret nowhere.
    for (id, text) in [&reader, &submitter] {
        let secret = text.rsplit_once('_').unwrap().1;
        assert!(fleet.files_hold(id) && !fleet.files_hold(secret), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guesser_is_slowed_down() {
    let fleet = Fleet::new(Queue::Redis).await;
    let keys =
        [fleet.run("keys create ci --json").await.json(), fleet.run("keys create other --json").await.json()];
    let with = |server: &Server, key: &str| {
        server.ask("GET /v1/workers", &[("Authorization", &format!("Bearer {key}"))], b"")
    };
    let [good, other] = keys.each_ref().map(|key| key["key"].as_str().unwrap());
    let wrong = format!("rk_000000000000_{}", "0".repeat(64));
    // However low the rate, the first wrong key is told so; the next one has to wait for most of a minute.
    let mut server = Server::start(&fleet, "--require-keys --rate 1", &[]);
    assert_eq!(with(&server, good).status, 200);
    let statuses: Vec<_> = (0..4).map(|_| with(&server, &wrong).status).collect();
    assert_eq!(statuses, [401, 429, 429, 429]);
    let wait: u64 = with(&server, &wrong).headers["retry-after"].parse().unwrap();
    assert!((10..50).contains(&wait), "{wait}");
    assert_eq!(with(&server, good).status, 200, "who was known before shares the address, not the debt");
    assert_eq!(with(&server, other).status, 429, "anybody else might be the guesser");
    assert_eq!(server.get("/openapi.json").status, 200, "what tells nothing has a bucket of its own");
    server.kill();

    // A burst of twice the rate, 50 for each wrong key: two are told so at once.
    let server = Server::start(&fleet, "--require-keys --rate 50", &[]);
    assert_eq!([with(&server, &wrong).status, with(&server, &wrong).status], [401, 401]);
    // Who shows no key guesses none.
    let server = Server::start(&fleet, "--require-keys --rate 50", &[]);
    assert!((0..20).all(|_| server.get("/v1/queue").status == 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_wrong_key() {
    let fleet = Fleet::new(Queue::Redis).await;
    let key = fleet.run("keys create ci --scopes read --json").await.json();
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    let server = Server::start(&fleet, "--require-keys --rate 1", &[]);
    let ask = || server.ask("GET /v1/workers", &[("Authorization", &bearer)], b"").status;
    fleet.redis.stop().unwrap();
    assert_eq!([ask(), ask(), ask()], [503; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_reached_is_refused() {
    let fleet = Fleet::new(Queue::Redis).await;
    let server = Server::start(&fleet, "", &[("ROLLCALL_WEBHOOK_SECRET", "s")]);
    let refused = |job: Value| {
        let answer = server.submit(&job);
        (answer.status, answer.code())
    };
    let not_allowed = (403, "not_allowed".to_owned());
    for uri in ["/etc/passwd", "file:///etc/passwd", "a.wav", "s3://other/a.wav", "s3://bucket/a.wav"] {
        assert_eq!(refused(json!({"audio": {"uri": uri}})), not_allowed, "{uri}");
    }
    for uri in ["s3://bucket/fleet/../a.wav", "s3://bucket/fleet/%2e%2e/a.wav"] {
        assert_eq!(refused(json!({"audio": {"uri": uri}})), not_allowed, "{uri}");
    }
    for uri in ["http://example.org/a.wav", "ftp://example.org/a", "s3://"] {
        assert_eq!(refused(json!({"audio": {"uri": uri}})).0, 422, "{uri}");
    }
    let web = "https://example.org/a.wav";
    for (key, value) in [
        ("output", "s3://other/out/"),
        ("bundle", "s3://other/bundles/x"),
        ("callback_url", "http://127.0.0.1:1/"),
        ("callback_url", "ftp://example.org/"),
        ("callback_url", "https://"),
        ("callback_url", "https://user:word@example.org/"),
        ("callback_url", "https://127.0.0.1:1/"),
        ("callback_url", "https://[::1]/"),
        ("callback_url", "https://192.168.1.1/"),
    ] {
        let mut job = json!({"audio": {"uri": web}});
        job[key] = json!(value);
        assert_eq!(refused(job), not_allowed, "{key}: {value}");
    }
    let transcript = json!({"audio": {"uri": web}, "options": {"transcript": "/etc/passwd"}});
    assert_eq!(refused(transcript), not_allowed);

    // Names that lead elsewhere, pages of other sites.
    let forged = |headers: &[(&str, &str)], line: &str| server.ask(line, headers, b"{}").status;
    assert_eq!(forged(&[("Host", "evil.example")], "GET /v1/jobs"), 403);
    assert_eq!(forged(&[("Host", "evil.example")], "GET /"), 403);
    assert_eq!(forged(&[("Origin", "https://evil.example")], "POST /v1/jobs"), 403);
    assert_eq!(forged(&[("Sec-Fetch-Site", "cross-site")], "DELETE /v1/jobs/x"), 403);
    assert_eq!(forged(&[("Content-Type", "text/plain")], "POST /v1/jobs"), 415);

    // Oversized, lying and broken requests.
    let json_type = [("Content-Type", "application/json")];
    let large = server.ask("POST /v1/jobs", &json_type, &vec![b' '; (1 << 20) + 1]);
    assert_eq!((large.status, large.code().as_str()), (413, "too_large"));
    assert_eq!(server.ask("POST /v1/jobs", &json_type, b"\xff").code(), "malformed");
    assert_eq!(server.submit(&json!({"audio": {"uri": web}, "prioritty": "high"})).code(), "malformed");
    assert_eq!(server.submit(&json!({"audio": {"uri": web}, "priority": "urgent"})).code(), "invalid");
    for path in [
        "/v1/jobs/../../etc/passwd",
        "/v1/jobs/%2e%2e%2f",
        "/v1/jobs/x",
        "/v1/jobs/%ff",
        "/v1/jobs/%ff/result",
        "/v1/jobs/%ff/audio",
        "/v1/jobs/%ff/events",
        "/v1/jobs/00000000-0000-7000-8000-000000000000",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
    }
    assert_eq!(server.ask("PATCH /v1/jobs", &[], b"").code(), "no_such_method");
    let twice: [(&str, Option<&str>, &[u8]); 2] =
        [("audio", Some("a.wav"), b"a"), ("audio", Some("b.wav"), b"b")];
    assert_eq!(server.submit_form(&twice, &[]).code(), "invalid");
    assert_eq!(server.submit_form(&[("audio", Some("a.wav"), b"")], &[]).code(), "invalid");
    assert_eq!(server.submit_form(&[("job", None, b"{}")], &[]).code(), "invalid");
    let lying = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 30\r\n\r\n--b\r\nno header at all\r\n--b--\r\n\r\n";
    assert_eq!(server.raw(lying).status, 400);
    let injected = server.ask("GET /v1/jobs/x", &[("X-Request-Id", "a\" b")], b"");
    assert_eq!(injected.headers["x-request-id"].len(), 16);
    let left = fleet.objects().await.list("inbox/", None, 10).await.unwrap();
    assert_eq!(left.objects, [], "nothing of a refused form stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_bounded() {
    let fleet = Fleet::new(Queue::Redis).await;
    let server = Server::start(&fleet, "--max-upload 1000", &[]);
    let of = |bytes: usize| server.submit_form(&[("audio", Some("a.wav"), &vec![1; bytes])], &[]);
    assert_eq!(of(1000).status, 202);
    assert_eq!(of(1001).code(), "audio_too_long");
    let left = fleet.objects().await.list("inbox/", None, 10).await.unwrap();
    assert_eq!(left.objects.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_lose_their_place() {
    let fleet = Fleet::new(Queue::Redis).await;
    let server = Server::start(&fleet, "--patience 2s", &[]);
    // A head that never ends.
    let mut half_head = server.connect();
    half_head.write_all(b"GET /v1/jobs HTTP/1.1\r\nHost: local").unwrap();
    let mut rest = Vec::new();
    half_head.read_to_end(&mut rest).unwrap();
    // A body that never ends, in both forms.
    let body = form(&[("audio", Some("a.wav"), &[7; 4000])]);
    for kind in ["multipart/form-data; boundary=b", "application/json"] {
        let mut half_body = server.connect();
        let head = format!(
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        half_body.write_all(&[head.as_bytes(), &body[..2000]].concat()).unwrap();
        let answer = read(half_body);
        assert_eq!((answer.status, answer.code().as_str()), (408, "too_slow"), "{kind}");
    }
    let left = fleet.objects().await.list("inbox/", None, 10).await.unwrap();
    assert_eq!(left.objects, []);
    // The others are served. Whoever asks has to be quick as well, which a busy machine may not be at once.
    let healthy = || {
        let mut stream = server.connect();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200")
    };
    assert!(wait_until(PATIENCE, healthy));
}
