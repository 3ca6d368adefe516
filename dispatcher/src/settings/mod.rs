//! Settings from flags, the environment, a file and defaults, each with where it came from.
//!
//! Pure but for [`Settings::read`], which opens the file.

pub mod show;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use common::config::{self, SettingsError};
use common::home::Home;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This flag.
    Flag(&'static str),
    /// This variable of the environment.
    Environment(&'static str),
    /// This file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What every command of the fleet goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Job records.
    pub redis_url: Setting<Secret>,
    /// Delivery; the Redis URL unless said otherwise.
    pub queue_url: Setting<Secret>,
    /// Audio and results.
    pub store_url: Setting<Option<String>>,
    /// Prefixes outside the store that jobs may name.
    pub allow: Setting<Vec<String>>,
    /// What signs webhooks; without it they are refused.
    pub webhook_secret: Setting<Option<Secret>>,
    /// Log filter.
    pub log: Setting<Option<String>>,
    /// `text` or `json`.
    pub log_format: Setting<String>,
    /// Settings of the worker, for showing: name, value.
    pub worker: Vec<(&'static str, Setting<Option<String>>)>,
}

/// Redis where nobody says where it is.
const REDIS_URL: &str = "redis://127.0.0.1:6379";

/// The three layers above the defaults. A value that is empty counts as not given.
pub struct Layers<'a> {
    /// The value of a flag, where one was given.
    pub flag: &'a dyn Fn(&str) -> Option<String>,
    /// The value of an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The file.
    pub file: &'a config::Settings,
    /// Where the file lies.
    pub path: Option<&'a Path>,
}

impl Layers<'_> {
    /// The uppermost value: of the flag `name` (no flag when empty), of the variable, of the file.
    fn pick(
        &self,
        flag: &'static str,
        variable: &'static str,
        file: Option<&str>,
    ) -> Setting<Option<String>> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(value) = given((self.flag)(flag)) {
            return Setting { value: Some(value), origin: Origin::Flag(flag) };
        }
        if let Some(value) = given((self.environment)(variable)) {
            return Setting { value: Some(value), origin: Origin::Environment(variable) };
        }
        match (given(file.map(str::to_owned)), self.path) {
            (Some(value), Some(path)) => {
                Setting { value: Some(value), origin: Origin::File(path.to_owned()) }
            }
            _ => Setting { value: None, origin: Origin::Default },
        }
    }
}

impl Settings {
    /// The settings of these layers.
    #[must_use]
    pub fn from_layers(layers: &Layers<'_>) -> Self {
        let file = layers.file;
        let redis = layers.pick("redis-url", "ROLLCALL_REDIS_URL", file.redis_url.as_deref());
        let redis_url = redis.map(|url| Secret(url.unwrap_or_else(|| REDIS_URL.to_owned())));
        let queue = layers.pick("queue-url", "ROLLCALL_QUEUE_URL", file.queue_url.as_deref());
        let queue_url = queue.map(|url| url.map_or_else(|| redis_url.value.clone(), Secret));
        let listed = file.allow.as_ref().map(|prefixes| prefixes.join(","));
        let allow = layers.pick("allow", "ROLLCALL_ALLOW", listed.as_deref());
        let secret = layers.pick("", "ROLLCALL_WEBHOOK_SECRET", file.webhook_secret.as_deref());
        let home = file.home.as_ref().map(|home| home.display().to_string());
        let keys = file.bundle_keys.as_ref().map(|keys| keys.join(","));
        let signed = file.require_signature.map(|required| required.to_string());
        let or =
            |setting: Setting<Option<String>>, default: Option<String>| setting.map(|set| set.or(default));
        let usual_home =
            Home::from_environment(layers.environment).map(|home| home.root().display().to_string());
        Self {
            redis_url,
            queue_url,
            store_url: layers.pick("store-url", "ROLLCALL_STORE_URL", file.store_url.as_deref()),
            allow: allow.map(|text| prefixes(&text.unwrap_or_default())),
            webhook_secret: secret.map(|secret| secret.map(Secret)),
            log: layers.pick("log", "ROLLCALL_LOG", file.log.as_deref()),
            log_format: layers
                .pick("log-format", "ROLLCALL_LOG_FORMAT", file.log_format.as_deref())
                .map(|format| format.unwrap_or_else(|| "text".to_owned())),
            worker: vec![
                (
                    "bundle",
                    or(
                        layers.pick("", "ROLLCALL_BUNDLE", file.bundle.as_deref()),
                        Some("starter".to_owned()),
                    ),
                ),
                (
                    "device",
                    or(layers.pick("", "ROLLCALL_DEVICE", file.device.as_deref()), Some("auto".to_owned())),
                ),
                ("home", or(layers.pick("", "ROLLCALL_HOME", home.as_deref()), usual_home)),
                ("bundle_keys", layers.pick("", "ROLLCALL_BUNDLE_KEYS", keys.as_deref())),
                (
                    "require_signature",
                    or(
                        layers.pick("", "ROLLCALL_REQUIRE_SIGNATURE", signed.as_deref()),
                        Some("false".to_owned()),
                    ),
                ),
            ],
        }
    }

