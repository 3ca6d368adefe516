//! `rollcall score` as a person runs it: exit code, stdout, stderr.

#![allow(clippy::unwrap_used, reason = "tests may unwrap: a panic there is the report")]

use std::path::Path;
use std::process::Command;

fn rollcall(folder: &Path, arguments: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .current_dir(folder)
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Two recordings: `a` has a second of confusion, `b` a second missed and a second of false alarm.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "r.rttm",
        "SPEAKER a 1 0 5 <NA> <NA> Ann <NA> <NA>\n\
         SPEAKER a 1 5 3 <NA> <NA> Bob <NA> <NA>\n\
         SPEAKER b 1 0 8 <NA> <NA> Ann <NA> <NA>\n",
    );
    write(
        "h.rttm",
        "SPEAKER a 1 0 4 <NA> <NA> S0 <NA> <NA>\n\
         SPEAKER a 1 4 4 <NA> <NA> S1 <NA> <NA>\n\
         SPEAKER b 1 1 8 <NA> <NA> S0 <NA> <NA>\n",
    );
    write("u.uem", "a 1 0 8\nb 1 0 4\n");
    write("one.rttm", "SPEAKER a 1 0 5 <NA> <NA> Ann <NA> <NA>\n");
    write("other.rttm", "SPEAKER c 1 0 4 <NA> <NA> S0 <NA> <NA>\n");
    write("broken.rttm", "SPEAKER a 1 0 5 <NA> <NA> Ann <NA> <NA>\nSPEAKER a 1 x 5 <NA> <NA> Ann\n");
    folder
}

#[test]
fn a_table_for_people() {
    let folder = folder();
    let (code, out, err) = rollcall(folder.path(), "score --reference r.rttm --hypothesis h.rttm");
    assert_eq!(
        out,
        "file         DER    miss   false   conf.        JER    speech\n\
         a        12.50 %    0.00    0.00   12.50    22.50 %     8.0 s\n\
         b        25.00 %   12.50   12.50    0.00    22.22 %     8.0 s\n\
         TOTAL    18.75 %    6.25    6.25    6.25    22.41 %    16.0 s\n\
         collar 0 s, overlapped speech scored, first to last turn\n"
    );
    assert_eq!((code, err.as_str()), (0, ""));
}

#[test]
fn regions_and_a_collar() {
    let folder = folder();
    let (code, out, _) = rollcall(
        folder.path(),
        "score --reference r.rttm --hypothesis h.rttm --uem u.uem --collar 0.25 --json",
    );
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let near = |value: &serde_json::Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
    };
    // a: 8 s less 0.25 s at both ends and 0.5 s where Ann and Bob change, 0.75 s of it confused; b: 3.75 s, 0.75 missed.
    near(&value["files"][0]["total_s"], 7.0);
    near(&value["files"][0]["confusion_s"], 0.75);
    near(&value["files"][1]["total_s"], 3.75);
    near(&value["files"][1]["missed_s"], 0.75);
    near(&value["total"]["der"], 1.5 / 10.75);
    assert_eq!(value["files"][0]["mapping"], serde_json::json!({"Ann": "S0", "Bob": "S1"}));
    assert_eq!((code, value["collar_s"].as_f64()), (0, Some(0.25)));
}

#[test]
fn different_ids_of_single_recordings_are_noted() {
    let folder = folder();
    let (code, out, err) = rollcall(folder.path(), "score --reference one.rttm --hypothesis other.rttm");
    assert_eq!(err, "note: the file ids differ: `a` is compared with `c`\n");
    assert!(out.contains("\na        20.00 %"), "{out}");
    assert_eq!(code, 0);
}

#[test]
fn errors_say_what_why_and_what_to_try() {
    let folder = folder();
    let fails = |arguments: &str, expected: &str| {
        let (code, out, err) = rollcall(folder.path(), arguments);
        assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected));
    };
    fails(
        "score --reference r.rttm --hypothesis nowhere.rttm",
        "error: cannot read the hypothesis: `nowhere.rttm`\n\
         caused by: No such file or directory (os error 2)\n\
         hint: `rollcall-worker run --formats rttm AUDIO` writes `turns.rttm`\n",
    );
    fails(
        "score --reference broken.rttm --hypothesis h.rttm",
        "error: the reference is not RTTM: `broken.rttm`\n\
         caused by: the start in line 2 is not a number of seconds from 0 to 10000000: `x`\n\
         hint: an RTTM line reads `SPEAKER FILE 1 START LENGTH <NA> <NA> LABEL <NA> <NA>`, in seconds\n",
    );
    fails(
        "score --reference r.rttm --hypothesis other.rttm",
        "error: the reference has no recording: `c`\n\
         hint: recordings are matched by the second field of their lines; give both files the same names there\n",
    );
}

#[test]
fn wrong_usage_exits_with_two() {
    let folder = folder();
    for arguments in ["score", "score --reference r.rttm --hypothesis h.rttm --collar -1", "nonsense"] {
        let (code, out, err) = rollcall(folder.path(), arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments}");
        assert!(err.starts_with("error:"), "{err}");
    }
}
