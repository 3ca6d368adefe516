//! Where documents may go and recordings may come from.

use common::clock::Timestamp;
use common::job::id::JobId;
use common::job::spec::{JobSpec, SourceRef};
use common::port::job_store::{JobStore as _, NewJob};
use common::port::object_store::{ObjectStore as _, PutOptions};
use serde_json::json;

use crate::client::Server;
use crate::harness::{Fleet, Queue};
use crate::stand_in::StandIn;

/// Parts of the store that are nobody's.
const RESERVED: [&str; 8] = [
    "results/00000000-0000-7000-8000-000000000000/",
    "results",
    "bundles/starter/",
    "speakers/starter/",
    "releases/",
    "runtimes/onnxruntime/",
    "inbox/",
    "inbox/tmp/x",
];

#[tokio::test(flavor = "multi_thread")]
async fn documents_go_where_they_are_wanted() {
    let fleet = Fleet::new(Queue::Redis).await;
    let _worker = StandIn::start_copying_to(&fleet, &["s3://other/out"]).await;
    let objects = fleet.objects().await;
    for name in ["a", "b", "c", "d"] {
        fleet.file(&format!("{name}.wav"), name);
    }
    let allow = [("ROLLCALL_ALLOW", "s3://other/out,s3://gone")];
    let ended = async |arguments: &str| {
        let submitted = fleet.run_with(&format!("submit {arguments}"), &allow, "").await.ok();
        let ids: Vec<_> = submitted.lines().map(str::to_owned).collect();
        fleet.run(&format!("wait {}", ids.join(" "))).await.ok();
        ids
    };

    // With and without a `/` at the end, the same bytes as at the stable keys.
    let id = ended("a.wav --output s3://bucket/fleet/mine/out").await.remove(0);
    for name in ["segments.json", "turns.rttm"] {
        let stable = objects.read(&format!("results/{id}/{name}"), 1 << 20).await.unwrap();
        assert_eq!(objects.read(&format!("mine/out/{name}"), 1 << 20).await.unwrap(), stable, "{name}");
    }
    // From the cache as well, and each of several has its own folder.
    let cached =
        fleet.run_with("submit a.wav --json --output s3://bucket/fleet/mine/again/", &allow, "").await;
    assert_eq!(cached.json()["cached_from"], id.as_str());
    objects.head("mine/again/segments.json").await.unwrap();
    for id in ended("b.wav c.wav --output s3://bucket/fleet/mine/both/").await {
        objects.head(&format!("mine/both/{id}/segments.json")).await.unwrap();
    }
    // In another bucket, where an operator says so; one that refuses for good keeps no job from its end.
    ended("d.wav --output s3://other/out/deep/").await;
    let other = objects.at("s3://other/out/deep".parse().unwrap());
    other.head("segments.json").await.unwrap();
    let id = ended("d.wav --no-cache --output s3://gone/out/").await.remove(0);
    let status = fleet.run(&format!("status {id} --json")).await.json();
    assert!(status["exported_at"].is_string());
    assert!(status["output_problem"].as_str().unwrap().starts_with("s3://gone/out/"), "{status}");
    assert!(fleet.run(&format!("wait {id}")).await.ok().contains("not copied to s3://gone/out/"));
    let again = fleet.run_with("submit d.wav --output s3://gone/out/", &allow, "").await;
    assert!(again.code == 1 && again.err.contains("cannot be copied: s3://gone/out/"), "{}", again.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_keeps_for_itself_is_nobodys() {
    let fleet = Fleet::new(Queue::Redis).await;
    let objects = fleet.objects().await;
    let server = Server::start(&fleet, "", &[("ROLLCALL_ALLOW", "s3://other/out,https://host/,file:///srv")]);
    let put =
        async |key: &str| objects.put(key, b"sound".as_slice().into(), &PutOptions::default()).await.unwrap();
    put("calls/a.wav").await;
    let mine = "s3://bucket/fleet/calls/a.wav";
    let mut outputs = RESERVED.map(|place| format!("s3://bucket/fleet/{place}")).to_vec();
    for elsewhere in [
        "s3://bucket/fleet/",
        "s3://bucket/",
        "s3://other/outside/",
        "https://host/out/",
        "file:///srv/out/",
        "out/",
    ] {
        outputs.push(elsewhere.to_owned());
    }
    outputs.push("s3://bucket/fleet/mine/../results/x/".to_owned());
    for output in outputs {
        let answer = server.submit(&json!({"audio": {"uri": mine}, "output": output}));
        assert_eq!((answer.status, answer.code().as_str()), (403, "not_allowed"), "{output}");
    }
    let long = format!("s3://bucket/fleet/{}/", "x".repeat(1000));
    assert_eq!(server.submit(&json!({"audio": {"uri": mine}, "output": long})).status, 422);

    for place in
        RESERVED.iter().filter(|place| place.matches('/').count() > 1 || place.starts_with("inbox/tmp"))
    {
        let key = format!("{}x.wav", place.trim_end_matches('x'));
        put(&key).await;
        let uri = format!("s3://bucket/fleet/{key}");
        for job in
            [json!({"audio": {"uri": uri}}), json!({"audio": {"uri": mine}, "options": {"transcript": uri}})]
        {
            let answer = server.submit(&job);
            assert_eq!((answer.status, answer.code().as_str()), (403, "not_allowed"), "{job}");
        }
    }
    // A whole store is opened without them.
    let all = fleet.run("submit s3://bucket/fleet --recursive --json").await.ok();
    assert!(all.lines().count() == 1 && all.contains(mine), "{all}");

    // Folders of the users' own stay open, for players too.
    let accepted = server.submit(&json!({"audio": {"uri": mine}}));
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let audio = |id: &str| server.get(&format!("/v1/jobs/{id}/audio"));
    assert_eq!(audio(accepted.json()["id"].as_str().unwrap()).body, b"sound");
    // What an earlier version took is not played.
    let id = JobId::new(Timestamp::from_millis(1), [1; 16]);
    let spec = JobSpec::diarize(SourceRef::at("s3://bucket/fleet/speakers/starter/x.wav"));
    fleet.jobs().insert(NewJob::new(id, spec)).await.unwrap();
    assert_eq!(audio(&id.to_string()).code(), "no_audio");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_any_name_is_a_store() {
    let fleet = Fleet::new(Queue::Redis).await;
    let url = format!("file://{}/a%20store", fleet.folder.path().display());
    let server = Server::start(&fleet, "", &[("ROLLCALL_STORE_URL", &url)]);
    let accepted = server.submit_form(&[("audio", Some("a.wav"), b"sound")], &[]);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let record = accepted.json();
    let uri = record["audio"]["uri"].as_str().unwrap();
    assert!(uri.starts_with(&format!("{url}/inbox/")), "{uri}");
    assert_eq!(record["audio"]["bytes"], 5);
    assert_eq!(server.get(&format!("/v1/jobs/{}/audio", record["id"].as_str().unwrap())).body, b"sound");
    let inbox = fleet.folder.path().join("a store/inbox");
    let files = std::fs::read_dir(inbox).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), 1);
}
