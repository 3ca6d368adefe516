//! Clustering in groups against the exact one, on captured recordings.

use common::model::manifest::{AhcParameters, Clustering, VbxParameters};
use common::speech::diarization::Diarization;
use provision::recipe::community1::{ahc, vbx};
use worker::diarize::speaker_limits::SpeakerLimits;

use crate::captures::{Capture, pipeline, plda};

/// Share of speaking time in `truth` that `found` gives to another speaker or to nobody, plus what it adds; speakers
/// paired by time together. In steps of 10 ms.
fn difference(found: &Diarization, truth: &Diarization) -> f64 {
    let step = 0.01;
    let end = found.turns().iter().chain(truth.turns()).map(|t| t.end.get()).fold(0.0, f64::max);
    let steps = (end / step) as usize + 1;
    let grid = |diarization: &Diarization| {
        let mut grid = vec![vec![false; steps]; diarization.speakers()];
        for turn in diarization.turns() {
            let (from, to) = ((turn.start.get() / step) as usize, (turn.end.get() / step) as usize);
            grid[turn.speaker][from..to].fill(true);
        }
        grid
    };
    let (ours, theirs) = (grid(found), grid(truth));
    let together: Vec<f64> = theirs
        .iter()
        .flat_map(|t| ours.iter().map(move |o| o.iter().zip(t).filter(|(a, b)| **a && **b).count() as f64))
        .collect();
    let pairs = common::speech::assignment::maximise(&together, theirs.len(), ours.len());
    let common: f64 =
        pairs.iter().enumerate().filter_map(|(t, o)| o.map(|o| together[t * ours.len() + o])).sum();
    let speech = |grid: &[Vec<bool>]| grid.iter().flatten().filter(|on| **on).count() as f64;
    let (a, b) = (speech(&ours), speech(&theirs));
    (a.max(b) - common) / b.max(1.0)
}

/// Largest share of speaking time that grouping may change, at a fifth of the embeddings or more.
const DIFFERENCE_MAX: f64 = 0.03;

#[test]
#[allow(clippy::print_stderr, reason = "the figures of a run belong into its report")]
fn groups_give_nearly_the_same_turns() {
    let Some(plda) = plda() else { return };
    let free = SpeakerLimits::default();
    for name in ["06_long_recording", "08_luyu_jinjing_freedom", "10_mrbeast_clean_water"] {
        let Some(capture) = Capture::fixture(name) else { return };
        let by_vbx = |exact_max| {
            let parameters = VbxParameters { exact_max, ..vbx() };
            pipeline(Clustering::Vbx(parameters), &plda).diarize(&capture.seen, free).diarization
        };
        let by_ahc = |exact_max| {
            let parameters = AhcParameters { exact_max, ..ahc() };
            pipeline(Clustering::Ahc(parameters), &plda).diarize(&capture.seen, free).diarization
        };
        let exact = [by_vbx(4_000), by_ahc(4_000)];
        for exact_max in [800, 400, 200] {
            let grouped = [by_vbx(exact_max), by_ahc(exact_max)];
            let differ: Vec<f64> = grouped.iter().zip(&exact).map(|(g, e)| difference(g, e)).collect();
            eprintln!(
                "{name}, at most {exact_max} groups: vbx {} speakers of {}, {:.2} % of the time differs; ahc {} of {}, {:.2} %",
                grouped[0].speakers(),
                exact[0].speakers(),
                100.0 * differ[0],
                grouped[1].speakers(),
                exact[1].speakers(),
                100.0 * differ[1],
            );
            assert!(differ.iter().all(|d| *d < DIFFERENCE_MAX), "{name}, {exact_max}: {differ:?}");
        }
    }
}
