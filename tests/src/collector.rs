//! A collector of traces: takes what comes over OTLP in HTTP and reads as much of the protobuf as the tests look at. And
//! what the tests need to look at pages of metrics.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Of the process that sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Trace, itself, and its parent (empty for a root), hexadecimal.
    pub trace: String,
    /// See `trace`.
    pub id: String,
    /// See `trace`.
    pub parent: String,
    /// Start and end, nanoseconds since 1970.
    pub time: (u64, u64),
}

/// A collector on a port of the loopback interface.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where it is, as `OTEL_EXPORTER_OTLP_ENDPOINT` wants it.
    pub endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Takes spans as long as the runtime lives.
    ///
    /// # Panics
    /// When the system has no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let spans = Arc::clone(&taken);
                let take = service_fn(move |request: Request<Incoming>| {
                    let spans = Arc::clone(&spans);
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        let found = read(&whole(request.into_body()).await);
                        spans.lock().unwrap().extend(found);
                        Ok::<_, Infallible>(Response::new(String::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), take));
            }
        });
        Self { endpoint, spans }
    }

    /// What came so far.
    ///
    /// # Panics
    /// When a request could not be read.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

async fn whole(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.unwrap().into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes
}

/// Fields of a protobuf message: number, then bytes, or the number's own bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let length = match tag & 7 {
            0 => {
                varint(&mut message);
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            5 => 4,
            kind => panic!("no such kind of field: {kind}"),
        };
        let (field, rest) = message.split_at(length);
        found.push((tag >> 3, field));
        message = rest;
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let (byte, rest) = message.split_first().unwrap();
        *message = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn all(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter(move |(found, _)| *found == number).map(|(_, field)| field)
}

fn one(message: &[u8], number: u64) -> &[u8] {
    all(message, number).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `ExportTraceServiceRequest` of opentelemetry-proto 1: resource spans (1) have a resource (1) with attributes (1), and scope
/// spans (2) with spans (2).
fn read(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in all(request, 1) {
        let service = all(one(resource_spans, 1), 1)
            .find(|attribute| one(attribute, 1) == b"service.name")
            .map(|attribute| text(one(one(attribute, 2), 1)));
        for span in all(resource_spans, 2).flat_map(|scope| all(scope, 2).collect::<Vec<_>>()) {
            let hex = |number| one(span, number).iter().map(|byte| format!("{byte:02x}")).collect();
            let nanos = |number| u64::from_le_bytes(one(span, number).try_into().unwrap());
            spans.push(Span {
                service: service.clone().unwrap_or_default(),
                name: text(one(span, 5)),
                trace: hex(1),
                id: hex(2),
                parent: hex(4),
                time: (nanos(7), nanos(8)),
            });
        }
    }
    spans
}

/// The body of `GET path`; `None` when nobody answers, or not with 200.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
}

/// The value of one series of a page of metrics.
#[must_use]
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The address that a program says in its log (JSON) it offers metrics at.
#[must_use]
pub fn metrics_address(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut fields = lines.map(|line| line["fields"].clone());
    fields.find(|fields| fields["message"] == "offers metrics")?["address"].as_str()?.parse().ok()
}
