//! Why a worker cannot join the fleet.

use common::port::broker::BrokerError;
use common::port::job_store::JobStoreError;
use common::port::object_store::StoreError;

/// Why a worker cannot join the fleet, or left it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No place for audio and results is configured.
    #[error("no store is configured for audio and results")]
    NoStore,
    /// A setting has a value that cannot be used.
    #[error("`{name}` cannot be used: {detail}")]
    Setting {
        /// The flag.
        name: &'static str,
        /// What is wrong, with the value where it is no secret.
        detail: String,
    },
    /// Redis.
    #[error("the job store cannot be used")]
    JobStore(#[source] JobStoreError),
    /// RabbitMQ or Redis Streams.
    #[error("the queue cannot be used")]
    Queue(#[source] BrokerError),
    /// S3 or a folder.
    #[error("the store cannot be used: {url}")]
    Store {
        /// Its address.
        url: String,
        /// Why.
        source: StoreError,
    },
    /// Metrics cannot be offered there.
    #[error("cannot listen for metrics: {address}")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no thread, signal or socket.
    #[error("the system does not play along")]
    System(#[from] std::io::Error),
    /// The device went away while the worker ran.
    #[error("the device was lost; what was held was handed back")]
    DeviceLost,
    /// Jobs did not stop in time.
    #[error("some jobs did not stop in time; they run again when their leases have run out")]
    LeasesLeft,
    /// A part of the worker panicked.
    #[error("a defect in Rollcall: a part of the worker ended")]
    Defect,
}

/// The request failed.
const FAILED: u8 = 1;
/// Wrong usage or configuration.
const MISUSED: u8 = 2;
/// A service cannot be reached.
const UNREACHABLE: u8 = 3;

impl ServeError {
    /// What to try, one line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let start = "start a whole fleet with `deploy/local/up.sh`, or name the one there is".to_owned();
        match self {
            Self::NoStore => {
                vec!["set `ROLLCALL_STORE_URL` to `s3://BUCKET[/PREFIX]` or `file:///FOLDER`".to_owned()]
            }
            Self::JobStore(JobStoreError::Unavailable { .. }) => {
                vec![start, "`ROLLCALL_REDIS_URL` says where Redis is".to_owned()]
            }
            Self::JobStore(_) => vec!["check the user and the password in `ROLLCALL_REDIS_URL`".to_owned()],
            Self::Queue(error) if error.is_transient() => {
                vec![start, "`ROLLCALL_QUEUE_URL` says where the queue is".to_owned()]
            }
            Self::Queue(_) => {
                vec!["check user, password and virtual host in `ROLLCALL_QUEUE_URL`".to_owned()]
            }
            Self::Store { source: StoreError::Unavailable { .. }, .. } => {
                vec![start, "`AWS_ENDPOINT_URL_S3` says where S3 is, if it is not Amazon's".to_owned()]
            }
            Self::Store { .. } => {
                vec!["check `ROLLCALL_STORE_URL`, and the `AWS_*` variables for `s3://`".to_owned()]
            }
            Self::Metrics { .. } => {
                vec!["choose a free port with `--metrics-listen`; port 0 lets the system choose".to_owned()]
            }
            Self::Setting { .. } => vec!["`rollcall-worker serve --help` tells what it takes".to_owned()],
            Self::System(_) | Self::DeviceLost | Self::LeasesLeft | Self::Defect => Vec::new(),
        }
    }

    /// The program's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::JobStore(error) if error.is_transient() => UNREACHABLE,
            Self::Queue(error) if error.is_transient() => UNREACHABLE,
            Self::Store { source: StoreError::Unavailable { .. }, .. } => UNREACHABLE,
            Self::NoStore | Self::Setting { .. } | Self::Metrics { .. } => MISUSED,
            Self::JobStore(_) | Self::Queue(_) | Self::Store { .. } => MISUSED,
            Self::System(_) | Self::DeviceLost | Self::LeasesLeft | Self::Defect => FAILED,
        }
    }
}
