//! Any bytes as RTTM and as UEM: an error or annotations, which are scored against themselves without an error.
#![no_main]

use common::speech::rttm::{read, read_uem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(spans) = read_uem(data) {
        assert!(spans.values().all(|spans| !spans.is_empty()));
    }
    let Ok(recordings) = read(data) else { return };
    for annotation in recordings.values() {
        for turn in annotation.turns() {
            assert!(turn.start.get() >= 0.0 && turn.start <= turn.end && turn.end.get().is_finite());
            assert!(turn.speaker < annotation.labels().len());
        }
    }
});
