//! Why a command of the fleet failed, and what to try.

use std::path::PathBuf;

use common::config::SettingsError;
use common::job::id::JobId;
use common::job::record::JobState;
use common::port::broker::BrokerError;
use common::port::job_store::JobStoreError;
use common::port::object_store::StoreError;
use common::speech::render::json::DocumentError;

use super::{ExitStatus, Explain};

/// A service that commands need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Redis, with the job records.
    JobStore,
    /// RabbitMQ or Redis Streams.
    Queue,
    /// S3, or a folder.
    ObjectStore,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::JobStore => "job store",
            Self::Queue => "queue",
            Self::ObjectStore => "object store",
        }
    }

    /// The setting that says where it is.
    fn variable(self) -> &'static str {
        match self {
            Self::JobStore => "ROLLCALL_REDIS_URL",
            Self::Queue => "ROLLCALL_QUEUE_URL",
            Self::ObjectStore => "AWS_ENDPOINT_URL_S3",
        }
    }
}

/// What a service or library said: the cause of an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Said(pub String);

/// Why a command of the fleet failed.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Flags or settings that cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A setting has a value that means nothing.
    #[error("not a value of `{setting}`: `{value}`")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        hint: String,
    },
    /// No object store is named.
    #[error("no object store is configured: `ROLLCALL_STORE_URL` is not set")]
    NoStore,
    /// Nobody answers.
    #[error("the {} does not answer: `{endpoint}`", service.name())]
    Unreachable {
        /// Which service.
        service: Service,
        /// Its address, without credentials, or the object that was asked for.
        endpoint: String,
        /// What happened.
        source: Said,
    },
    /// The service is there and says no: credentials, names, rights.
    #[error("the {} refuses: `{endpoint}`", service.name())]
    Refused {
        /// Which service.
        service: Service,
        /// Its address, without credentials, or the object that was asked for.
        endpoint: String,
        /// What it said.
        source: Said,
    },
    /// A stored record is not what this version writes.
    #[error("unreadable in the job store: {what}: `{value}`")]
    Unreadable {
        /// Which entry.
        what: String,
        /// What stands there.
        value: String,
    },
    /// An object of the store that ought to be there is not, or is not what it ought to be.
    #[error("the result of job {job} cannot be read")]
    Result {
        /// The job.
        job: JobId,
        /// Why.
        source: StoreError,
    },
    /// No such jobs.
    #[error("no such job: {}", list(jobs))]
    UnknownJobs {
        /// Those that are not known.
        jobs: Vec<JobId>,
    },
    /// The job has no result, or none yet.
    #[error("job {job} has no result: it is {}", state.as_str())]
    NoResult {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
        /// Why it failed, when it did.
        #[source]
        failure: Option<Said>,
    },
    /// What the job gave is another kind of thing.
    #[error("job {job} has no such result: it learnt a voice")]
    NoDocument {
        /// The job.
        job: JobId,
    },
    /// The stored document is not one that this version reads.
    #[error("the result of job {job} is not a document of this version")]
    Document {
        /// The job.
        job: JobId,
        /// Why.
        source: DocumentError,
    },
    /// A file of the user's cannot be written.
    #[error("cannot write the result: `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No such API key.
    #[error("no such key: `{id}`")]
    UnknownKey {
        /// What was given.
        id: String,
    },
    /// More API keys than are kept.
    #[error("there are {most} keys already")]
    TooManyKeys {
        /// The bound.
        most: usize,
    },
    /// Others could reach the API, and nothing would ask them who they are.
    #[error("without a key the API listens at a loopback address only: `{address}`")]
    KeysNeeded {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// No webhook can be sent.
    #[error("webhooks cannot be sent")]
    Webhooks {
        /// Why.
        source: common::adapter::web::WebError,
    },
    /// The address to listen at is taken or not ours.
    #[error("cannot listen: `{address}`")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

fn list(jobs: &[JobId]) -> String {
    let texts: Vec<_> = jobs.iter().take(5).map(|job| format!("`{job}`")).collect();
    let more = jobs.len().saturating_sub(texts.len());
    if more > 0 { format!("{} and {more} more", texts.join(", ")) } else { texts.join(", ") }
}

impl From<JobStoreError> for FleetError {
    fn from(error: JobStoreError) -> Self {
        let service = Service::JobStore;
        match error {
            JobStoreError::Unavailable { endpoint, detail } => {
                Self::Unreachable { service, endpoint, source: Said(detail) }
            }
            JobStoreError::Refused { endpoint, detail } => {
                Self::Refused { service, endpoint, source: Said(detail) }
            }
            JobStoreError::Unreadable { what, value } => Self::Unreadable { what, value },
        }
    }
}

impl From<BrokerError> for FleetError {
    fn from(error: BrokerError) -> Self {
        let service = Service::Queue;
        match error {
            BrokerError::Unavailable { endpoint, detail } | BrokerError::Unconfirmed { endpoint, detail } => {
                Self::Unreachable { service, endpoint, source: Said(detail) }
            }
            BrokerError::Refused { endpoint, detail } => {
                Self::Refused { service, endpoint, source: Said(detail) }
            }
        }
    }
}

impl FleetError {
    /// What an error of the store means when it is about the store itself, not about an object that somebody named.
    #[must_use]
    pub fn of_store(error: StoreError) -> Self {
        let service = Service::ObjectStore;
        match error {
            StoreError::Unavailable { key, detail, .. } => {
                Self::Unreachable { service, endpoint: key, source: Said(detail) }
            }
            StoreError::Forbidden { key, detail } | StoreError::Rejected { key, detail } => {
                Self::Refused { service, endpoint: key, source: Said(detail) }
            }
            StoreError::NotFound { key } => {
                Self::Refused { service, endpoint: key, source: Said("it does not exist".to_owned()) }
            }
            other => {
                Self::Refused { service, endpoint: "object".to_owned(), source: Said(other.to_string()) }
            }
        }
    }

    /// What an error of the store means while a job's result is read.
    #[must_use]
    pub fn of_result(job: JobId, error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Forbidden { .. } => Self::of_store(error),
            source => Self::Result { job, source },
        }
    }
}

