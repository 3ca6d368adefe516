//! `rollcall score`: turns against a reference.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use common::speech::annotation::{Annotation, Span};
use common::speech::der::{self, Score};
use common::speech::render::printable::at_most;
use common::speech::rttm::{self, RttmError};

use super::{ExitStatus, Explain};

/// What to score.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// RTTM file with the true turns.
    pub reference: PathBuf,
    /// RTTM file with the turns to be scored.
    pub hypothesis: PathBuf,
    /// UEM file with the regions to score.
    pub regions: Option<PathBuf>,
    /// Seconds left out on each side of every reference boundary.
    pub collar_s: f64,
}

/// The scores of each recording and of all together.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One entry for each recording, by file id.
    pub recordings: Vec<Recording>,
    /// Their sum.
    pub total: Score,
    /// The collar that was used, seconds.
    pub collar_s: f64,
    /// Whether a UEM file said what is scored.
    pub has_regions: bool,
    /// What a reader should know about the comparison.
    pub notes: Vec<String>,
}

/// The score of one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its file id in the reference.
    pub file: String,
    /// Its errors.
    pub score: Score,
    /// Pairs (reference label, hypothesis label).
    pub mapping: Vec<(String, String)>,
}

/// Why nothing was scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file cannot be read.
    #[error("cannot read the {role}: `{}`", path.display())]
    Unreadable {
        /// Which file.
        role: Role,
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("the {role} is not {}: `{}`", role.format(), path.display())]
    Malformed {
        /// Which file.
        role: Role,
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: RttmError,
    },
    /// The hypothesis has turns of recordings that the reference does not know.
    #[error("the reference has no recording: {}", listed(files))]
    NotInReference {
        /// Their file ids.
        files: Vec<String>,
    },
    /// The regions do not say what to score of a recording.
    #[error("the regions do not name a recording of the reference: {}", listed(files))]
    NotInRegions {
        /// Their file ids.
        files: Vec<String>,
    },
}

/// What a file is to the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The true turns.
    Reference,
    /// The turns that are scored.
    Hypothesis,
    /// Where they are scored.
    Regions,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference",
            Self::Hypothesis => "hypothesis",
            Self::Regions => "regions",
        })
    }
}

impl Role {
    fn format(self) -> &'static str {
        match self {
            Self::Reference | Self::Hypothesis => "RTTM",
            Self::Regions => "UEM",
        }
    }
}

impl Explain for ScoreError {
    fn status(&self) -> ExitStatus {
        ExitStatus::Failed
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreadable { role: Role::Hypothesis, source, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "`rollcall-worker run --formats rttm AUDIO` writes `turns.rttm`"
            }
            Self::Unreadable { .. } => "check the path and its permissions",
            Self::Malformed { role: Role::Regions, .. } => "a UEM line reads `FILE 1 START END`, in seconds",
            Self::Malformed { .. } => {
                "an RTTM line reads `SPEAKER FILE 1 START LENGTH <NA> <NA> LABEL <NA> <NA>`, in seconds"
            }
            Self::NotInReference { .. } => {
                "recordings are matched by the second field of their lines; give both files the same names there"
            }
            Self::NotInRegions { .. } => "add a line `FILE 1 START END` for each, or leave `--uem` out",
        };
        vec![hint.to_owned()]
    }
}

/// The first few of a list of file ids.
fn listed(files: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = files.iter().take(SHOWN).map(|file| format!("`{}`", at_most(file, 60))).collect();
    match files.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        left => format!("{} and {left} more", shown.join(", ")),
    }
}

/// Reads the files and scores every recording.
///
/// # Errors
/// See [`ScoreError`].
pub fn run(settings: &Settings) -> Result<Report, ScoreError> {
    let reference = load(Role::Reference, &settings.reference, rttm::read)?;
    let hypothesis = load(Role::Hypothesis, &settings.hypothesis, rttm::read)?;
    let regions = match &settings.regions {
        Some(path) => Some(load(Role::Regions, path, rttm::read_uem)?),
        None => None,
    };
    compare(reference, hypothesis, regions, settings.collar_s)
}

