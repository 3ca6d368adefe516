//! Between spans of this process and the trace that a job carries from its submitter to its workers.

use std::time::UNIX_EPOCH;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::clock::Timestamp;
use crate::job::trace::TraceContext;

/// Who makes spans.
pub(super) const SCOPE: &str = "rollcall";

/// Makes `span` a part of the trace, and notes the trace's id in its field `trace_id`, if it has one. To be called before
/// the span is entered. Without traces only the id is noted.
pub fn join(span: &Span, trace: Option<&TraceContext>) {
    if let Some(trace) = trace {
        // Fails where no traces are kept, and then there is nothing to join.
        let _ = span.set_parent(remote(trace));
    }
    let id = context(span).map(|own| own.trace()).or(trace.map(TraceContext::trace));
    if let Some(id) = id {
        span.record("trace_id", tracing::field::display(TraceId::from_bytes(id)));
    }
}

/// What has to travel for others to go on under `span`; `None` where no traces are kept.
#[must_use]
pub fn context(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let own = context.span().span_context().clone();
    TraceContext::new(own.trace_id().to_bytes(), own.span_id().to_bytes(), own.trace_flags().to_u8())
}

/// A span that is over already, under the span that `trace` names.
pub fn past(name: &'static str, trace: Option<&TraceContext>, job: &str, from: Timestamp, to: Timestamp) {
    let Some(trace) = trace else { return };
    let builder = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Internal)
        .with_start_time(UNIX_EPOCH + std::time::Duration::from_millis(from.as_millis()))
        .with_attributes([KeyValue::new("job", job.to_owned())]);
    let mut span = global::tracer(SCOPE).build_with_context(builder, &remote(trace));
    span.end_with_timestamp(UNIX_EPOCH + std::time::Duration::from_millis(to.as_millis()));
}

fn remote(trace: &TraceContext) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(trace.trace()),
        SpanId::from_bytes(trace.span()),
        TraceFlags::new(trace.flags()),
        true,
        TraceState::NONE,
    ))
}
