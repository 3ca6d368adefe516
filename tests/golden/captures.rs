//! What pyannote's community-1 computed on recordings, captured between its stages, and our stages on the same inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::model::manifest::{Clustering, Manifest, SCHEMA, TrunkSpan};
use common::speech::diarization::Diarization;
use provision::recipe::community1;
use tests::npz::{Array, parse_npy, read_npz};
use tests::shared::shared;
use worker::diarize::cluster::plda::{Plda, PldaArrays};
use worker::diarize::masks::active;
use worker::diarize::observations::Observations;
use worker::diarize::pipeline::Pipeline;

/// Recordings with every array captured.
pub const NAMES: [&str; 8] = [
    "01_dialogue",
    "02_pyannote_sample",
    "03_dual_speaker",
    "04_three_speaker",
    "05_four_speaker",
    "06_long_recording",
    "08_luyu_jinjing_freedom",
    "10_mrbeast_clean_water",
];
/// Recordings of the second capture; only `pipeline` has arrays of the clustering.
pub const SPEAKRS: [&str; 4] = ["pipeline", "3speakers", "single_speaker", "short"];

/// Length of an activity frame, seconds.
pub const FRAME_S: f64 = 0.016_875;

/// One captured recording.
pub struct Capture {
    pub name: String,
    pub seen: Observations,
    pub turns: Vec<(f64, f64, String)>,
    folder: PathBuf,
}

impl Capture {
    /// A recording of [`NAMES`]; `None`, said aloud, when the captures are not there.
    pub fn fixture(name: &str) -> Option<Self> {
        let folder = shared("reference/community1/fixtures")?.join(name);
        let segmentation = read_npz(&folder.join("segmentations.npz")).remove("segmentations")?;
        let embeddings = read_npz(&folder.join("raw_embeddings.npz")).remove("embeddings")?;
        let turns = rttm(&folder.join("reference.rttm"));
        Some(Self::of(name, folder, &segmentation, &embeddings, turns))
    }

    /// A recording of [`SPEAKRS`].
    pub fn speakrs(name: &str) -> Option<Self> {
        let folder = shared("reference/community1/speakrs")?;
        let read = |part: &str| npy(&folder.join(format!("{name}_{part}.npy")));
        let turns = rttm(&folder.join(format!("{name}_expected.rttm")));
        let (segmentation, embeddings) = (read("segmentation_data"), read("embeddings_data"));
        Some(Self::of(name, folder, &segmentation, &embeddings, turns))
    }

    fn of(
        name: &str,
        folder: PathBuf,
        segmentation: &Array,
        embeddings: &Array,
        turns: Vec<(f64, f64, String)>,
    ) -> Self {
        let (chunks, frames) = (segmentation.shape[0], segmentation.shape[1]);
        let mut seen = Observations::new(256);
        seen.samples = 160_000 + (chunks - 1) * 16_000;
        for chunk in 0..chunks {
            let masks: Vec<u8> = segmentation
                .row(chunk)
                .chunks_exact(3)
                .map(|frame| (0..3).map(|k| u8::from(frame[k] > 0.5) << k).sum())
                .collect();
            assert_eq!(masks.len(), frames);
            for local in active(&masks) {
                let embedding: Vec<f32> =
                    embeddings.row(chunk)[local * 256..][..256].iter().map(|v| *v as f32).collect();
                // One author wrote "not a number" over local speakers of a few frames; such train nothing.
                if embedding.iter().all(|v| v.is_finite()) {
                    seen.locals.push(chunk, local, &embedding);
                }
            }
            seen.activity.push(masks);
        }
        Self { name: name.to_owned(), seen, turns, folder }
    }

    /// The arrays of one of the capture's files.
    pub fn arrays(&self, file: &str) -> BTreeMap<String, Array> {
        read_npz(&self.folder.join(file))
    }

    /// One array in a file of its own.
    pub fn array(&self, file: &str) -> Array {
        npy(&self.folder.join(file))
    }
}

fn npy(path: &Path) -> Array {
    parse_npy(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Start, end and label of each line.
fn rttm(path: &Path) -> Vec<(f64, f64, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |field: usize| fields[field].parse::<f64>().expect("a time");
            (number(3), number(3) + number(4), fields[7].to_owned())
        })
        .collect()
}

/// The PLDA of community-1.
pub fn plda() -> Option<Arc<Plda>> {
    let folder = shared("reference/community1/plda")?;
    let (mut transform, mut plda) =
        (read_npz(&folder.join("xvec_transform.npz")), read_npz(&folder.join("plda.npz")));
    let mut take = |from: u8, name: &str| {
        let arrays = if from == 0 { &mut transform } else { &mut plda };
        arrays.remove(name).expect("an array of the PLDA").values
    };
    let arrays = PldaArrays {
        mean1: take(0, "mean1"),
        mean2: take(0, "mean2"),
        lda: take(0, "lda"),
        mu: take(1, "mu"),
        tr: take(1, "tr"),
        psi: take(1, "psi"),
    };
    Some(Arc::new(Plda::new(arrays).expect("a sound PLDA")))
}

/// A manifest of community-1 with another clustering.
pub fn manifest(clustering: Clustering) -> Manifest {
    Manifest {
        schema: SCHEMA.to_owned(),
        name: community1::NAME.to_owned(),
        version: "0".to_owned(),
        files: Vec::new(),
        segmentation: community1::segmentation_geometry(),
        embedding: community1::embedding_geometry(TrunkSpan::Chunk),
        clustering,
        voices: Default::default(),
        selftest: None,
    }
}

/// The way of a bundle with this clustering.
pub fn pipeline(clustering: Clustering, plda: &Arc<Plda>) -> Pipeline {
    Pipeline::new(&manifest(clustering), Some(plda.clone())).expect("a way through community-1")
}

/// Largest distance of two lists of turns, paired by the best naming of speakers: `None` when they do not pair up.
pub fn distance(found: &Diarization, wanted: &[(f64, f64, String)]) -> Option<f64> {
    let mut names: Vec<&str> = wanted.iter().map(|turn| turn.2.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let speakers = found.speakers();
    if names.len() != speakers || wanted.len() != found.turns().len() {
        return None;
    }
    let of = |name: &str| -> Vec<(f64, f64)> {
        let mut turns: Vec<(f64, f64)> =
            wanted.iter().filter(|turn| turn.2 == name).map(|turn| (turn.0, turn.1)).collect();
        turns.sort_by(|a, b| a.0.total_cmp(&b.0));
        turns
    };
    let ours: Vec<Vec<(f64, f64)>> = (0..speakers)
        .map(|speaker| {
            let turns = found.turns().iter().filter(|turn| turn.speaker == speaker);
            turns.map(|turn| (turn.start.get(), turn.end.get())).collect()
        })
        .collect();
    let mut free: Vec<&str> = names;
    let mut worst = 0.0f64;
    for turns in &ours {
        let gap = |name: &str| {
            let theirs = of(name);
            let pairs = || turns.iter().zip(&theirs);
            (theirs.len() == turns.len())
                .then(|| pairs().map(|(a, b)| (a.0 - b.0).abs().max((a.1 - b.1).abs())).fold(0.0, f64::max))
        };
        let best =
            (0..free.len()).filter_map(|i| Some((i, gap(free[i])?))).min_by(|a, b| a.1.total_cmp(&b.1))?;
        free.remove(best.0);
        worst = worst.max(best.1);
    }
    Some(worst)
}