type Turns = BTreeMap<String, Annotation>;
type Regions = BTreeMap<String, Vec<Span>>;

fn load<T>(role: Role, path: &Path, parse: fn(&[u8]) -> Result<T, RttmError>) -> Result<T, ScoreError> {
    // One byte more than is accepted, so that the reader sees that there is too much.
    let limit = rttm::BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| ScoreError::Unreadable { role, path: path.to_owned(), source })?;
    parse(&bytes).map_err(|source| ScoreError::Malformed { role, path: path.to_owned(), source })
}

fn compare(
    reference: Turns,
    hypothesis: Turns,
    regions: Option<Regions>,
    collar_s: f64,
) -> Result<Report, ScoreError> {
    let mut notes = Vec::new();
    let pairs = if reference.len() <= 1 && hypothesis.len() <= 1 {
        vec![the_only_pair(reference, hypothesis, &mut notes)]
    } else {
        by_file_id(reference, hypothesis, &mut notes)?
    };
    let regions = match regions {
        Some(regions) => Some(regions_of(&pairs, regions)?),
        None => None,
    };
    let (mut recordings, mut total) = (Vec::new(), Score::default());
    for (index, (file, reference, hypothesis)) in pairs.into_iter().enumerate() {
        let region = regions.as_ref().map(|all| all[index].as_slice());
        let scored = der::score(&reference, &hypothesis, region, collar_s);
        total += &scored.score;
        recordings.push(Recording { file, score: scored.score, mapping: scored.mapping });
    }
    Ok(Report { recordings, total, collar_s, has_regions: regions.is_some(), notes })
}

/// A recording in which nobody speaks has no line at all: then its file id is the other side's, or none.
fn the_only_pair(
    reference: Turns,
    hypothesis: Turns,
    notes: &mut Vec<String>,
) -> (String, Annotation, Annotation) {
    match (reference.into_iter().next(), hypothesis.into_iter().next()) {
        (Some((file, reference)), Some((other, hypothesis))) => {
            if file != other {
                let [file, other] = [&file, &other].map(|id| at_most(id, 60));
                notes.push(format!("the file ids differ: `{file}` is compared with `{other}`"));
            }
            (file, reference, hypothesis)
        }
        (Some((file, reference)), None) => (file, reference, Annotation::default()),
        (None, Some((file, hypothesis))) => (file, Annotation::default(), hypothesis),
        (None, None) => ("-".to_owned(), Annotation::default(), Annotation::default()),
    }
}

/// Every recording of the reference with its hypothesis, in order of file id.
fn by_file_id(
    reference: Turns,
    mut hypothesis: Turns,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, Annotation, Annotation)>, ScoreError> {
    let strange: Vec<String> =
        hypothesis.keys().filter(|file| !reference.contains_key(*file)).cloned().collect();
    if !strange.is_empty() {
        return Err(ScoreError::NotInReference { files: strange });
    }
    let missing: Vec<String> =
        reference.keys().filter(|file| !hypothesis.contains_key(*file)).cloned().collect();
    if !missing.is_empty() {
        notes.push(format!("scored as silence, because the hypothesis has no turns: {}", listed(&missing)));
    }
    let pair = |(file, reference)| {
        let found = hypothesis.remove(&file).unwrap_or_default();
        (file, reference, found)
    };
    Ok(reference.into_iter().map(pair).collect())
}

