//! What lies in `deploy/` held to the code: settings, queues, metrics, alerts and their pages, and the scripts of a machine
//! whose time is over.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::adapter::amqp::{DELIVERY_LIMIT, queue_name};
use common::config::Settings;
use common::job::failure::FailureCode;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::telemetry::catalogue::{ALL, Kind};
use tests::fleet::{Fleet, PATIENCE, Process, Queue};
use tests::noop::WORK_MS;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

#[test]
fn the_sample_settings_are_settings() {
    for name in ["config/rollcall.toml", "config/worker.toml"] {
        let settings = Settings::read(Some(&deploy().join(name))).unwrap();
        assert!(settings.store_url.is_some_and(|url| url.starts_with("s3://")), "{name}");
    }
}

#[test]
fn the_queues_that_operators_define_are_those_that_the_code_declares() {
    let definitions: serde_json::Value = serde_json::from_str(&read("rabbitmq/definitions.json")).unwrap();
    let queues = definitions["queues"].as_array().unwrap();
    let names: Vec<_> = queues.iter().map(|queue| queue["name"].as_str().unwrap()).collect();
    assert_eq!(names, Lane::ALL.map(|lane| queue_name("rollcall", lane)));
    for queue in queues {
        assert_eq!((&queue["durable"], &queue["auto_delete"]), (&true.into(), &false.into()));
        let arguments = serde_json::json!({"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT});
        assert_eq!(queue["arguments"], arguments);
    }
    let scaled = read("k8s/overlays/keda-rabbitmq/scaled-object.yaml");
    for name in names {
        assert!(scaled.contains(&format!("queueName: {name},")), "{name}");
    }
}

#[test]
fn every_alert_and_every_failure_code_has_its_page_and_no_page_is_left_over() {
    let rules = read("alerts/rollcall.yaml");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in &alerts {
        assert!(rules.contains(&format!("runbook: deploy/runbook/{alert}.md\n")), "{alert}");
    }
    let mut pages: BTreeSet<String> = alerts.iter().map(|alert| (*alert).to_owned()).collect();
    pages.extend(FailureCode::ALL.iter().map(|code| code.as_str().to_owned()));
    let folder = std::fs::read_dir(deploy().join("runbook")).unwrap();
    let found: BTreeSet<String> = folder
        .map(|page| page.unwrap().file_name().into_string().unwrap().trim_end_matches(".md").to_owned())
        .collect();
    assert_eq!(found, pages);
    for page in pages {
        let text = read(&format!("runbook/{page}.md"));
        assert!(text.contains("\n## Look\n\n- ") && text.contains("\n## Do\n\n- "), "{page}");
    }
}

#[test]
fn dashboards_alerts_and_scalers_ask_for_metrics_that_exist() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for metric in ALL {
        match metric.kind {
            Kind::Histogram(_) => {
                known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)));
            }
            Kind::Counter | Kind::Gauge => drop(known.insert(metric.name.to_owned())),
        }
    }
    let dashboard = read("grafana/rollcall.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels are told apart by their ids");
    for text in [
        dashboard,
        read("alerts/rollcall.yaml"),
        read("alerts/rollcall.test.yaml"),
        read("k8s/overlays/keda-prometheus/scaled-object.yaml"),
        read("aws/scale.sh"),
    ] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let asked: BTreeSet<_> = words.filter(|word| word.starts_with("rollcall_")).collect();
        assert!(!asked.is_empty());
        for name in asked {
            assert!(known.contains(name), "no such metric: {name}");
        }
    }
}

