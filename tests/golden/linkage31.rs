//! The clustering of pyannote's 3.1 on captured embeddings, against its description carried out in NumPy 2.4 and SciPy 1.17
//! (no capture of 3.1 itself is at hand).

use common::model::manifest::Clustering;
use provision::recipe::community1::ahc;
use worker::diarize::cluster::ahc::partition;
use worker::diarize::cluster::by_local_speaker::training;
use worker::diarize::cluster::groups::Groups;
use worker::diarize::speaker_limits::SpeakerLimits;

use crate::captures::{Capture, NAMES, pipeline, plda};

/// Sizes of the clusters, descending; sum over embeddings of the first member of their cluster; turns; seconds of speech.
type Wanted = (&'static [usize], usize, usize, f64);

/// For each of [`NAMES`]: any number of speakers, two, four.
const WANTED: [[Wanted; 3]; 8] = [
    [
        (&[160, 35], 1050, 64, 177.896),
        (&[160, 35], 1050, 64, 177.896),
        (&[119, 32, 29, 15], 4467, 86, 177.896),
    ],
    [(&[20, 17], 17, 13, 24.334), (&[20, 17], 17, 13, 24.334), (&[11, 10, 9, 7], 351, 16, 24.334)],
    [(&[41], 0, 16, 35.708), (&[34, 7], 238, 16, 35.708), (&[12, 12, 10, 7], 610, 22, 35.708)],
    [(&[8, 6, 2], 26, 9, 13.956), (&[14, 2], 18, 9, 13.956), (&[8, 4, 2, 2], 54, 10, 13.956)],
    [(&[27, 5], 108, 12, 23.844), (&[27, 5], 108, 12, 23.844), (&[10, 10, 7, 5], 348, 14, 23.844)],
    [
        (&[506, 498], 50298, 315, 717.525),
        (&[506, 498], 50298, 315, 717.525),
        (&[489, 434, 42, 39], 71301, 332, 717.525),
    ],
    [
        (&[1034, 467], 9340, 431, 1196.117),
        (&[1034, 467], 9340, 431, 1196.117),
        (&[1005, 401, 70, 25], 14547, 461, 1196.117),
    ],
    [
        (&[629, 61, 47, 31, 24, 14], 61774, 80, 602.066),
        (&[710, 96], 7488, 74, 602.066),
        (&[761, 18, 15, 12], 13506, 56, 602.066),
    ],
];

#[test]
fn linkage_is_that_of_the_description() {
    let Some(plda) = plda() else { return };
    let parameters = ahc();
    let pipeline = pipeline(Clustering::Ahc(parameters.clone()), &plda);
    let exactly = |n| SpeakerLimits::new(n, n).expect("in bounds");
    for (name, wanted) in NAMES.into_iter().zip(WANTED) {
        let Some(capture) = Capture::fixture(name) else { return };
        let training = training(&capture.seen, parameters.clean_share_min);
        let groups = Groups::of(&capture.seen.locals, &training, 4_000);
        let wishes = [SpeakerLimits::default(), exactly(2), exactly(4)];
        for (limits, (sizes, firsts, turns, speech_s)) in wishes.into_iter().zip(wanted) {
            let labels = partition(&groups, &parameters, limits);
            let members = |label: usize| labels.iter().filter(|l| **l == label).count();
            let mut found: Vec<usize> =
                (0..=labels.iter().max().copied().unwrap_or(0)).map(members).collect();
            found.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(found, sizes, "{name}, {limits:?}");
            let first = |label: &usize| labels.iter().position(|l| l == label).unwrap_or(0);
            assert_eq!(labels.iter().map(first).sum::<usize>(), firsts, "{name}, {limits:?}: members");
            let diarized = pipeline.diarize(&capture.seen, limits).diarization;
            let speech: f64 = diarized.turns().iter().map(|t| t.end.get() - t.start.get()).sum();
            assert_eq!(diarized.turns().len(), turns, "{name}, {limits:?}: turns");
            assert!((speech - speech_s).abs() < 0.002, "{name}, {limits:?}: {speech} s of speech");
        }
    }
}
