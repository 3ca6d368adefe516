//! Webhooks against a receiver that takes nothing at first.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::job::id::JobId;
use common::port::job_store::{JobStore as _, WebhookOutcome};
use serde_json::{Value, json};

use crate::client::Server;
use crate::harness::{Fleet, Queue};
use crate::stand_in::StandIn;

/// Longest wait for a delivery: the fourth try comes within 7 s.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "a secret";

/// A delivery as it came: signature and body.
type Heard = (String, String);

/// What a receiver answers: the next of these, then 204 for ever.
type Statuses = Arc<Mutex<VecDeque<u16>>>;

/// Answers each POST with the next status.
fn receiver(statuses: &Statuses) -> (String, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (heard, hears) = channel();
    let statuses = Arc::clone(statuses);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let status = statuses.lock().unwrap().pop_front().unwrap_or(204);
            take(stream.unwrap(), status, &heard);
        }
    });
    (url, hears)
}

fn take(mut stream: TcpStream, status: u16, heard: &Sender<Heard>) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut piece = [0; 4096];
        let Some(read) = came(&mut stream, &mut piece) else { return };
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").parse::<usize>().unwrap();
            break (head.to_owned(), length);
        }
    };
    while bytes.len() < head.len() + 4 + length {
        let mut piece = [0; 4096];
        let Some(read) = came(&mut stream, &mut piece) else { return };
        bytes.extend_from_slice(&piece[..read]);
    }
    let body = String::from_utf8(bytes[head.len() + 4..].to_vec()).unwrap();
    let _ = heard.send((header(&head, "rollcall-signature"), body));
    // The sender may have what it needs before all is read.
    let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/// Bytes that came; `None` when the sender was killed half way.
fn came(stream: &mut TcpStream, piece: &mut [u8]) -> Option<usize> {
    stream.read(piece).ok().filter(|read| *read > 0)
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.unwrap_or_default().split_once(": ").unwrap_or_default().1.to_owned()
}

