//! One Redis and one RabbitMQ for all tests of a run. Each test takes names of its own on them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where the shared servers are.
#[derive(Debug, Clone)]
pub struct Shared {
    /// `redis://…`
    pub redis_url: String,
    /// `amqp://…`
    pub amqp_url: String,
}

/// Variables in which whoever runs the tests says where the servers are.
const VARIABLES: [&str; 2] = ["ROLLCALL_TEST_REDIS_URL", "ROLLCALL_TEST_AMQP_URL"];

/// The servers that the environment names; else new ones, which end with this process.
///
/// # Panics
/// When they cannot be started: no test that needs them can say anything then.
#[must_use]
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let [redis, amqp] = VARIABLES.map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        if let (Some(redis_url), Some(amqp_url)) = (redis, amqp) {
            return Shared { redis_url, amqp_url };
        }
        let folder = std::env::temp_dir().join(format!("rollcall-tests-{}", std::process::id()));
        let output = Command::new(program())
            .args(["start", "--redis", "--amqp", "--dir"])
            .arg(&folder)
            .args(["--watch", &std::process::id().to_string()])
            .output()
            .expect("`rollcall-local` lies beside the tests");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "the servers did not start: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.expect("a started server is printed").trim_matches('\'').to_owned()
        };
        Shared { redis_url: value("ROLLCALL_REDIS_URL"), amqp_url: value("ROLLCALL_AMQP_URL") }
    })
}

/// `rollcall-local`, which cargo builds beside the folder of the test programs.
pub(super) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors()
        .map(|folder| folder.join("rollcall-local"))
        .find(|path| path.is_file())
        .expect("cargo builds `rollcall-local` with the tests of its crate")
}
