//! Addresses of servers as they may be shown: without credentials.

/// Scheme, host, port and path of an address; user, password and query are left out.
#[must_use]
pub(crate) fn endpoint(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return "[not an address]".to_owned();
    };
    // The last `@` ends the credentials: passwords may hold one, hosts and virtual hosts (as `%40`) may not.
    let (_, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        assert_eq!(endpoint("amqp://user:p@ss@host:5672/v?heartbeat=4"), "amqp://host:5672/v");
        assert_eq!(endpoint("redis://:secret@127.0.0.1:6379/1"), "redis://127.0.0.1:6379/1");
        assert_eq!(endpoint("redis://127.0.0.1:6379"), "redis://127.0.0.1:6379");
        assert_eq!(endpoint("secret"), "[not an address]");
    }
}