/// Whether a program that shares no code with Rollcall finds the signature right.
fn is_signed((signature, body): &Heard, secret: &str) -> bool {
    let script = "import hmac,hashlib,sys\n\
        t,v=[p.split('=',1)[1] for p in sys.argv[1].split(',')]\n\
        m=hmac.new(sys.argv[2].encode(),(t+'.').encode()+sys.stdin.buffer.read(),hashlib.sha256)\n\
        sys.exit(0 if hmac.compare_digest(m.hexdigest(),v) else 1)";
    let mut child = Command::new("python3")
        .args(["-c", script, signature, secret])
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 is installed by tests/run.sh");
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

async fn ended(fleet: &Fleet, job: &str) {
    let waited = fleet.run(&format!("wait {job}")).await;
    assert_eq!(waited.code, 0, "{}{}", waited.out, waited.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_repeated_until_it_is_taken() {
    let fleet = Fleet::new(Queue::Redis).await;
    let _worker = StandIn::start(&fleet).await;
    // What it says until the process is killed, however long that takes.
    let statuses = Statuses::new(Mutex::new(VecDeque::from([500; 1000])));
    let (url, hears) = receiver(&statuses);
    let variables = [("ROLLCALL_WEBHOOK_SECRET", SECRET), ("ROLLCALL_ALLOW", url.as_str())];
    let mut server = Server::start(&fleet, "", &variables);
    fleet.file("a.wav", "sound");
    let submitted = fleet.run_with(&format!("submit a.wav --callback-url {url}"), &variables, "").await.ok();
    let job = submitted.trim().to_owned();
    let first = hears.recv_timeout(PATIENCE).unwrap();
    // Killed between its tries: the next process goes on where it stopped.
    while fleet.jobs().deliveries(1).await.unwrap().is_empty() {
        assert!(server.is_alive(), "it ended by itself");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.kill();
    *statuses.lock().unwrap() = VecDeque::from([302, 503]);
    let _server = Server::start(&fleet, "", &variables);
    let mut all = vec![first];
    for _ in 0..3 {
        all.push(hears.recv_timeout(PATIENCE).unwrap());
    }
    for heard in &all {
        assert!(is_signed(heard, SECRET), "{heard:?}");
        assert!(!is_signed(heard, "another"));
        let body: Value = serde_json::from_str(&heard.1).unwrap();
        assert_eq!((&body["event"], &body["job"]["id"]), (&json!("job.completed"), &json!(job)));
        assert!(body["job"]["exported_at"].is_string());
    }
    let taken = |told: &Value| told[0]["outcome"] == "delivered";
    let mut told = Value::Null;
    let until = Instant::now() + PATIENCE;
    while !taken(&told) && Instant::now() < until {
        told = fleet.run("webhooks list --json").await.json();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(taken(&told), "{told}");
    // One that was under way when the process was killed may have come as well.
    while hears.try_recv().is_ok() {}
    let statuses: Vec<_> = told.as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses[0], json!(204), "{told}");
    assert!(statuses.contains(&json!(503)) && statuses.contains(&json!(302)), "{told}");

    let again = fleet.run(&format!("webhooks redeliver {job}")).await.ok();
    assert_eq!(again, format!("{job} is delivered again\n"));
    let (_, body) = hears.recv_timeout(PATIENCE).unwrap();
    assert!(body.contains(&job));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_nobody_delivered_is_told_later() {
    let fleet = Fleet::new(Queue::Redis).await;
    let _worker = StandIn::start(&fleet).await;
    let (url, hears) = receiver(&Statuses::default());
    let variables = [("ROLLCALL_WEBHOOK_SECRET", SECRET), ("ROLLCALL_ALLOW", url.as_str())];
    fleet.file("a.wav", "sound");
    let submitted = fleet.run_with(&format!("submit a.wav --callback-url {url}"), &variables, "").await.ok();
    let job = submitted.trim();
    ended(&fleet, job).await;
    assert!(hears.try_recv().is_err());
    let server = Server::start(&fleet, "", &variables);
    let heard = hears.recv_timeout(PATIENCE).unwrap();
    assert!(is_signed(&heard, SECRET) && heard.1.contains(job));
    drop(server);

    // Where the address may not be told any more, it is given up, not told.
    let submitted =
        fleet.run_with(&format!("submit a.wav --no-cache --callback-url {url}"), &variables, "").await.ok();
    let job = submitted.trim();
    ended(&fleet, job).await;
    let _server = Server::start(&fleet, "", &variables[..1]);
    let id: JobId = job.parse().unwrap();
    let mut told = Vec::new();
    for _ in 0..1200 {
        told = fleet.jobs().deliveries(1).await.unwrap();
        if told.first().is_some_and(|told| told.job == id) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told[0].job == id && told[0].answer.detail.contains("may not be told"), "{told:?}");
    assert!(hears.try_recv().is_err(), "nobody was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_home_is_told() {
    let fleet = Fleet::new(Queue::Redis).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let variables = [("ROLLCALL_WEBHOOK_SECRET", SECRET)];
    let server = Server::start(&fleet, "", &variables);
    let uri = "https://example.org/a.wav";
    let numbers = json!({"audio": {"uri": uri}, "callback_url": format!("https://127.0.0.1:{port}/")});
    assert_eq!(server.submit(&numbers).code(), "not_allowed", "it can be told before anything is tried");
    // A name may lead home, now or later: it is looked up when connecting, and the address that was looked at is the one
    // that is used.
    let name = json!({"audio": {"uri": uri}, "callback_url": format!("https://localhost:{port}/?hook")});
    let accepted = server.submit(&name).json();
    let job = accepted["id"].as_str().unwrap();
    assert_eq!(server.ask(&format!("DELETE /v1/jobs/{job}"), &[], b"").status, 200);
    let until = Instant::now() + PATIENCE;
    let mut told = Vec::new();
    while told.is_empty() && Instant::now() < until {
        told = fleet.jobs().deliveries(1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(told[0].answer.detail.contains("not a public address"), "{told:?}");
    assert_eq!((told[0].tries, told[0].outcome), (1, WebhookOutcome::GivenUp), "it is not tried again");
    assert!(listener.accept().is_err(), "nobody knocked");
}
