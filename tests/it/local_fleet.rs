//! `deploy/local/up.sh` and `down.sh`, with stand-ins for the programs of the fleet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::servers::detached::Detached;

const ROLLCALL: &str = r#"#!/bin/bash
case "$1 $2" in
  "serve --help" | "workers --help") exit 0 ;;
  "serve --listen") echo "api on $3 with $ROLLCALL_REDIS_URL"; exec sleep 600 ;;
  "workers --json") for file in "$STAND_IN"/worker.*; do [ -e "$file" ] && echo '{"last_seen_s":1}'; done; exit 0 ;;
esac
exit 2
"#;
const WORKER: &str = r#"#!/bin/bash
[ "$1 $2" = "serve --help" ] && exit 0
[ -n "$ROLLCALL_QUEUE_URL$AWS_ENDPOINT_URL_S3" ] && touch "$STAND_IN/worker.$$"
trap 'rm -f "$STAND_IN/worker.$$"; exit 0' TERM
while true; do sleep 0.1; done
"#;

struct Fleet {
    folder: tempfile::TempDir,
    scripts: PathBuf,
}

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, text) in [("rollcall", ROLLCALL), ("rollcall-worker", WORKER)] {
            fs::write(bin.join(name), text).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_rollcall-local"), bin.join("rollcall-local")).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local");
        Self { folder, scripts }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.scripts.join(script));
        command.args(arguments).arg("--dir").arg(self.state()).env("STAND_IN", self.folder.path());
        if script == "up.sh" {
            command.arg("--bin").arg(self.folder.path().join("bin"));
        }
        // Returns only when nobody holds the other ends of the pipes any more.
        command.output().unwrap()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.run("down.sh", &[]);
    }
}

fn exports(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    out.lines().filter(|line| line.starts_with("export ")).collect::<Vec<_>>().join("\n")
}

/// Runs a command in a shell that has read the lines.
fn with(exports: &str, command: &str) -> String {
    let output = Command::new("bash").args(["-c", &format!("{exports}\n{command}")]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_fleet_comes_up_once_and_goes_without_a_trace() {
    let fleet = Fleet::new();
    assert!(fleet.run("down.sh", &[]).status.success(), "nothing is there");
    for queue in ["redis", "amqp"] {
        let lines = exports(&fleet.run("up.sh", &["--workers", "2", "--queue", queue]));
        let value = |name: &str| with(&lines, &format!("printf %s \"${name}\""));
        assert!(value("ROLLCALL_QUEUE_URL").starts_with(&format!("{queue}://")), "{lines}");
        assert!(value("ROLLCALL_REDIS_URL").starts_with("redis://"));
        assert_eq!(value("ROLLCALL_STORE_URL"), "s3://rollcall");
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_S3"] {
            assert!(!value(name).is_empty(), "{name}");
        }
        assert_eq!(
            with(&lines, "command -v rollcall-worker"),
            fleet.folder.path().join("bin/rollcall-worker").display().to_string()
        );

        let processes = Detached::all(&fleet.state());
        let names: Vec<_> = processes.iter().map(|process| process.name.as_str()).collect();
        let rabbit: &[&str] = if queue == "amqp" { &["rabbitmq", "rabbitmq-epmd"] } else { &[] };
        assert_eq!(names, [&["api"], rabbit, &["redis", "s3", "worker-1", "worker-2"]].concat());
        assert!(processes.iter().all(Detached::alive));

        assert_eq!(
            exports(&fleet.run("up.sh", &["--workers", "2", "--queue", queue])),
            lines,
            "once more: the same"
        );
        assert_eq!(Detached::all(&fleet.state()), processes);

        assert!(fleet.run("down.sh", &[]).status.success());
        assert!(!fleet.state().exists());
        assert!(!processes.iter().any(Detached::alive), "{processes:?}");
    }
}

#[test]
fn other_options_start_anew_and_a_death_is_noticed() {
    let fleet = Fleet::new();
    exports(&fleet.run("up.sh", &["--workers", "1", "--queue", "redis"]));
    let first = Detached::all(&fleet.state());
    exports(&fleet.run("up.sh", &["--workers", "2", "--queue", "redis", "--everysec"]));
    let second = Detached::all(&fleet.state());
    assert_eq!((first.len(), second.len()), (4, 5));
    assert!(!first.iter().any(Detached::alive) && second.iter().all(Detached::alive));
    let worker = second.iter().find(|process| process.name == "worker-2").unwrap();
    worker.stop(&fleet.folder.path().join("elsewhere"), std::time::Duration::from_secs(5)).unwrap();
    exports(&fleet.run("up.sh", &["--workers", "2", "--queue", "redis", "--everysec"]));
    assert!(Detached::all(&fleet.state()).iter().all(Detached::alive), "the dead one is replaced");
}

#[test]
fn what_is_missing_is_said_and_nothing_stays() {
    let fleet = Fleet::new();
    let fails_with = |arguments: &[&str], code: i32, texts: &[&str]| {
        let output = fleet.run("up.sh", arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(texts.iter().any(|text| err.contains(text)), "{err}");
        assert!(!fleet.state().exists());
    };
    let fails = |arguments: &[&str], code: i32, text: &str| fails_with(arguments, code, &[text]);
    fails(&["--workers", "many"], 2, "not a number of workers: many");
    fails(&["--queue", "kafka"], 2, "not a kind of queue: kafka");
    fs::write(fleet.folder.path().join("bin/rollcall-worker"), "#!/bin/bash\nexit 2\n").unwrap();
    fails(&["--queue", "redis"], 1, "has no `serve`");
    // A worker that dies at once takes down what was started with it.
    let dying = "#!/bin/bash\n[ \"$1 $2\" = 'serve --help' ] && exit 0\necho no bundle >&2; exit 1\n";
    fs::write(fleet.folder.path().join("bin/rollcall-worker"), dying).unwrap();
    // On a slow machine it is seen to be gone a moment later.
    fails_with(&["--queue", "redis"], 1, &["ended at once", "the fleet did not start"]);
    fs::remove_file(fleet.folder.path().join("bin/rollcall")).unwrap();
    fails(&["--queue", "redis"], 1, "missing program");
}
