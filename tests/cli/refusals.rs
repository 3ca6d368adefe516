//! What does not work, and what a person is told.

use hyper::Method;
use tests::s3_server::fault::Fault;
use tests::servers::{free_ports, shared};

use crate::harness::{Fleet, Queue};
use crate::stand_in::StandIn;

/// Text of an error, hints included; the exit code before it.
async fn told(fleet: &Fleet, arguments: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let ran = fleet.run_with(arguments, variables, "").await;
    assert_eq!(ran.out, "", "{arguments}");
    (ran.code, fleet.plain(&ran.err))
}

async fn jobs(fleet: &Fleet) -> usize {
    fleet.run("list --json").await.json().as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_that_cannot_be_taken_are_refused_at_once() {
    let fleet = Fleet::new(Queue::Redis).await;
    let _worker = StandIn::start(&fleet).await;
    fleet.file("a.wav", "sound");
    fleet.file("t.srt", "no transcript");
    std::fs::File::create(fleet.work().join("huge.wav")).unwrap().set_len(9 << 30).unwrap();
    let expect = |arguments: &'static str, code: i32, text: &'static str| {
        let fleet = &fleet;
        async move { assert_eq!(told(fleet, arguments, &[]).await, (code, text.to_owned()), "{arguments}") }
    };
    expect(
        "submit none.wav",
        1,
        "error: cannot read: `none.wav`\ncaused by: No such file or directory (os error 2)\n",
    )
    .await;
    expect(
        "submit a.wav --bundle nowhere",
        1,
        "error: no such bundle: `nowhere`\n\
         hint: the workers alive have `starter@1`; `rollcall workers` shows them\n",
    )
    .await;
    expect(
        "submit s3://bucket/fleet/none.wav",
        1,
        "error: no such object: `s3://bucket/fleet/none.wav`\n\
         hint: is the address right, and is it the same S3 service?\n",
    )
    .await;
    expect(
        "submit s3://elsewhere/a.wav",
        1,
        "error: outside the store and of what is allowed: `s3://elsewhere/a.wav`\n\
         hint: set `ROLLCALL_ALLOW` to its prefix, here and where the workers run, or submit a copy\n",
    )
    .await;
    expect(
        "submit huge.wav",
        1,
        "error: the recording is larger than 8589934592 bytes: `huge.wav`: 9663676416\n\
         hint: compress it (`flac`, `opus`) or split it; up to 8 GiB and 24 hours are taken\n",
    )
    .await;
    expect(
        "submit --allow s3://bucket s3://bucket/huge.wav",
        1,
        "error: the recording is larger than 8589934592 bytes: `s3://bucket/huge.wav`: 9663676416\n\
         hint: compress it (`flac`, `opus`) or split it; up to 8 GiB and 24 hours are taken\n",
    )
    .await;
    expect(
        "submit --allow s3://nobucket s3://nobucket/a.wav",
        1,
        "error: no such object: `s3://nobucket/a.wav`\n\
         hint: is the address right, and is it the same S3 service?\n",
    )
    .await;
    let (code, text) = told(&fleet, "submit a.wav --transcript t.srt", &[]).await;
    assert!(
        code == 1 && text.starts_with("error: not a transcript that can be used: `t.srt`\ncaused by: "),
        "{text}"
    );
    assert!(text.ends_with("hint: read are Whisper, WhisperLive and WhisperX JSON, SRT and VTT\n"), "{text}");
    fleet.s3.faults().next(
        Method::HEAD,
        "/other/a.wav",
        9,
        Fault::Answer { status: 403, retry_after_s: None },
    );
    let (code, text) = told(&fleet, "submit --allow s3://other/ s3://other/a.wav", &[]).await;
    assert!(
        code == 1 && text.starts_with("error: the store forbids: `s3://other/a.wav`\ncaused by: "),
        "{text}"
    );
    assert_eq!(jobs(&fleet).await, 0, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_away_or_refuse_are_named() {
    let fleet = Fleet::new(Queue::Redis).await;
    fleet.file("a.wav", "sound");
    let [port] = free_ports().unwrap();
    let nowhere = |text: &str| text.replace(&format!("127.0.0.1:{port}"), "NOWHERE");
    let (code, text) = told(&fleet, &format!("queue --redis-url redis://127.0.0.1:{port}"), &[]).await;
    assert_eq!(
        (code, nowhere(&text).as_str()),
        (
            3,
            "error: the job store does not answer: `redis://NOWHERE`\n\
             caused by: Connection refused (os error 111)\n\
             hint: nothing listens at `redis://NOWHERE`; start a fleet with `deploy/local/up.sh`\n\
             hint: `ROLLCALL_REDIS_URL` says where it is; `rollcall config show` what is in use\n"
        )
    );
    for queue in ["amqp", "redis"] {
        let url = format!("{queue}://user:hidden@127.0.0.1:{port}");
        let (code, text) = told(&fleet, &format!("submit a.wav --queue-url {url}"), &[]).await;
        let text = nowhere(&text);
        assert!(code == 3 && !text.contains("hidden"), "{text}");
        assert!(
            text.starts_with(&format!("error: the queue does not answer: `{queue}://NOWHERE`\ncaused by: ")),
            "{text}"
        );
        assert!(
            text.contains(&format!("hint: nothing listens at `{queue}://NOWHERE`; start a fleet")),
            "{text}"
        );
    }
    let endpoint = format!("http://127.0.0.1:{port}");
    let (code, text) = told(&fleet, "submit a.wav", &[("AWS_ENDPOINT_URL_S3", &endpoint)]).await;
    assert!(
        code == 3 && text.starts_with("error: the object store does not answer: `s3://bucket/fleet/inbox/"),
        "{text}"
    );
    assert!(text.contains("hint: nothing listens at the S3 endpoint; start a fleet"), "{text}");
    let (code, text) = told(&fleet, "submit a.wav", &[("AWS_SECRET_ACCESS_KEY", "wrong")]).await;
    assert!(code == 2 && text.starts_with("error: the object store refuses: "), "{text}");
    assert!(text.contains("hint: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"), "{text}");
    let (code, text) = told(&fleet, "submit a.wav --store-url s3://nobucket", &[]).await;
    assert!(code == 2 && text.contains("error: the object store refuses: `s3://nobucket"), "{text}");
    assert_eq!(jobs(&fleet).await, 0);

    fleet.lock_redis();
    let address = format!("redis://:wrong@127.0.0.1:{}", fleet.redis.port());
    for (url, said) in [(address, "caused by: "), (fleet.redis.url(), "caused by: ")] {
        let (code, text) = told(&fleet, &format!("list --redis-url {url}"), &[]).await;
        assert!(code == 2 && !text.contains("wrong@"), "{text}");
        assert!(
            text.starts_with("error: the job store refuses: `redis://REDIS`\n") && text.contains(said),
            "{text}"
        );
        assert!(text.contains("hint: user and password stand in the address"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_is_missing_is_told() {
    let fleet = Fleet::new(Queue::Redis).await;
    fleet.file("a.wav", "sound");
    let url = format!("{}/nowhere", shared().amqp_url);
    let (code, text) = told(&fleet, &format!("submit a.wav --queue-url {url}"), &[]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.starts_with("error: the queue refuses: `amqp://127.0.0.1:"), "{text}");
    assert!(text.contains("hint: the path of the address names the virtual host"), "{text}");
    assert_eq!(jobs(&fleet).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_with_two() {
    let fleet = Fleet::new(Queue::Redis).await;
    fleet.file("bad.toml", "reddis_url = 1\n");
    fleet.file("bad.jsonl", "{\"audio\":\"a.wav\"}\n{\"audio\":\"a.wav\",\"wat\":1}\n");
    fleet.file("a.wav", "sound");
    for (arguments, said) in [
        ("status not-an-id", "not a job id: `not-an-id`"),
        ("submit", "required"),
        ("submit a.wav --num-speakers 2 --max-speakers 3", "cannot be used with"),
        ("submit a.wav --delay soon", "a length of time"),
        ("submit a.wav --priority urgent", "not a priority"),
        (
            "submit a.wav --min-speakers 3 --max-speakers 2",
            "the fewest speakers are more than the most: 3 > 2",
        ),
        ("submit a.wav --callback-url https://example.org/", "webhooks are refused without a secret"),
        ("submit s3://bucket/fleet/in/", "a prefix, not an object"),
        ("submit http://example.org/a.wav", "only `https://` addresses are fetched"),
        ("list --state done", "a state is one of scheduled, available"),
        ("queue --config bad.toml", "unknown field `reddis_url`"),
        ("queue --config none.toml", "cannot read the settings: none.toml"),
        ("result 00000000-0000-7000-8000-000000000000 --format pdf", "possible values"),
        ("dead purge", "required"),
    ] {
        let (code, text) = told(&fleet, arguments, &[]).await;
        assert_eq!(code, 2, "{arguments}: {text}");
        assert!(text.starts_with("error: ") && text.contains(said), "{arguments}: {text}");
    }
    let (code, text) = told(&fleet, "submit --manifest bad.jsonl", &[]).await;
    assert!(code == 1 && text.contains("caused by: line 2 of the list is not a job\n"), "{text}");
    assert!(text.contains("unknown field `wat`"), "{text}");
    let (code, text) = told(&fleet, "submit a.wav", &[("ROLLCALL_STORE_URL", "")]).await;
    assert!(code == 2 && text.contains("`ROLLCALL_STORE_URL` is not set"), "{text}");
}
