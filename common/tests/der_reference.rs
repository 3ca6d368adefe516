//! Scores of the development labels against those of the reference scorer, a Python program that lies beside the
//! checkout with them. Skips, and says so, where they are not.

#![allow(clippy::unwrap_used, reason = "tests may unwrap: a panic there is the report")]

use std::path::{Path, PathBuf};
use std::process::Command;

use common::speech::annotation::Annotation;
use common::speech::der::{Score, score};
use common::speech::rttm;

/// The folder of shared data: `ROLLCALL_SHARED`, else `shared` beside the workspace.
fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    std::env::var_os("ROLLCALL_SHARED").map_or_else(beside, PathBuf::from)
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    found.sort();
    found
}

/// The only recording of a file.
fn only(path: &Path) -> Annotation {
    rttm::read(&std::fs::read(path).unwrap()).unwrap().into_values().next().unwrap_or_default()
}

#[test]
fn development_labels_score_as_the_reference_scorer_says() {
    let scorer = shared().join("accept/der.py");
    if !scorer.is_file() {
        eprintln!("skipped: no reference scorer at {}", scorer.display());
        return;
    }
    let mut compared = 0;
    for part in ["real", "sim"] {
        let references = files(&shared().join("audio").join(part), "rttm");
        // Somebody else's turns are a hypothesis as good as any for arithmetic: misses, false alarms and confusions.
        for (n, reference) in references.iter().enumerate() {
            let hypothesis = &references[(n + 1) % references.len()];
            for collar_s in [0.0, 0.25] {
                compare(&scorer, reference, hypothesis, collar_s);
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "there is a scorer but there are no labels");
    eprintln!("{compared} scores agree");
}

fn compare(scorer: &Path, reference: &Path, hypothesis: &Path, collar_s: f64) {
    let regions = reference.with_extension("uem");
    let mut command = Command::new("python3");
    command.arg(scorer).args([reference, hypothesis]).args(["--json", "--collar", &collar_s.to_string()]);
    let region = regions.is_file().then(|| {
        command.arg("--uem").arg(&regions);
        rttm::read_uem(&std::fs::read(&regions).unwrap()).unwrap().into_values().next().unwrap()
    });
    let output = command.output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ours = score(&only(reference), &only(hypothesis), region.as_deref(), collar_s).score;
    let Score { reference_s, missed_s, false_alarm_s, confusion_s, .. } = ours;
    for (key, value) in [
        ("total_s", reference_s),
        ("missed_s", missed_s),
        ("false_alarm_s", false_alarm_s),
        ("confusion_s", confusion_s),
        ("der", ours.der()),
    ] {
        let expected = theirs["total"][key].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6, "{} {key}: {value}, not {expected}", reference.display());
    }
}
