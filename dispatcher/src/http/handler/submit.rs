//! A new job: JSON that names the recording, or a form that brings it.

use axum::body::to_bytes;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use common::job::record::JobRecord;
use common::port::job_store::Inserted;
use common::speech::transcript;
use utoipa::ToSchema;

use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;
use crate::http::upload::{Bound, Received, receive};
use crate::submit::source::Source;
use crate::submit::{Ports, check, name_file, submit};
use crate::wire::record::RecordDocument;
use crate::wire::request::{JobBody, JobRequest, Wishes};

/// Largest JSON object of a job.
const JOB_BYTES_MAX: usize = 1 << 20;
/// Most parts of a form.
const PARTS_MAX: usize = 8;
/// What a form has to bring.
const ONE_RECORDING: &str = "one recording: the part `audio`, or `audio` in the part `job`";
/// The submitter's name for a submission.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A form that brings its recording.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the description of a form")]
pub struct JobForm {
    /// What is wanted: the same object as the JSON body, without `audio`.
    job: Option<JobBody>,
    /// The recording.
    #[schema(value_type = String, format = Binary)]
    audio: Vec<u8>,
    /// A transcript whose segments get speakers.
    #[schema(value_type = Option<String>, format = Binary)]
    transcript: Option<Vec<u8>>,
}

/// Submits a recording.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same job")),
    request_body(content((JobBody = "application/json"), (JobForm = "multipart/form-data"))), responses(
    (status = 202, description = "The record of the job", body = RecordDocument<'static>),
    (status = 400, description = "Not a job", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 403, description = "An address that may not be named", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 408, description = "The body came too slowly", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "The content made workers vanish before", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 413, description = "Too large", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 415, description = "Neither JSON nor a form", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, description = "A value that cannot be used", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, description = "Too many uploads, or a service is away", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn create(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let key = idempotency_key(request.headers())?;
    match media_type(request.headers()).as_str() {
        "application/json" => {
            let body = to_bytes(request.into_body(), JOB_BYTES_MAX).await;
            let (audio, wishes) = read(&body.map_err(|error| Problem::body(&error))?)?;
            let audio = audio.ok_or_else(|| Problem::malformed("not a job: missing field `audio`"))?;
            accept(service, JobRequest { audio, wishes: keyed(wishes, key)? }).await
        }
        "multipart/form-data" => {
            let slot = service.uploads.try_acquire();
            let _slot = slot.map_err(|_| Problem::crowded("too many uploads at once"))?;
            let form = Multipart::from_request(request, &service).await;
            let form = form.map_err(|error| Problem::malformed(error.body_text()))?;
            let form = Form { key, ..Form::default() }.read(&service, form).await?;
            let held = service.clone();
            // Whoever asked may go away now; what was uploaded still gets its place and its job.
            let finished = tokio::spawn(async move { finish(held, form).await }).await;
            finished.unwrap_or_else(|_| {
                Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a defect"))
            })
        }
        other => {
            let detail = format!("a job is `application/json` or `multipart/form-data`, not `{other}`");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", detail))
        }
    }
}

/// The type of a body, without its parameters.
fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let read = |value: &axum::http::HeaderValue| {
        value
            .to_str()
            .map(str::to_owned)
            .map_err(|_| Problem::malformed("`Idempotency-Key` is visible ASCII"))
    };
    headers.get(IDEMPOTENCY_KEY).map(read).transpose()
}

/// The wishes with the header's key; the two must not differ.
fn keyed(wishes: Wishes, key: Option<String>) -> Result<Wishes, Problem> {
    match (&wishes.idempotency_key, &key) {
        (Some(own), Some(header)) if own != header => {
            Err(Problem::invalid("`idempotency_key` and the header `Idempotency-Key` differ"))
        }
        _ => Ok(Wishes { idempotency_key: key.or_else(|| wishes.idempotency_key.clone()), ..wishes }),
    }
}

/// A job as JSON. Nothing in it may be a path: this is another machine than the submitter's.
fn read(body: &[u8]) -> Result<(Option<String>, Wishes), Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed("not a job: not UTF-8"))?;
    let (audio, wishes) = Wishes::from_json(text)?;
    for address in audio.iter().chain(&wishes.transcript) {
        if matches!(Source::parse(address), Ok(Source::Path(_))) {
            let shown: String = address.chars().take(256).collect();
            return Err(Problem::forbidden(format!(
                "neither an `s3://` nor an `https://` address: `{shown}`"
            )));
        }
    }
    Ok((audio, wishes))
}

/// What a form brought.
#[derive(Default)]
struct Form {
    /// The submitter's name for it, of the header; once the wishes are read, theirs.
    key: Option<String>,
    /// What the part `job` says, once it was read.
    job: Option<Wishes>,
    named: Option<String>,
    audio: Option<Received>,
    transcript: Option<Received>,
}

impl Form {
    /// Reads a form; removes what it brought when it cannot be used.
    async fn read(mut self, service: &Service, mut form: Multipart) -> Result<Self, Problem> {
        let read = self.parts(service, &mut form).await.and_then(|()| self.whole());
        if let Err(problem) = read {
            for received in self.audio.iter().chain(&self.transcript) {
                received.discard(service).await;
            }
            return Err(problem);
        }
        Ok(self)
    }

