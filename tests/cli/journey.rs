//! Jobs from submission to their end, in both queue modes.

use std::time::{Duration, Instant};

use tests::servers::wait_until;

use crate::client::PATIENCE;
use crate::harness::{Fleet, Queue};
use crate::stand_in::StandIn;

/// Whether a job comes to a state within ten seconds.
async fn comes_to(fleet: &Fleet, job: &str, state: &str) {
    for _ in 0..200 {
        let record = fleet.run(&format!("status {job} --json")).await.json();
        if record["state"] == state {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", fleet.run(&format!("status {job}")).await.out);
}

async fn submit_follow_and_read(queue: Queue) {
    let fleet = Fleet::new(queue).await;
    let _worker = StandIn::start(&fleet).await;
    fleet.file("a.wav", "sound a");
    fleet.file("b.flac", "sound b");
    let submitted = fleet.run("submit a.wav b.flac --tag team=x --formats json,rttm").await;
    assert_eq!((submitted.code, submitted.err.as_str()), (0, ""));
    let ids: Vec<_> = submitted.out.lines().map(str::to_owned).collect();
    assert_eq!(fleet.plain(&submitted.out), "JOB\nJOB\n");

    let waited = fleet.run(&format!("wait {} {}", ids[0], ids[1])).await;
    let words: Vec<Vec<&str>> = waited.out.lines().map(|line| line.split("  ").collect()).collect();
    assert_eq!((waited.code, waited.err.as_str(), words.len()), (0, "", 2));
    assert_eq!(words[0][..3], [ids[0].as_str(), "completed", "a.wav"]);
    assert_eq!(words[1][..3], [ids[1].as_str(), "completed", "b.flac"]);

    let rttm = fleet.run(&format!("result {} --format rttm", ids[0])).await.ok();
    assert!(rttm.starts_with("SPEAKER stand-in 1 0.000 2.000 "), "the stored document: {rttm}");
    let srt = fleet.run(&format!("result {} --format srt", ids[1])).await.ok();
    assert!(
        srt.contains("00:00:02,000 --> 00:00:04,000\n[SPEAKER_01]"),
        "rendered from the stored one: {srt}"
    );
    let html = fleet.run(&format!("result {} --format html -o page.html", ids[1])).await;
    assert_eq!((html.code, html.out.as_str()), (0, ""));
    assert!(std::fs::read_to_string(fleet.work().join("page.html")).unwrap().contains("<html"));
    let document = fleet.run(&format!("result {}", ids[0])).await.json();
    assert_eq!(document["diarization"][1]["speaker"], "SPEAKER_01");

    let record = fleet.run(&format!("status {} --json", ids[0])).await.json();
    assert_eq!((&record["state"], &record["percent"]), (&"completed".into(), &100.into()));
    assert_eq!(record["tags"], serde_json::json!({"file": "a.wav", "team": "x"}));
    assert_eq!(record["result"]["keys"]["turns.rttm"], format!("results/{}/turns.rttm", ids[0]));
    assert_eq!(record["bundle"], "starter@1");

    let listed = fleet.run("list --state completed --tag team=x --json").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let table = fleet.run("list").await.ok();
    assert!(table.lines().count() == 3 && table.contains("b.flac"), "{table}");

    // The same content again, under another name: done at once, with documents of its own.
    fleet.file("again.wav", "sound a");
    let again = fleet.run("submit again.wav --formats json,rttm").await.ok();
    let waited = fleet.run(&format!("wait {again}")).await;
    assert_eq!(
        (waited.code, fleet.plain(&waited.out).as_str()),
        (0, "JOB  completed  again.wav  from the cache\n")
    );
    let taken = fleet.run(&format!("result {again}")).await.json();
    assert_eq!((&taken["diarization"], taken["audio"]["uri"].is_string()), (&document["diarization"], true));
    let worked = fleet.run("submit again.wav --formats json,rttm --no-cache").await.ok();
    assert_eq!(
        fleet.run(&format!("wait {worked} --json")).await.json()["cached_from"],
        serde_json::Value::Null
    );
    let uploads = fleet.s3.faults().requests("PUT /bucket/fleet/inbox/");
    assert_eq!(uploads.len(), 2, "each content once: {uploads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_follow_and_read_over_redis() {
    submit_follow_and_read(Queue::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_follow_and_read_over_amqp() {
    submit_follow_and_read(Queue::Amqp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_stopped_and_tried_again() {
    let fleet = Fleet::new(Queue::Redis).await;
    let worker = StandIn::start(&fleet).await;
    fleet.file("long.wav", "slow sound");
    let job = fleet.run("submit long.wav").await.ok().trim().to_owned();
    comes_to(&fleet, &job, "running").await;
    let none = fleet.run(&format!("result {job}")).await;
    assert_eq!(
        (none.code, fleet.plain(&none.err).as_str()),
        (1, "error: job JOB has no result: it is running\nhint: `rollcall wait JOB` waits for it\n")
    );
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fleet.run(&format!("status {job}")).await.ok();
        if text.contains("state       running (embedding, 42 %)\n") {
            break;
        }
        assert!(Instant::now() < until, "{text}");
    }
    let cancelled = fleet.run(&format!("cancel {job}")).await;
    assert_eq!((cancelled.code, fleet.plain(&cancelled.out).as_str()), (0, "JOB  stopping\n"));
    comes_to(&fleet, &job, "cancelled").await;
    let waited = fleet.run(&format!("wait {job}")).await;
    assert_eq!((waited.code, fleet.plain(&waited.out).as_str()), (1, "JOB  cancelled  long.wav\n"));
    assert_eq!(fleet.run(&format!("cancel {job}")).await.code, 0, "it is what was asked for");

    worker.released.store(true, std::sync::atomic::Ordering::SeqCst);
    let retried = fleet.run(&format!("retry {job}")).await;
    assert_eq!((retried.code, fleet.plain(&retried.out).as_str()), (0, "JOB  available\n"));
    let watched = fleet.run(&format!("watch {job}")).await;
    assert_eq!((watched.code, watched.out.as_str()), (0, ""));
    assert!(
        fleet.plain(&watched.err).ends_with(" s\n") && watched.err.contains("completed"),
        "{}",
        watched.err
    );
    let too_late = fleet.run(&format!("cancel {job}")).await;
    assert_eq!(
        (too_late.code, fleet.plain(&too_late.err).as_str()),
        (1, "error: the job has ended, it is completed: `JOB`\n")
    );
    let again = fleet.run(&format!("retry {job}")).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("only discarded and cancelled jobs can be tried again, it is completed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_requeued_and_forgotten() {
    let fleet = Fleet::new(Queue::Redis).await;
    let _worker = StandIn::start(&fleet).await;
    fleet.file("wrong.wav", "not audio");
    let submitted = fleet.run("submit wrong.wav --wait").await;
    assert_eq!(submitted.code, 1);
    let job = submitted.out.trim().to_owned();
    let why = "JOB  discarded  wrong.wav  audio_unsupported: no audio format begins like this\n";
    assert!(fleet.plain(&submitted.err).ends_with(why), "{}", submitted.err);
    let dead = fleet.run("dead list").await.ok();
    assert!(dead.contains(&job) && dead.contains("audio_unsupported"), "{dead}");
    let shown = fleet.run(&format!("dead show {job}")).await.ok();
    assert!(shown.contains("failure     audio_unsupported: no audio format begins like this\n"), "{shown}");
    let failure = fleet.run(&format!("status {job} --json")).await.json()["failure"].clone();
    assert_eq!(
        failure,
        serde_json::json!({"code": "audio_unsupported", "stage": "decode", "class": "permanent",
            "detail": "no audio format begins like this"})
    );
    let none = fleet.run(&format!("result {job}")).await;
    assert_eq!(
        (none.code, fleet.plain(&none.err).as_str()),
        (
            1,
            "error: job JOB has no result: it is discarded\n\
             caused by: audio_unsupported: no audio format begins like this\n\
             hint: `rollcall retry JOB` tries it again\n"
        )
    );
    let token = |record: &serde_json::Value| record["token"].as_u64().unwrap();
    let before = token(&fleet.run(&format!("status {job} --json")).await.json());
    assert_eq!(fleet.plain(&fleet.run("dead requeue --all").await.ok()), "JOB  available\n");
    assert_eq!(fleet.run(&format!("wait {job}")).await.code, 1);
    assert!(token(&fleet.run(&format!("status {job} --json")).await.json()) > before);
    assert_eq!(fleet.plain(&fleet.run(&format!("dead purge {job}")).await.ok()), "JOB  forgotten\n");
    let unknown = fleet.run(&format!("status {job}")).await;
    assert_eq!(unknown.code, 1);
    assert!(fleet.plain(&unknown.err).starts_with("error: no such job: `JOB`\nhint: "), "{}", unknown.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_prefixes_lists_and_manifests() {
    let fleet = Fleet::new(Queue::Redis).await;
    for (name, content) in
        [("in/a.wav", "a"), ("in/b.wav", "b"), ("in/notes.txt", "n"), ("in/deep/c.mp3", "c")]
    {
        fleet.file(name, content);
    }
    let count = |out: String| out.lines().count();
    assert_eq!(count(fleet.run("submit in").await.ok()), 2);
    assert_eq!(count(fleet.run("submit in -r").await.ok()), 3);
    assert_eq!(count(fleet.run_with("submit -", &[], "in/a.wav\n\nin/b.wav\n").await.ok()), 2);
    assert_eq!(count(fleet.run("submit s3://bucket/fleet/inbox/ --recursive").await.ok()), 3);
    fleet.file(
        "lists/jobs.jsonl",
        "{\"audio\":\"../in/a.wav\",\"options\":{\"num_speakers\":2},\"priority\":\"high\"}\n\
         {\"audio\":{\"uri\":\"https://example.org/x.wav\"},\"tags\":{\"n\":\"2\"},\"delay_s\":600}\n",
    );
    let submitted = fleet.run("submit --manifest lists/jobs.jsonl --tag from=list --json").await.ok();
    let records: Vec<serde_json::Value> =
        submitted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&records[0]["priority"], &records[0]["options"]["num_speakers"]),
        (&"high".into(), &2.into())
    );
    assert_eq!(records[0]["tags"], serde_json::json!({"file": "a.wav", "from": "list"}));
    assert_eq!(
        (&records[1]["state"], &records[1]["audio"]["uri"]),
        (&"scheduled".into(), &"https://example.org/x.wav".into())
    );
    let queue = fleet.run("queue --json").await.json();
    assert_eq!(
        (&queue["depth"]["high"]["ready"], &queue["depth"]["normal"]["scheduled"]),
        (&1.into(), &1.into())
    );
    assert_eq!((&queue["depth"]["normal"]["ready"], &queue["outbox"]), (&10.into(), &0.into()));
    let text = fleet.run("queue").await.ok();
    assert!(text.contains("normal       10        0          0          1\n"), "{text}");
    let workers = fleet.run("workers").await;
    assert_eq!((workers.code, workers.out.lines().count()), (0, 1));
    assert_eq!(workers.err, "note: no worker is alive; `rollcall-worker serve` starts one\n");
    assert_eq!(fleet.run("workers --json").await.ok(), "[]\n");
    let first = fleet.run("submit in/a.wav --idempotency-key k").await.ok();
    assert_eq!(fleet.run("submit in/a.wav --idempotency-key k").await.ok(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_watched_until_nobody_reads() {
    use std::io::BufRead as _;
    let fleet = Fleet::new(Queue::Redis).await;
    let mut command = fleet.command("queue --watch --every 100ms --json");
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let look: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(look["dead"], 0);
    }
    drop(lines);
    assert!(wait_until(PATIENCE, || child.try_wait().unwrap().is_some()));
    assert_eq!(child.wait().unwrap().code(), Some(0), "a reader that goes away has what it wanted");
}
