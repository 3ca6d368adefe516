//! The client: where it connects, how long it waits.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::config::{Credentials, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls;

use super::repeat::RepeatPolicy;

/// What stands in for the environment's `AWS_*`; each `None` leaves it to the environment.
#[derive(Clone, Default)]
pub struct S3Access {
    /// Address of the service instead of Amazon's.
    pub endpoint: Option<String>,
    /// Access key and secret key.
    pub keys: Option<(String, String)>,
    /// Region; `us-east-1` where neither this nor the environment says one.
    pub region: Option<String>,
}

impl std::fmt::Debug for S3Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.keys.as_ref().map(|_| "[redacted]");
        f.debug_struct("S3Access")
            .field("endpoint", &self.endpoint)
            .field("keys", &keys)
            .field("region", &self.region)
            .finish()
    }
}

/// How the adapter works.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Objects above this go up in parts of at least this size. The protocol takes 5 MiB to 5 GiB.
    pub part_bytes: u64,
    /// Parts of one object that are under way at a time; memory for a stream is this many parts.
    pub parts_in_flight: usize,
    /// Largest object that one request copies: 5 GiB in the protocol.
    pub copy_bytes_max: u64,
    /// Bounds of the repetition.
    pub repeat: RepeatPolicy,
    /// How long a body may give nothing before it is asked for anew.
    pub silent_max: Duration,
    /// `http://endpoint/bucket/key` instead of `http://bucket.endpoint/key`; `None` is: where an endpoint is set.
    pub path_style: Option<bool>,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            part_bytes: 16 << 20,
            parts_in_flight: 4,
            copy_bytes_max: 5 << 30,
            repeat: RepeatPolicy::default(),
            silent_max: Duration::from_secs(15),
            path_style: None,
        }
    }
}

/// Region where nobody says one.
const REGION: &str = "us-east-1";
/// Time to open a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Time to the first byte of an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Variables that name the service, the more special one first.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
/// Variables that name the region.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// What the environment says by two variables.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Neither is set.
    Nothing,
    /// One is set, and empty, as by Compose's `${NAME:-}`. The library would take that for an address or a region, and fail.
    Emptied,
    /// The first that is not empty.
    Value(String),
}

impl Said {
    fn by(names: [&str; 2], environment: impl Fn(&str) -> Option<String>) -> Self {
        let mut set = names.into_iter().filter_map(environment).peekable();
        let unset = set.peek().is_none();
        match set.find(|value| !value.trim().is_empty()) {
            Some(value) => Self::Value(value),
            None if unset => Self::Nothing,
            None => Self::Emptied,
        }
    }

    fn value(&self) -> Option<String> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Nothing | Self::Emptied => None,
        }
    }
}

/// Where requests go out.
fn http_client() -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    // Without any certificate the library would end the process, also where nothing is encrypted.
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        tracing::warn!(
            "this machine has no certificates (package ca-certificates): https:// stores cannot be reached"
        );
        return builder.build_http();
    }
    // Named, because the library's own default would bring another TLS.
    builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

pub(super) async fn client(access: &S3Access, options: &S3Options) -> Client {
    let http = http_client();
    let environment = |name: &str| std::env::var(name).ok();
    let (said_endpoint, said_region) = (Said::by(ENDPOINTS, environment), Said::by(REGIONS, environment));
    let endpoint = access.endpoint.clone().or_else(|| said_endpoint.value());
    let elsewhere = endpoint.is_some();
    // Servers other than Amazon's mostly do not care, and asking for an instance's metadata takes seconds to fail.
    let assumed = || elsewhere.then(|| REGION.to_owned());
    let region = access.region.clone().or_else(|| said_region.value()).or_else(assumed);
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(options.silent_max).build(),
        );
    if let Some((key, secret)) = &access.keys {
        loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "rollcall"));
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    } else if said_region == Said::Emptied {
        // What the library would ask behind the environment.
        let provider = ProviderConfig::without_region().with_http_client(http);
        let profile = ProfileFileRegionProvider::builder().configure(&provider).build();
        let machine = ImdsRegionProvider::builder().configure(&provider).build();
        loader = loader.region(RegionProviderChain::first_try(profile).or_else(machine));
    }
    let shared = loader.load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared);
    // For this service alone: credentials come from others.
    if endpoint.is_some() || said_endpoint == Said::Emptied {
        config.set_endpoint_url(endpoint);
    }
    config.set_force_path_style(Some(options.path_style.unwrap_or(elsewhere)));
    if shared.region().is_none() {
        config.set_region(Some(Region::new(REGION)));
    }
    Client::from_conf(config.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_set_to_nothing_says_nothing() {
        let said = |special: Option<&str>, general: Option<&str>| {
            Said::by(ENDPOINTS, |name| {
                let value = if name == ENDPOINTS[0] { special } else { general };
                value.map(str::to_owned)
            })
        };
        let value = |text: &str| Said::Value(text.to_owned());
        assert_eq!(said(None, None), Said::Nothing);
        assert_eq!(said(Some(""), None), Said::Emptied);
        assert_eq!(said(None, Some(" ")), Said::Emptied);
        assert_eq!(said(Some(""), Some("http://b")), value("http://b"));
        assert_eq!(said(Some("http://a"), Some("http://b")), value("http://a"));
    }

    #[tokio::test]
    async fn what_the_caller_says_stands_before_the_environment() {
        let access = S3Access {
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            keys: Some(("key".to_owned(), "secret".to_owned())),
            region: None,
        };
        let client = client(&access, &S3Options::default()).await;
        assert!(client.config().region().is_some_and(|region| !region.as_ref().is_empty()));
    }
}