impl Explain for FleetError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Settings(_)
            | Self::Setting { .. }
            | Self::NoStore
            | Self::Refused { .. }
            | Self::KeysNeeded { .. }
            | Self::Webhooks { .. }
            | Self::Listen { .. } => ExitStatus::Usage,
            Self::Unreachable { .. } => ExitStatus::Unreachable,
            Self::Unreadable { .. }
            | Self::Result { .. }
            | Self::UnknownJobs { .. }
            | Self::NoResult { .. }
            | Self::NoDocument { .. }
            | Self::Document { .. }
            | Self::UnknownKey { .. }
            | Self::TooManyKeys { .. }
            | Self::Write { .. } => ExitStatus::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Settings(_) => vec!["`rollcall --help` names the settings".to_owned()],
            Self::Setting { hint, .. } => vec![hint.clone()],
            Self::NoStore => vec![
                "say where audio and results are: `--store-url s3://BUCKET` or `file:///FOLDER`".to_owned(),
                "`deploy/local/up.sh` starts a fleet and prints the settings for this shell".to_owned(),
            ],
            Self::Unreachable { service, endpoint, source } => {
                unreachable_hints(*service, endpoint, &source.0)
            }
            Self::Refused { service, source, .. } => refused_hints(*service, &source.0),
            Self::Unreadable { .. } | Self::Document { .. } => {
                vec!["records and results of another version? `rollcall --version` names this one".to_owned()]
            }
            Self::Result { .. } => {
                vec!["results are kept for 30 days; `ROLLCALL_STORE_URL` must be the workers'".to_owned()]
            }
            Self::UnknownJobs { .. } => vec![
                "`rollcall list` shows the newest jobs; records of ended jobs are kept for 7 days".to_owned(),
                "`rollcall config show` names the Redis that was asked".to_owned(),
            ],
            Self::NoResult { job, state, .. } => no_result_hints(*job, *state),
            Self::NoDocument { .. } => vec!["`rollcall speakers list` shows the known voices".to_owned()],
            Self::Write { .. } => Vec::new(),
            Self::UnknownKey { .. } => vec!["`rollcall keys list` shows the ids".to_owned()],
            Self::TooManyKeys { .. } => Vec::new(),
            Self::KeysNeeded { .. } => vec![
                "`rollcall keys create NAME` makes one".to_owned(),
                "`--listen 127.0.0.1:7700` needs none: only this machine reaches it".to_owned(),
            ],
            Self::Webhooks { .. } => {
                vec!["this machine has no certificates: install `ca-certificates`".to_owned()]
            }
            Self::Listen { .. } => vec!["`--listen ADDRESS:PORT` names another; port 0 takes any".to_owned()],
        }
    }
}

