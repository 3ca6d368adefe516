//! The settings as they may be shown: without secrets.

use super::{Secret, Setting, Settings};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// One setting as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name, as in the file.
    pub name: &'static str,
    /// Its value; `None` when there is none.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: String,
}

/// Every setting, and the variables of the object store's client, which `environment` gives.
#[must_use]
pub fn shown(settings: &Settings, environment: &dyn Fn(&str) -> Option<String>) -> Vec<Shown> {
    let text = |name, setting: &Setting<Option<String>>| Shown {
        name,
        value: setting.value.clone(),
        origin: setting.origin.to_string(),
    };
    let url = |name, setting: &Setting<Secret>| Shown {
        name,
        value: Some(without_password(&setting.value.0)),
        origin: setting.origin.to_string(),
    };
    let mut all = vec![
        url("redis_url", &settings.redis_url),
        url("queue_url", &settings.queue_url),
        text("store_url", &settings.store_url),
        Shown {
            name: "allow",
            value: (!settings.allow.value.is_empty()).then(|| settings.allow.value.join(",")),
            origin: settings.allow.origin.to_string(),
        },
        Shown {
            name: "webhook_secret",
            value: settings.webhook_secret.value.as_ref().map(|_| REDACTED.to_owned()),
            origin: settings.webhook_secret.origin.to_string(),
        },
        text("log", &settings.log),
        Shown {
            name: "log_format",
            value: Some(settings.log_format.value.clone()),
            origin: settings.log_format.origin.to_string(),
        },
    ];
    all.extend(settings.worker.iter().map(|(name, setting)| text(*name, setting)));
    for (variable, secret) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", false),
        ("AWS_ENDPOINT_URL_S3", false),
        ("AWS_ENDPOINT_URL", false),
        ("AWS_REGION", false),
        ("AWS_PROFILE", false),
        ("AWS_ACCESS_KEY_ID", false),
        ("AWS_SECRET_ACCESS_KEY", true),
        ("AWS_SESSION_TOKEN", true),
    ] {
        if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
            let value = if secret { REDACTED.to_owned() } else { value };
            all.push(Shown { name: variable, value: Some(value), origin: "environment".to_owned() });
        }
    }
    all
}

/// An address with its user and password, and its query, replaced.
#[must_use]
pub fn without_password(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, false), |(address, _)| (address, true));
    let Some((scheme, rest)) = address.split_once("://") else { return REDACTED.to_owned() };
    // The last `@` ends the credentials: a password may hold one, a host may not.
    let shown = match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{REDACTED}@{host}"),
        None => format!("{scheme}://{rest}"),
    };
    if query { format!("{shown}?{REDACTED}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::super::Layers;
    use super::*;

    #[test]
    fn passwords_are_redacted() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://:pa@ss@h:1", "redis://[redacted]@h:1"),
            ("amqp://u:p@h/v?auth=x", "amqp://[redacted]@h/v?[redacted]"),
            ("secret", "[redacted]"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn every_secret_is_redacted_and_every_origin_told() {
        let environment = |name: &str| match name {
            "ROLLCALL_WEBHOOK_SECRET" | "AWS_SECRET_ACCESS_KEY" => Some("hidden".to_owned()),
            "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
            "ROLLCALL_REDIS_URL" => Some("redis://:hidden@h".to_owned()),
            _ => None,
        };
        let file = common::config::Settings::default();
        let layers = Layers { flag: &|_| None, environment: &environment, file: &file, path: None };
        let all = shown(&Settings::from_layers(&layers), &environment);
        assert!(!format!("{all:?}").contains("hidden"));
        let one = |name: &str| all.iter().find(|shown| shown.name == name).unwrap();
        assert_eq!(one("redis_url").origin, "ROLLCALL_REDIS_URL");
        assert_eq!(one("webhook_secret").value.as_deref(), Some(REDACTED));
        assert_eq!(one("AWS_ACCESS_KEY_ID").value.as_deref(), Some("id"));
        assert_eq!((one("store_url").value.as_deref(), one("store_url").origin.as_str()), (None, "default"));
    }
}
