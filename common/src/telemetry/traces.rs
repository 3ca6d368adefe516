//! Spans on their way to a collector, over OTLP (protobuf in HTTP).
//!
//! Nothing waits for a collector: a span that ends is put into a queue of [`QUEUE_MAX`], or dropped and counted when the
//! queue is full; a task of its own carries batches away, each within [`SEND_MAX`]. A refused batch is counted, not sent
//! again. Address, headers, service name and sampling are read from the environment as OpenTelemetry defines it
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`).
//! Only `http://` is spoken: a collector that wants TLS is reached through an agent on the machine.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;

use super::logs::Beside;
use super::{TRACED, metrics, spans};

/// The variable without which no traces are kept.
pub const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Spans that wait at most.
pub const QUEUE_MAX: usize = 4096;
/// Spans of one request at most.
const BATCH_MAX: usize = 512;
/// How long a span waits for others to go with.
const LINGER: Duration = Duration::from_secs(1);
/// Longest time for one request.
pub const SEND_MAX: Duration = Duration::from_secs(5);

enum Message {
    Ended(Box<SpanData>),
    /// Send what there is, then answer.
    Flush(oneshot::Sender<()>),
}

/// Where spans go when they end.
#[derive(Debug)]
struct Queue(Sender<Message>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        let sampled = span.span_context.is_sampled();
        if sampled && self.0.try_send(Message::Ended(Box::new(span))).is_err() {
            metrics::spans("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Traces that are kept but not yet carried away.
#[derive(Debug)]
struct Traces {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    resource: Resource,
}

/// Traces that are being carried away.
#[derive(Debug, Clone)]
pub struct Carried(Sender<Message>);

/// Between [`start`], which a process does before it has a runtime, and [`carry`].
static KEPT: Mutex<Option<Traces>> = Mutex::new(None);

/// Keeps traces from now on, where the environment asks for it: gives what the log is to be started with.
#[must_use]
pub fn start(service: &'static str) -> Option<Beside> {
    std::env::var(VARIABLE).ok().filter(|address| !address.is_empty())?;
    let (sender, receiver) = channel(QUEUE_MAX);
    let mut resource = Resource::builder();
    if std::env::var("OTEL_SERVICE_NAME").is_err() {
        resource = resource.with_service_name(service);
    }
    let resource = resource.build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Queue(sender.clone()))
        .with_resource(resource.clone())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(spans::SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACED))
        .boxed();
    global::set_tracer_provider(provider);
    *kept() = Some(Traces { sender, receiver, resource });
    Some(layer)
}

/// Carries spans away from now on, on the runtime that this is called in; `None` where no traces are kept, or nobody can
/// take them, which is logged: a job needs no traces.
#[must_use]
pub fn carry() -> Option<Carried> {
    let Traces { sender, receiver, resource } = kept().take()?;
    match SpanExporter::builder().with_http().build() {
        Ok(mut exporter) => {
            exporter.set_resource(&resource);
            tokio::spawn(carried(receiver, exporter));
            Some(Carried(sender))
        }
        Err(error) => {
            tracing::warn!(%error, "traces are not kept: the collector that the environment names cannot be used");
            None
        }
    }
}

fn kept() -> MutexGuard<'static, Option<Traces>> {
    // Nothing panics while it holds the lock.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Carried {
    /// Sends what has ended so far; gives up after `bound`.
    pub async fn flush(&self, bound: Duration) {
        let (done, heard) = oneshot::channel();
        let flushing = async {
            if self.0.send(Message::Flush(done)).await.is_ok() {
                let _ = heard.await;
            }
        };
        // What is not sent by then is lost, which a dead collector may cost, and nothing else.
        let _ = timeout(bound, flushing).await;
    }
}

async fn carried(mut queue: Receiver<Message>, exporter: SpanExporter) {
    let mut failing = false;
    while let Some(first) = queue.recv().await {
        let (batch, waiting) = gather(&mut queue, first).await;
        let spans = batch.len();
        if spans > 0 {
            let refused = match timeout(SEND_MAX, exporter.export(batch)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {SEND_MAX:?}")),
            };
            let sent = refused.is_none();
            metrics::spans(if sent { "sent" } else { "refused" }, spans);
            if failing == sent {
                failing = !sent;
                match refused {
                    None => tracing::info!("traces are taken again"),
                    Some(error) => tracing::warn!(%error, "traces are not taken"),
                }
            }
        }
        for flush in waiting {
            // Whoever asked may have given up.
            let _ = flush.send(());
        }
    }
}

/// A batch: until it is full, somebody wants it sent, or it has waited long enough.
async fn gather(queue: &mut Receiver<Message>, first: Message) -> (Vec<SpanData>, Vec<oneshot::Sender<()>>) {
    let (mut batch, mut waiting) = (Vec::new(), Vec::new());
    let mut take = |message, batch: &mut Vec<SpanData>| match message {
        Message::Ended(span) => batch.push(*span),
        Message::Flush(done) => waiting.push(done),
    };
    take(first, &mut batch);
    let over = tokio::time::sleep(LINGER);
    tokio::pin!(over);
    let mut flushed = batch.is_empty();
    while !flushed && batch.len() < BATCH_MAX {
        let message = tokio::select! {
            message = queue.recv() => message,
            () = &mut over => None,
        };
        let Some(message) = message else { break };
        flushed = matches!(message, Message::Flush(_));
        take(message, &mut batch);
    }
    (batch, waiting)
}
