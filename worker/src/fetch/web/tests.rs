//! Redirects, breaks and refusals against a server of bytes that the test writes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use common::adapter::web::{Dialling, Internet, Pipe};

use super::*;

/// Connects everything to one plain server.
struct Everything(SocketAddr);

impl Dial for Everything {
    fn dial<'a>(&'a self, _: &'a Uri) -> Dialling<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(self.0).await.unwrap();
            Ok(Box::new(stream) as Box<dyn Pipe>)
        })
    }
}

/// Gives these answers, one a connection, and remembers the requests.
async fn server(answers: &[&str]) -> (Web, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = Web::new(Arc::new(Everything(listener.local_addr().unwrap())));
    let mut answers: VecDeque<String> = answers.iter().map(|text| (*text).to_owned()).collect();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            heard.lock().unwrap().push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (web, requests)
}

async fn read(web: &Web, uri: &str) -> Result<String, String> {
    let mut found = web.open(uri).await.map_err(|error| format!("{error:?}"))?;
    let mut all = Vec::new();
    while let Some(piece) = found.body.next().await.map_err(|error| format!("{error:?}"))? {
        all.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(all).unwrap())
}

#[tokio::test]
async fn a_source_is_read_by_way_of_redirects() {
    let (web, requests) = server(&[
        "HTTP/1.1 302 Found\r\nLocation: /b?c=d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 301 Moved\r\nLocation: https://other/e\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ])
    .await;
    assert_eq!(read(&web, "https://host:8443/a").await, Ok("hello".to_owned()));
    let heads: Vec<String> = requests
        .lock()
        .unwrap()
        .iter()
        .map(|text| text.lines().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        heads,
        [
            "GET /a HTTP/1.1 host: host:8443",
            "GET /b?c=d HTTP/1.1 host: host:8443",
            "GET /e HTTP/1.1 host: other"
        ]
    );
}

#[tokio::test]
async fn redirects_lead_nowhere_else_and_end() {
    for location in ["http://host/", "file:///etc/passwd", "ftp://host/", "//host/x", "https://u:p@host/"] {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let (web, requests) = server(&[&answer]).await;
        assert!(read(&web, "https://host/").await.is_err(), "{location}");
        assert_eq!(requests.lock().unwrap().len(), 1);
    }
    let answers = ["HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"; REDIRECTS_MAX + 1];
    let (web, requests) = server(&answers).await;
    assert!(read(&web, "https://host/").await.unwrap_err().contains("redirects"));
    assert_eq!(requests.lock().unwrap().len(), REDIRECTS_MAX + 1);
}

#[tokio::test]
async fn a_broken_answer_goes_on_where_it_broke_off() {
    let (web, requests) = server(&[
        "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n0123",
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 206 Partial\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789",
    ])
    .await;
    assert_eq!(read(&web, "https://host/a").await, Ok("0123456789".to_owned()));
    let last = requests.lock().unwrap().last().unwrap().to_lowercase();
    assert!(last.contains("range: bytes=4-\r\n") && last.contains("if-range: \"v1\"\r\n"), "{last}");
}

#[tokio::test]
async fn another_version_is_not_sewn_on() {
    let broken = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n0123";
    let (web, _) =
        server(&[broken, "HTTP/1.1 200 OK\r\nETag: \"v2\"\r\nContent-Length: 10\r\n\r\nabcdefghij"]).await;
    assert!(read(&web, "https://host/a").await.unwrap_err().contains("changed"));
    // Without a version there is nothing to hold on to.
    let (web, requests) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123"]).await;
    assert!(read(&web, "https://host/a").await.unwrap_err().contains("broke off after 4 bytes"));
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, word) in [(403, "Forbidden"), (404, "Missing"), (410, "Missing"), (400, "Missing")] {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let (web, _) = server(&[&answer]).await;
        assert!(read(&web, "https://host/a").await.unwrap_err().starts_with(word), "{status}");
    }
    let busy = ["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"; TRIES as usize];
    let (web, requests) = server(&busy).await;
    assert!(read(&web, "https://host/a").await.unwrap_err().starts_with("Unavailable"));
    assert_eq!(requests.lock().unwrap().len(), 3);
    for uri in ["http://host/a", "https://user@host/a", "https:///a", "nonsense"] {
        assert!(read(&web, uri).await.is_err(), "{uri}");
    }
}

#[tokio::test]
async fn private_addresses_are_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let web = Web::new(Arc::new(Internet::new(Audience::Public).unwrap()));
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"] {
        let error = web.open(&format!("https://{host}:{port}/a")).await.unwrap_err();
        assert!(matches!(error, WebError::Forbidden { .. }), "{host}: {error:?}");
    }
    let mut waiting = std::pin::pin!(listener.accept());
    let nobody =
        std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending()));
    assert!(nobody.await, "nobody connected");
}