    /// The settings of a command line, the environment, and the file that they name.
    ///
    /// # Errors
    /// When the file cannot be read or has a key that nobody knows.
    pub fn read(matches: &ArgMatches) -> Result<Self, SettingsError> {
        let path = matches.get_one::<PathBuf>("config").filter(|path| !path.as_os_str().is_empty());
        let file = config::Settings::read(path.map(PathBuf::as_path))?;
        let flag = |name: &str| {
            let id = name.replace('-', "_");
            let given = !id.is_empty() && matches.value_source(&id) == Some(ValueSource::CommandLine);
            given.then(|| matches.get_one::<String>(&id).cloned()).flatten()
        };
        let environment = |variable: &str| std::env::var(variable).ok();
        let layers =
            Layers { flag: &flag, environment: &environment, file: &file, path: path.map(PathBuf::as_path) };
        Ok(Self::from_layers(&layers))
    }
}

impl<T> Setting<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), origin: self.origin }
    }
}

/// Prefixes separated by commas or white space.
fn prefixes(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &config::Settings) -> Settings {
        let find = |pairs: &[(&str, &str)], name: &str| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let path = Path::new("/etc/rollcall.toml");
        Settings::from_layers(&Layers {
            flag: &|name| find(flags, name),
            environment: &|name| find(environment, name),
            file,
            path: Some(path),
        })
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = config::Settings {
            redis_url: Some("redis://file".to_owned()),
            store_url: Some("s3://file".to_owned()),
            allow: Some(vec!["s3://a/".to_owned(), "s3://b/".to_owned()]),
            ..config::Settings::default()
        };
        let found = settings(
            &[("redis-url", "redis://flag")],
            &[("ROLLCALL_REDIS_URL", "redis://environment"), ("ROLLCALL_STORE_URL", "s3://environment")],
            &file,
        );
        assert_eq!(found.redis_url.value.0, "redis://flag");
        assert_eq!(found.redis_url.origin, Origin::Flag("redis-url"));
        assert_eq!(found.store_url.value.as_deref(), Some("s3://environment"));
        assert_eq!(found.store_url.origin, Origin::Environment("ROLLCALL_STORE_URL"));
        assert_eq!(found.allow.value, ["s3://a/", "s3://b/"]);
        assert_eq!(found.allow.origin, Origin::File("/etc/rollcall.toml".into()));
        assert_eq!(found.log_format, Setting { value: "text".to_owned(), origin: Origin::Default });
    }

    #[test]
    fn the_queue_is_the_redis_unless_somebody_says_otherwise() {
        let file = config::Settings::default();
        let found = settings(&[], &[("ROLLCALL_REDIS_URL", "redis://r"), ("ROLLCALL_QUEUE_URL", "")], &file);
        assert_eq!(
            (found.queue_url.value.0.as_str(), &found.queue_url.origin),
            ("redis://r", &Origin::Default)
        );
        let found = settings(&[], &[("ROLLCALL_QUEUE_URL", "amqp://q")], &file);
        assert_eq!(found.queue_url.value.0, "amqp://q");
        assert_eq!(found.redis_url.value.0, REDIS_URL);
    }

    #[test]
    fn secrets_are_not_shown_by_accident() {
        let file = config::Settings::default();
        let found = settings(&[], &[("ROLLCALL_REDIS_URL", "redis://:hidden@h")], &file);
        assert!(!format!("{found:?}").contains("hidden"));
        assert_eq!(prefixes(" a,b  c,,"), ["a", "b", "c"]);
    }
}