fn unreachable_hints(service: Service, endpoint: &str, said: &str) -> Vec<String> {
    let refused = said.contains("refused") || said.contains("os error 111");
    let place = match service {
        Service::ObjectStore => "the S3 endpoint".to_owned(),
        Service::JobStore | Service::Queue => format!("`{endpoint}`"),
    };
    let first = if refused {
        format!("nothing listens at {place}; start a fleet with `deploy/local/up.sh`")
    } else {
        format!("is {place} up, and can this machine reach it?")
    };
    vec![first, format!("`{}` says where it is; `rollcall config show` what is in use", service.variable())]
}

/// What S3 servers say to somebody they do not know; the last is all there is of an answer without a body.
const S3_REFUSALS: [&str; 5] = ["credentials", "accessdenied", "signature", "invalidaccesskeyid", "http 403"];

fn refused_hints(service: Service, said: &str) -> Vec<String> {
    let has = |words: &[&str]| words.iter().any(|word| said.to_ascii_lowercase().contains(word));
    let first = match service {
        Service::JobStore if has(&["auth", "pass", "noperm"]) => {
            "user and password stand in the address: `redis://USER:PASSWORD@HOST:PORT`"
        }
        Service::Queue if has(&["vhost", "virtual host", "(530)"]) => {
            "the path of the address names the virtual host (`%2f` is the default one); \
             `rabbitmqctl add_vhost NAME` makes one"
        }
        Service::Queue if has(&["auth", "access_refused", "access refused", "pass", "(403)"]) => {
            "user and password stand in the address: `amqp://USER:PASSWORD@HOST:PORT/VHOST`"
        }
        Service::ObjectStore if has(&S3_REFUSALS) => {
            "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (or `AWS_PROFILE`) say who asks"
        }
        Service::ObjectStore if has(&["does not exist"]) => "`ROLLCALL_STORE_URL` names a bucket that exists",
        Service::ObjectStore => "`ROLLCALL_STORE_URL` is `s3://BUCKET[/PREFIX]` or `file:///FOLDER`",
        Service::JobStore => "`ROLLCALL_REDIS_URL` is `redis://[USER:PASSWORD@]HOST:PORT[/DB]`",
        Service::Queue => "`ROLLCALL_QUEUE_URL` is `amqp://USER:PASSWORD@HOST:PORT/VHOST` or a Redis address",
    };
    vec![first.to_owned(), "`rollcall config show` says what is in use and where it came from".to_owned()]
}

fn no_result_hints(job: JobId, state: JobState) -> Vec<String> {
    vec![match state {
        JobState::Discarded | JobState::Cancelled => format!("`rollcall retry {job}` tries it again"),
        _ => format!("`rollcall wait {job}` waits for it"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_and_who_refuses_have_codes_and_hints_of_their_own() {
        let (endpoint, detail) = ("redis://h:1".to_owned(), "Connection refused (os error 111)".to_owned());
        let away = FleetError::from(JobStoreError::Unavailable { endpoint: endpoint.clone(), detail });
        assert_eq!(away.to_string(), "the job store does not answer: `redis://h:1`");
        assert_eq!(away.status(), ExitStatus::Unreachable);
        assert!(
            away.hints()[0]
                .contains("nothing listens at `redis://h:1`; start a fleet with `deploy/local/up.sh`")
        );

        let detail = "WRONGPASS invalid username-password pair".to_owned();
        let refused = FleetError::from(JobStoreError::Refused { endpoint, detail });
        assert_eq!(refused.status(), ExitStatus::Usage);
        assert!(refused.hints()[0].contains("USER:PASSWORD"));

        let (endpoint, detail) = ("amqp://h:1/none".to_owned(), "vhost none not found (530)".to_owned());
        let refused = FleetError::from(BrokerError::Refused { endpoint, detail });
        assert_eq!(refused.status(), ExitStatus::Usage);
        assert!(refused.hints()[0].contains("virtual host"));
    }

    #[test]
    fn many_unknown_jobs_are_cut() {
        let id = |n: u8| JobId::new(common::clock::Timestamp::from_millis(n.into()), [n; 16]);
        let few = FleetError::UnknownJobs { jobs: vec![id(1)] };
        assert_eq!(few.to_string(), format!("no such job: `{}`", id(1)));
        let many = FleetError::UnknownJobs { jobs: (0..9).map(id).collect() };
        assert!(many.to_string().ends_with(" and 4 more"));
        assert_eq!(many.status(), ExitStatus::Failed);
    }
}
