use std::time::Duration;

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::id::JobId;
use common::job::record::Progress;
use common::job::spec::{JobSpec, SourceRef};

use super::*;

const ID: &str = "00000000-0000-7000-8000-000000000000";

fn record() -> JobRecord {
    let mut spec = JobSpec::diarize(SourceRef::at("s3://b/inbox/0a1b.wav"));
    spec.tags.insert("file".to_owned(), "meeting.wav".to_owned());
    let id = JobId::new(Timestamp::from_millis(0), [0; 16]);
    JobRecord::accepted(id, spec, Duration::ZERO, Timestamp::from_millis(0))
}

fn discarded() -> JobRecord {
    JobRecord {
        state: JobState::Discarded,
        completed_at: Some(Timestamp::from_millis(5000)),
        failure: Some(Failure {
            code: FailureCode::AudioCorrupt,
            stage: Stage::Decode,
            class: FailureClass::Permanent,
            detail: "no frame is whole\u{1b}[2J".to_owned(),
        }),
        ..record()
    }
}

#[test]
fn a_table_fits_the_terminal() {
    let mut running = record();
    running.state = JobState::Running;
    running.progress = Some(Progress { stage: Stage::Embedding, percent: 62 });
    running.spec.tags.insert("file".to_owned(), "a very long name of a very long meeting.wav".to_owned());
    let now = Timestamp::from_millis(3000);
    assert_eq!(
        table(&[record(), running], now, Some(90)),
        format!(
            "job                                   state      stage             age  audio\n\
             {ID}  available                  3.0 s  meeting.wav\n\
             {ID}  running    embedding 62 %  3.0 s  a very long name …\n"
        )
    );
}

#[test]
fn dead_letters_say_why_and_send_nothing_to_the_terminal() {
    let text = dead_table(&[discarded()], Timestamp::from_millis(65_000), None);
    assert_eq!(
        text.lines().nth(1),
        Some(format!("{ID}  60 s  audio_corrupt  meeting.wav  no frame is whole·[2J").as_str())
    );
}

#[test]
fn a_block_tells_everything_and_json_is_one_line() {
    let text = block(&discarded(), Timestamp::from_millis(10_000));
    assert_eq!(
        text,
        format!(
            "job         {ID}\n\
             state       discarded\n\
             audio       s3://b/inbox/0a1b.wav\n\
             name        meeting.wav\n\
             priority    normal\n\
             tag         file=meeting.wav\n\
             tries       0 of 5 attempts failed, 0 of 5 crashes, 0 interruptions\n\
             created     1970-01-01T00:00:00.000Z (10 s ago)\n\
             completed   1970-01-01T00:00:05.000Z (5.0 s ago)\n\
             failure     audio_corrupt: no frame is whole·[2J\n"
        )
    );
    assert_eq!(json(&record()).lines().count(), 1);
    assert!(json_array(&[record(), record()]).starts_with("[{\"id\":"));
}

#[test]
fn an_end_is_one_line() {
    let mut done = record();
    (done.state, done.started_at) = (JobState::Completed, Some(Timestamp::from_millis(1000)));
    done.completed_at = Some(Timestamp::from_millis(3500));
    assert_eq!(ended(&done), format!("{ID}  completed  meeting.wav  in 2.5 s"));
    assert_eq!(
        ended(&discarded()),
        format!("{ID}  discarded  meeting.wav  audio_corrupt: no frame is whole·[2J")
    );
}

fn changed<T>(became: Option<T>) -> Changed<T> {
    Changed { job: record().id, became }
}

#[test]
fn what_was_not_done_is_an_error_for_each() {
    let told = cancelled(&[
        changed(Some(Cancel::Done)),
        changed(Some(Cancel::Requested)),
        changed(Some(Cancel::Final(JobState::Cancelled))),
        changed(Some(Cancel::Final(JobState::Completed))),
        changed::<Cancel>(None),
    ]);
    assert_eq!(told.done, format!("{ID}  cancelled\n{ID}  stopping\n{ID}  cancelled\n"));
    assert_eq!(
        told.failed,
        format!("error: the job has ended, it is completed: `{ID}`\nerror: no such job: `{ID}`\n")
    );
    let told = retried(&[changed(Some(Retried::Done)), changed(Some(Retried::Not(JobState::Running)))]);
    assert_eq!(told.done, format!("{ID}  available\n"));
    assert!(told.failed.contains("it is running"));
    let told = purged(&[changed(Some(Purged::Gone)), changed(Some(Purged::Not(JobState::Completed)))]);
    assert_eq!((told.done.lines().count(), told.failed.lines().count()), (1, 1));
}