    async fn parts(&mut self, service: &Service, form: &mut Multipart) -> Result<(), Problem> {
        // A key that is none spoils whatever comes.
        let wishes = Wishes { idempotency_key: self.key.clone(), ..Wishes::default() };
        check(&wishes, &service.terms)?;
        for _ in 0..PARTS_MAX {
            let Some(field) = form.next_field().await.map_err(|error| Problem::body(&error))? else {
                return Ok(());
            };
            let name = field.name().unwrap_or_default().to_owned();
            match name.as_str() {
                "job" if self.job.is_none() => {
                    let (named, wishes) = read(&whole(field).await?)?;
                    let wishes = keyed(wishes, self.key.take())?;
                    check(&wishes, &service.terms)?;
                    (self.named, self.job) = (named, Some(wishes));
                }
                "audio" if self.audio.is_none() => {
                    let bound = Bound { bytes_max: service.rules.upload_bytes_max, code: "audio_too_long" };
                    self.audio = Some(receive(service, field, bound).await?);
                }
                "transcript" if self.transcript.is_none() => {
                    let most = transcript::Limits::default().bytes_max as u64;
                    let bytes_max = most.min(service.rules.upload_bytes_max);
                    let bound = Bound { bytes_max, code: "too_large" };
                    self.transcript = Some(receive(service, field, bound).await?);
                }
                _ => {
                    let name: String = name.chars().take(64).collect();
                    let detail = format!("the parts are `job`, `audio`, `transcript`, once each: `{name}`");
                    return Err(Problem::invalid(detail));
                }
            }
            // What is too much already is not read on.
            self.fits()?;
        }
        Err(Problem::invalid(format!("a form has at most {PARTS_MAX} parts")))
    }

    /// Whether nothing has come twice.
    fn fits(&self) -> Result<(), Problem> {
        if self.audio.is_some() && self.named.is_some() {
            return Err(Problem::invalid(ONE_RECORDING));
        }
        if self.transcript.is_some() && self.job.as_ref().is_some_and(|wishes| wishes.transcript.is_some()) {
            return Err(Problem::invalid("one transcript: the part, or `options.transcript`"));
        }
        Ok(())
    }

    /// Whether nothing is missing.
    fn whole(&self) -> Result<(), Problem> {
        if self.audio.is_none() && self.named.is_none() {
            return Err(Problem::invalid(ONE_RECORDING));
        }
        Ok(())
    }
}

/// A small part, whole.
async fn whole(mut field: Field<'_>) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| Problem::body(&error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > JOB_BYTES_MAX {
            return Err(Problem::too_large(format!("the part `job` is larger than {JOB_BYTES_MAX} bytes")));
        }
    }
    Ok(bytes)
}

/// Puts what was uploaded into its place and submits it.
async fn finish(service: Service, form: Form) -> Result<Response, Problem> {
    let Form { key, job, named, audio, transcript } = form;
    let mut wishes = job.unwrap_or_else(|| Wishes { idempotency_key: key, ..Wishes::default() });
    if let Some(transcript) = transcript {
        wishes.transcript = Some(transcript.settle(&service).await?.uri);
    }
    let audio = match (named, audio) {
        (Some(named), _) => named,
        (None, Some(received)) => {
            name_file(&mut wishes.tags, &received.name);
            received.settle(&service).await?.uri
        }
        (None, None) => return Err(Problem::invalid("no recording")),
    };
    accept(service, JobRequest { audio, wishes }).await
}

async fn accept(service: Service, request: JobRequest) -> Result<Response, Problem> {
    let ports = Ports {
        jobs: &service.jobs,
        broker: &service.broker,
        objects: &service.objects,
        clock: service.clock(),
        random: service.random(),
    };
    let mut outcome = submit(&ports, vec![request], &service.terms, &|_| {}).await?;
    match outcome.submitted.pop().map(|submitted| submitted.inserted) {
        Some(Inserted::Poison { job }) => {
            let detail = format!("this content made workers vanish: job {job} shows it");
            Err(Problem::new(StatusCode::CONFLICT, "poison", detail))
        }
        Some(Inserted::Accepted(record) | Inserted::Cached(record) | Inserted::Same(record)) => {
            Ok(accepted(&record))
        }
        None => Err(outcome.stopped.map_or_else(|| Problem::invalid("no recording"), Problem::from)),
    }
}

fn accepted(record: &JobRecord) -> Response {
    let place = [(LOCATION, format!("/v1/jobs/{}", record.id))];
    (StatusCode::ACCEPTED, place, axum::Json(RecordDocument::new(record))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_this_machine_is_taken() {
        for audio in ["/etc/passwd", "a.wav", "file:///etc/passwd", "../a.wav", "C:\\a.wav"] {
            let body = serde_json::json!({ "audio": { "uri": audio } }).to_string();
            assert!(read(body.as_bytes()).is_err(), "{audio}");
            let body = serde_json::json!({ "audio": "s3://b/a", "options": { "transcript": audio } });
            assert!(read(body.to_string().as_bytes()).is_err(), "{audio}");
        }
        assert!(read(br#"{"audio":"s3://b/a.wav"}"#).is_ok());
        assert!(read(b"\xff").is_err());
    }

    #[test]
    fn one_key_or_the_same_twice() {
        let wishes =
            |key: Option<&str>| Wishes { idempotency_key: key.map(str::to_owned), ..Wishes::default() };
        let joined = |own, header: Option<&str>| {
            keyed(wishes(own), header.map(str::to_owned)).map(|wishes| wishes.idempotency_key)
        };
        assert_eq!(joined(None, Some("a")).unwrap().as_deref(), Some("a"));
        assert_eq!(joined(Some("a"), None).unwrap().as_deref(), Some("a"));
        assert_eq!(joined(Some("a"), Some("a")).unwrap().as_deref(), Some("a"));
        assert!(joined(Some("a"), Some("b")).is_err());
    }
}
