//! A job's recording, in ranges, so that a player can seek.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use common::object_key;
use common::port::object_store::content::Body as Content;
use common::port::object_store::{ByteRange, ObjectStore as _, StoreError};
use common::reach::Place;
use futures::stream;

use super::{JobText, record};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;

/// Media type by extension; what browsers do not know is bytes.
fn media_type(key: &str) -> &'static str {
    match key.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "wav" | "wave" => "audio/wav",
        "mp3" => "audio/mpeg",
        "m4a" | "mp4" => "audio/mp4",
        "flac" => "audio/flac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "webm" => "audio/webm",
        "aac" => "audio/aac",
        _ => "application/octet-stream",
    }
}

/// The one range that a header asks for in an object of so many bytes; `None` asks for all of it.
///
/// # Errors
/// When it lies behind the end.
fn wanted(header: Option<&str>, bytes: u64) -> Result<Option<Range<u64>>, ()> {
    // What is not understood, several ranges among it, may be answered with the whole.
    let Some((first, last)) =
        header.and_then(|text| text.strip_prefix("bytes=")).and_then(|text| text.split_once('-'))
    else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(end)) if start <= end => start..end.saturating_add(1).min(bytes),
        (Ok(start), Err(_)) if last.is_empty() => start..bytes,
        (Err(_), Ok(tail)) if first.is_empty() => bytes.saturating_sub(tail)..bytes,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(()) }
}

/// The bytes of an object as they come.
pub fn streamed(content: Content) -> Body {
    Body::from_stream(stream::try_unfold(content, |mut content| async move {
        Ok::<_, StoreError>(content.next().await?.map(|piece| (piece, content)))
    }))
}

/// The answer to a range that lies behind the end, with the length that there is.
fn beyond(bytes: u64) -> Response {
    let detail = format!("the recording has {bytes} bytes");
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range", detail);
    ([(CONTENT_RANGE, format!("bytes */{bytes}"))], problem).into_response()
}

/// The recording of a job that lies in the store.
#[utoipa::path(get, path = "/v1/jobs/{id}/audio", tag = "jobs", params(("id" = String, Path, description = "The job")), responses(
    (status = 200, description = "The recording", content((Vec<u8> = "application/octet-stream"), (Vec<u8> = "audio/wav"), (Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/mp4"), (Vec<u8> = "audio/flac"), (Vec<u8> = "audio/ogg"), (Vec<u8> = "audio/webm"), (Vec<u8> = "audio/aac"))),
    (status = 206, description = "The range that was asked for", content((Vec<u8> = "application/octet-stream"), (Vec<u8> = "audio/wav"), (Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/mp4"), (Vec<u8> = "audio/flac"), (Vec<u8> = "audio/ogg"), (Vec<u8> = "audio/webm"), (Vec<u8> = "audio/aac"))),
    (status = 404, description = "No such job, or its recording is not in the store", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 416, description = "The range lies behind the end", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn audio(
    State(service): State<Service>,
    JobText(id): JobText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = record(&service, &id).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, "no_audio", "the recording is not in the store");
    let key = match service.terms.reach.place(&record.spec.audio.uri) {
        // An earlier version took any source in the store.
        Place::Store(key) if object_key::may_be_source(key) => key,
        _ => return Err(missing()),
    };
    let failed = |error| match error {
        StoreError::NotFound { .. } => missing(),
        other => Problem::of_store(other),
    };
    let bytes = service.objects.head(key).await.map_err(failed)?.bytes;
    // There is no validator that a part could go by: with a condition it is the whole.
    let parts = !headers.contains_key(IF_RANGE);
    let asked = headers.get(RANGE).filter(|_| parts).and_then(|value| value.to_str().ok());
    let Ok(range) = wanted(asked, bytes) else { return Ok(beyond(bytes)) };
    let (start, end) = range.as_ref().map_or((0, bytes), |range| (range.start, range.end));
    let part = range.is_some();
    let object =
        service.objects.get(key, ByteRange { start, end: part.then_some(end) }).await.map_err(failed)?;
    let status = if part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, streamed(object.body)).into_response();
    let headers = [
        (CONTENT_TYPE, media_type(key).to_owned()),
        (CONTENT_LENGTH, (end - start).to_string()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CACHE_CONTROL, "private, max-age=3600".to_owned()),
        (CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, value.parse().expect("numbers and fixed words are header values"));
    }
    if part {
        let value = format!("bytes {start}-{}/{bytes}", end - 1);
        response.headers_mut().insert(CONTENT_RANGE, value.parse().expect("numbers are header values"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_given_and_nonsense_is_the_whole() {
        for (header, range) in [
            (None, Ok(None)),
            (Some("bytes=0-"), Ok(Some(0..10))),
            (Some("bytes=2-3"), Ok(Some(2..4))),
            (Some("bytes=8-99"), Ok(Some(8..10))),
            (Some("bytes=-3"), Ok(Some(7..10))),
            (Some("bytes=-99"), Ok(Some(0..10))),
            (Some("bytes=10-"), Err(())),
            (Some("bytes=-0"), Err(())),
            (Some("bytes=3-2"), Ok(None)),
            (Some("bytes=0-1,4-5"), Ok(None)),
            (Some("items=0-1"), Ok(None)),
            (Some("bytes=a-b"), Ok(None)),
            (Some("bytes=0-18446744073709551615"), Ok(Some(0..10))),
        ] {
            assert_eq!(wanted(header, 10), range, "{header:?}");
        }
    }
}
