//! S3 that is slow, overloaded, torn, changed or not ours.

use std::time::Duration;

use bytes::Bytes;
use common::adapter::s3::{S3Access, S3Options, S3Store};
use common::port::object_store::content::Content;
use common::port::object_store::{ByteRange, ObjectStore as _, PutOptions, StoreError};
use hyper::Method;
use tests::conformance::object_store::{Pieces, drain, noise, put};
use tests::s3_server::Bounds;
use tests::s3_server::fault::{Fault, Rule};
use tests::servers::{free_ports, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::object_store::{Server, options};

const BUSY: Fault = Fault::Answer { status: 503, retry_after_s: None };

async fn start() -> (Server, S3Store) {
    let server = Server::start(Bounds::default()).await;
    let store = server.store().await;
    (server, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_outlasted_and_its_end_awaited() {
    let (server, store) = start().await;
    let faults = server.server.faults();
    let bytes = noise(1000, 1);
    for method in [Method::PUT, Method::GET, Method::HEAD, Method::DELETE] {
        faults.next(method, "", 3, BUSY);
    }
    put(&store, "k", &bytes).await;
    assert_eq!(store.read("k", 2000).await.unwrap(), bytes);
    assert_eq!(store.head("k").await.unwrap().bytes, 1000);
    store.delete("k").await.unwrap();
    assert_eq!(faults.requests("PUT").len(), 4);

    faults.next(Method::GET, "list-type", 1, Fault::Answer { status: 503, retry_after_s: Some(1) });
    let started = Instant::now();
    store.list("", None, 10).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "the store is given the time that it asks for");

    faults.next(Method::GET, "", 100, Fault::Answer { status: 503, retry_after_s: Some(3600) });
    let started = Instant::now();
    let error = store.get("k", ByteRange::ALL).await.unwrap_err();
    let StoreError::Unavailable { retry_after, detail, .. } = &error else { panic!("{error}") };
    assert_eq!(*retry_after, Some(Duration::from_secs(3600)));
    assert!(detail.contains("SlowDown"), "{detail}");
    assert!(started.elapsed() < Duration::from_secs(5), "no waiting that cannot help");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repetition_is_bounded() {
    let (server, store) = start().await;
    server.server.faults().next(Method::PUT, "", 1000, BUSY);
    let error = store.put("k", Content::Bytes(noise(10, 1)), &PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert_eq!(server.server.faults().requests("PUT").len(), options().repeat.tries_max as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_where_it_broke_off() {
    let (server, store) = start().await;
    let faults = server.server.faults();
    let bytes = noise(3 << 20, 5);
    put(&store, "audio", &bytes).await;
    for fault in [
        Fault::Cut { after_bytes: 1_000_001 },
        Fault::Silence { after_bytes: 777 },
        Fault::Cut { after_bytes: 0 },
    ] {
        faults.next(Method::GET, "audio", 1, fault.clone());
        let object = store.get("audio", ByteRange::ALL).await.unwrap();
        assert!(drain(object.body).await.unwrap() == bytes, "{fault:?}");
    }
    let rests: Vec<u64> = faults
        .requests("bytes=")
        .iter()
        .map(|line| line.rsplit_once("bytes=").unwrap().1.split('-').next().unwrap().parse().unwrap())
        .collect();
    // The last bytes before a cut may be lost on the way; a cut before the first may lose the answer as a whole.
    assert!((2..=3).contains(&rests.len()), "only rests are fetched: {rests:?}");
    assert!((500_000..=1_000_001).contains(&rests[0]) && rests[1] <= 777, "{rests:?}");
    // Cut again and again, with progress each time.
    faults.next(Method::GET, "audio", 20, Fault::Cut { after_bytes: 100_000 });
    let object = store.get("audio", ByteRange { start: 10, end: Some(2_000_010) }).await.unwrap();
    assert!(drain(object.body).await.unwrap() == bytes[10..2_000_010]);
    // Without progress it ends, with the first answer or later.
    faults.next(Method::GET, "audio", 1000, Fault::Cut { after_bytes: 0 });
    let error = match store.get("audio", ByteRange::ALL).await {
        Ok(object) => drain(object.body).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_not_mixed_and_damage_is_seen() {
    let (server, store) = start().await;
    let faults = server.server.faults();
    put(&store, "v", &noise(3 << 20, 5)).await;
    faults.next(Method::GET, "v", 1, Fault::Cut { after_bytes: 1 << 20 });
    let object = store.get("v", ByteRange::ALL).await.unwrap();
    put(&store, "v", &noise(3 << 20, 6)).await;
    let error = drain(object.body).await.unwrap_err();
    assert!(matches!(error, StoreError::PreconditionFailed { .. }), "{error}");

    faults.next(Method::GET, "v", 1, Fault::Flip { at_byte: 2_000_000 });
    let object = store.get("v", ByteRange::ALL).await.unwrap();
    let error = drain(object.body).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "the stored checksum is compared: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_are_asked_for_again() {
    let (server, store) = start().await;
    let faults = server.server.faults();
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Delay(Duration::from_millis(300))] {
        faults.next(Method::PUT, "k", 1, fault);
        put(&store, "k", &noise(100, 2)).await;
    }
    // As the port says: the adapter's repetition meets its own object.
    faults.next(Method::PUT, "once", 1, Fault::LoseAnswer);
    let error = store.put("once", Content::Bytes(noise(100, 3)), &PutOptions::if_absent()).await.unwrap_err();
    assert!(matches!(error, StoreError::PreconditionFailed { .. }), "{error}");
    assert_eq!(store.read("once", 100).await.unwrap(), noise(100, 3));
    faults.next(Method::DELETE, "k", 1, Fault::LoseAnswer);
    store.delete("k").await.unwrap();
}

/// Files that the server keeps bytes in.
fn blobs(server: &Server) -> usize {
    std::fs::read_dir(server.folder.path().join(".blobs")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_repeated_alone_and_aborted_together() {
    let (server, store) = start().await;
    let faults = server.server.faults();
    let bytes = noise((23 << 20) + 5, 8);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audio");
    std::fs::write(&path, &bytes).unwrap();
    for (key, content) in [("file", Content::File(path)), ("stream", Pieces::content(bytes.clone(), 300_000))]
    {
        faults.add(Rule {
            method: Some(Method::PUT),
            contains: "partNumber=3".into(),
            skip: 0,
            times: 2,
            fault: BUSY,
        });
        faults.next(Method::PUT, "partNumber=2", 1, Fault::LoseAnswer);
        store.put(key, content, &PutOptions::default()).await.unwrap();
        assert_eq!(
            faults.requests(&format!("{key}?")).iter().filter(|line| line.contains("partNumber=1")).count(),
            1
        );
        assert!(store.read(key, 100 << 20).await.unwrap() == bytes);
    }
    assert_eq!(blobs(&server), 2, "parts go once the object is whole");

    faults.next(Method::PUT, "partNumber=4", 1000, BUSY);
    let error = store.put("failed", Content::Bytes(bytes.clone()), &PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(matches!(store.head("failed").await, Err(StoreError::NotFound { .. })));
    let aborted = || blobs(&server) == 2 && faults.requests("DELETE").len() == 1;
    assert!(wait_until(Duration::from_secs(10), aborted), "{:?}", faults.requests("DELETE"));
}

/// The repetition of a completion meets an upload that is no more, because it is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_whose_answer_is_lost_is_found() {
    let (server, store) = start().await;
    let faults = server.server.faults();
    let bytes = noise(16 << 20, 9);
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        faults.next(Method::POST, "uploadId=", 1, fault);
        let put = store.put("whole", Content::Bytes(bytes.clone()), &PutOptions::default()).await.unwrap();
        assert_eq!(put.etag, store.head("whole").await.unwrap().etag);
        assert!(store.read("whole", 100 << 20).await.unwrap() == bytes);
    }
    assert_eq!(
        faults.requests("POST").len(),
        6,
        "one upload each, completed twice: {:?}",
        faults.requests("POST")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_given_up_is_aborted() {
    let (server, store) = start().await;
    server.server.faults().next(Method::PUT, "partNumber=2", 1, Fault::Delay(Duration::from_secs(60)));
    let content = Content::Bytes(noise(16 << 20, 1));
    let options = PutOptions::default();
    let asked = async {
        while server.server.faults().requests("partNumber=2").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        put = store.put("k", content, &options) => panic!("it waits for a part: {put:?}"),
        asked = tokio::time::timeout(Duration::from_secs(20), asked) => asked.expect("it sends the second part"),
    }
    let aborted = || server.server.faults().requests("DELETE").len() == 1;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !aborted() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(aborted(), "{:?}", server.server.faults().requests(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_are_copied_in_parts() {
    let bounds = Bounds { copy_bytes_max: 6 << 20, ..Bounds::default() };
    let server = Server::start(bounds).await;
    let options = S3Options { copy_bytes_max: 6 << 20, ..options() };
    let store = S3Store::connect("s3://bucket".parse().unwrap(), &server.access(), options).await;
    for bytes in [noise(6 << 20, 1), noise((13 << 20) + 1, 2)] {
        put(&store, "from", &bytes).await;
        store.copy("from", "to").await.unwrap();
        assert!(store.read("to", 100 << 20).await.unwrap() == bytes, "{} bytes", bytes.len());
    }
    assert_eq!(server.server.faults().requests("partNumber=3").len(), 1 + 1, "of the put and of the copy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_apart() {
    let (server, store) = start().await;
    put(&store, "k", &noise(10, 1)).await;
    let wrong = S3Access { keys: Some(("key".into(), "wrong".into())), ..server.access() };
    let store = S3Store::connect("s3://bucket".parse().unwrap(), &wrong, options()).await;
    let error = store.read("k", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }) && !error.to_string().contains("wrong"), "{error}");

    let elsewhere = S3Store::connect("s3://missing/x".parse().unwrap(), &server.access(), options()).await;
    for error in [
        elsewhere.read("k", 10).await.unwrap_err(),
        elsewhere.list("", None, 10).await.unwrap_err(),
        elsewhere.put("k", Content::Bytes(noise(1, 1)), &PutOptions::default()).await.unwrap_err(),
    ] {
        assert_eq!(error, StoreError::NotFound { key: "s3://missing".into() });
    }

    let [dead] = free_ports().unwrap();
    let nobody = S3Access { endpoint: Some(format!("http://127.0.0.1:{dead}")), ..server.access() };
    let store = S3Store::connect("s3://bucket".parse().unwrap(), &nobody, options()).await;
    let started = Instant::now();
    let error = store.head("k").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(server.server.faults().requests("GET /bucket/k").len(), 1, "a refusal is not asked for again");
}

/// One request without a client library: what somebody with a presigned address sends.
async fn plain(method: &str, url: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presigned_addresses_work_without_keys() {
    let (_server, store) = start().await;
    let minute = Duration::from_secs(60);
    let put_url = store.presign_put("in box/ä.wav", minute).await.unwrap();
    assert_eq!(plain("PUT", &put_url, b"hello").await.0, 200);
    assert_eq!(store.read("in box/ä.wav", 10).await.unwrap(), Bytes::from_static(b"hello"));
    let get_url = store.presign_get("in box/ä.wav", minute).await.unwrap();
    assert_eq!(plain("GET", &get_url, b"").await, (200, b"hello".to_vec()));
    assert_eq!(plain("PUT", &get_url, b"other").await.0, 403, "for reading only");
    assert_eq!(
        plain("GET", get_url.split('?').next().unwrap(), b"").await.0,
        403,
        "not without the signature"
    );
    let error = store.presign_get("k", Duration::from_secs(7 * 24 * 3600 + 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
    assert!(store.presign_get("k", Duration::from_secs(7 * 24 * 3600)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_do_not_show() {
    let (server, store) = start().await;
    server.server.faults().at_random(0.2, 42);
    for round in 0..40 {
        let (key, bytes) = (format!("r/{round}"), noise(20_000 + round * 997, round as u64 + 1));
        put(&store, &key, &bytes).await;
        assert!(store.read(&key, 1 << 20).await.unwrap() == bytes);
    }
    server.server.faults().at_random(0.0, 0);
    assert_eq!(store.list("r/", None, 1000).await.unwrap().objects.len(), 40);
}