/// The metadata service of an instance: a token for whoever asks with PUT, and a notice once it is told to give one.
fn metadata(notice: &Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let notice = Arc::clone(notice);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<_> =
                lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let request = head.first().cloned().unwrap_or_default();
            let with_token = head.iter().any(|line| line.eq_ignore_ascii_case("x-aws-ec2-metadata-token: t"));
            let (status, body) = if request.starts_with("PUT /latest/api/token ") {
                ("200 OK", "t")
            } else if !with_token {
                ("401 Unauthorized", "")
            } else if request.contains("spot/instance-action") && notice.load(Ordering::SeqCst) {
                ("200 OK", r#"{"action":"terminate"}"#)
            } else if request.contains("target-lifecycle-state") {
                ("200 OK", "InService")
            } else {
                ("404 Not Found", "")
            };
            // Whoever asked may be gone.
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spot_notice_drains_the_worker_in_time_and_costs_its_jobs_nothing() {
    let fleet = Fleet::start(Queue::Redis).await;
    let mut worker = fleet.worker("worker", &["--grace-ms", "8000"]);
    let long = fleet.submit_noop(&[(WORK_MS, "600000")]).await;
    fleet.until(long, PATIENCE, |record| record.state == JobState::Running).await;
    let short = fleet.submit_noop(&[(WORK_MS, "2000")]).await;
    fleet.until(short, PATIENCE, |record| record.started_at.is_some()).await;
    let notice = Arc::new(AtomicBool::new(false));
    let mut watch = Command::new(deploy().join("aws/spot-notice.sh"));
    watch.envs([("IMDS", metadata(&notice)), ("EVERY", "0.2".to_owned())]);
    let stop = format!("kill -TERM {0}; while kill -0 {0} 2>/dev/null; do sleep 0.1; done", worker.id());
    let mut watch = Process::start(fleet.folder.path(), "spot", watch.args(["bash", "-c", &stop]));
    assert!(
        watch.end(Duration::from_millis(1000)).is_none(),
        "nothing happens without a notice: {}",
        watch.said()
    );
    assert!(worker.alive());
    let began = Instant::now();
    notice.store(true, Ordering::SeqCst);
    assert!(
        worker.end(Duration::from_secs(120)).expect("two minutes are enough").success(),
        "{}",
        worker.said()
    );
    let took = began.elapsed();
    assert!(watch.end(PATIENCE).expect("it ends with the worker").success(), "{}", watch.said());
    assert!(watch.said().contains("draining the worker: {\"action\":\"terminate\"}"), "{}", watch.said());
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(fleet.ended(short).await.state, JobState::Completed);
    let record = fleet.record(long).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Available, 0, 0));
}

#[test]
fn the_size_of_a_group_follows_the_gauge_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let aws = "#!/bin/bash\ncase $2 in describe-*) printf '1\\t10\\t%s\\n' \"$DESIRED\" ;; *) echo \"$@\" ;; esac\n";
    let path = folder.path().join("aws");
    std::fs::write(&path, aws).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let state = folder.path().join("asked");
    let scale = |gauge: &str, desired: &str| {
        let page = folder.path().join("page");
        std::fs::write(&page, format!("# TYPE rollcall_workers_wanted gauge\n{gauge}\n")).unwrap();
        let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new(deploy().join("aws/scale.sh"))
            .args(["workers", &format!("file://{}", page.display())])
            .envs([("PATH", search.as_str()), ("DESIRED", desired), ("STATE", state.to_str().unwrap())])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let set = |number: u64| format!("--desired-capacity {number}\n");
    let (ok, said) = scale("rollcall_workers_wanted 5", "3");
    assert!(ok && said.starts_with("workers: 3 to 5\n") && said.ends_with(&set(5)), "{said}");
    assert_eq!(scale("rollcall_workers_wanted 5", "5"), (true, String::new()));
    assert!(scale("rollcall_workers_wanted 50", "5").1.ends_with(&set(10)), "at most");
    assert_eq!(
        scale("rollcall_workers_wanted 2", "10"),
        (true, String::new()),
        "ten were asked for just now"
    );
    std::fs::remove_file(&state).unwrap();
    assert!(scale("rollcall_workers_wanted 0", "5").1.ends_with(&set(1)), "at least");
    assert_eq!(scale("rollcall_workers_alive 9", "5"), (false, String::new()), "without the gauge all stays");
}