/// The regions of each pair. One recording and one set of regions belong together whatever their ids.
fn regions_of(
    pairs: &[(String, Annotation, Annotation)],
    mut regions: Regions,
) -> Result<Vec<Vec<Span>>, ScoreError> {
    if let ([_], 1) = (pairs, regions.len()) {
        return Ok(regions.into_values().collect());
    }
    let missing: Vec<String> =
        pairs.iter().map(|p| &p.0).filter(|file| !regions.contains_key(*file)).cloned().collect();
    if !missing.is_empty() {
        return Err(ScoreError::NotInRegions { files: missing });
    }
    Ok(pairs.iter().filter_map(|(file, ..)| regions.remove(file)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(text: &str) -> Turns {
        rttm::read(text.as_bytes()).unwrap()
    }

    fn line(file: &str, start: u32, length: u32, label: &str) -> String {
        format!("SPEAKER {file} 1 {start} {length} <NA> <NA> {label} <NA> <NA>\n")
    }

    #[test]
    fn one_recording_is_compared_whatever_its_name() {
        let report = compare(turns(&line("a", 0, 4, "A")), turns(&line("b", 0, 3, "x")), None, 0.0).unwrap();
        assert_eq!(report.recordings[0].file, "a");
        assert_eq!(report.total.der(), 0.25);
        assert_eq!(report.notes, ["the file ids differ: `a` is compared with `b`"]);
    }

    #[test]
    fn silence_has_no_lines() {
        let speech = || turns(&line("a", 0, 4, "A"));
        let der = |r, h| compare(r, h, None, 0.0).unwrap().total.der();
        assert_eq!(der(speech(), turns("")), 1.0);
        assert_eq!(der(turns(""), speech()), f64::INFINITY);
        assert_eq!(der(turns(""), turns("")), 0.0);
    }

    #[test]
    fn several_recordings_are_matched_by_id() {
        let reference = line("a", 0, 4, "A") + &line("b", 0, 2, "A") + &line("c", 0, 2, "A");
        let hypothesis = line("b", 0, 1, "x") + &line("a", 0, 4, "x");
        let report = compare(turns(&reference), turns(&hypothesis), None, 0.0).unwrap();
        let files: Vec<_> = report.recordings.iter().map(|r| (r.file.as_str(), r.score.der())).collect();
        assert_eq!(files, [("a", 0.0), ("b", 0.5), ("c", 1.0)]);
        assert_eq!(report.total.der(), 3.0 / 8.0);
        assert_eq!(report.notes, ["scored as silence, because the hypothesis has no turns: `c`"]);
        let strange = turns(&(hypothesis + &line("d", 0, 1, "x")));
        let error = compare(turns(&reference), strange, None, 0.0).unwrap_err();
        assert_eq!(error.to_string(), "the reference has no recording: `d`");
    }

    #[test]
    fn regions_are_matched_by_id() {
        let regions = |text: &str| Some(rttm::read_uem(text.as_bytes()).unwrap());
        let two = || turns(&(line("a", 0, 4, "A") + &line("b", 0, 4, "A")));
        let report = compare(two(), turns(""), regions("a 1 0 1\nb 1 0 2\n"), 0.0).unwrap();
        assert_eq!(report.total.reference_s, 3.0);
        let error = compare(two(), turns(""), regions("a 1 0 1\n"), 0.0).unwrap_err();
        assert!(matches!(error, ScoreError::NotInRegions { files } if files == ["b"]));
        let one = turns(&line("a", 0, 4, "A"));
        let report = compare(one.clone(), turns(""), regions("other 1 0 1\n"), 0.0).unwrap();
        assert_eq!(report.total.reference_s, 1.0);
        let error = compare(one, turns(""), regions("x 1 0 1\ny 1 0 1\n"), 0.0).unwrap_err();
        assert!(matches!(error, ScoreError::NotInRegions { files } if files == ["a"]));
    }

    #[test]
    fn long_lists_are_cut() {
        let files: Vec<String> = (0..5).map(|n| format!("f{n}")).collect();
        assert_eq!(listed(&files), "`f0`, `f1`, `f2` and 2 more");
        assert_eq!(listed(&files[..3]), "`f0`, `f1`, `f2`");
    }
}
