//! PLDA, VBx and reconstruction against what pyannote's community-1 computed, stage by stage.

use common::model::manifest::Clustering;
use provision::recipe::community1::vbx;
use worker::diarize::cluster::by_local_speaker::{Method, find_speakers, training};
use worker::diarize::cluster::groups::Groups;
use worker::diarize::cluster::vbx::{self, Features};
use worker::diarize::speaker_count::speaker_count;
use worker::diarize::speaker_limits::SpeakerLimits;

use crate::captures::{Capture, FRAME_S, NAMES, SPEAKRS, distance, pipeline, plda};

/// The largest difference of two lists of numbers.
fn worst(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
#[allow(clippy::print_stderr, reason = "the figures of a run belong into its report")]
fn clustering_matches_stage_by_stage() {
    let Some(plda) = plda() else { return };
    let parameters = vbx();
    for name in NAMES {
        let Some(capture) = Capture::fixture(name) else { return };
        let of_plda = capture.arrays("plda_embeddings.npz");
        let of_vbx = capture.arrays("vbx_state.npz");
        let of_clusters = capture.arrays("clustering.npz");
        // Who trains.
        let training = training(&capture.seen, parameters.clean_share_min);
        let rows: Vec<(f64, f64)> = training
            .iter()
            .map(|index| capture.seen.locals.of(*index))
            .map(|(chunk, local)| (chunk as f64, local as f64))
            .collect();
        let (chunks, locals) = (&of_plda["train_chunk_idx"].values, &of_plda["train_speaker_idx"].values);
        assert_eq!(rows, chunks.iter().copied().zip(locals.iter().copied()).collect::<Vec<_>>(), "{name}");
        // PLDA. The sign of a direction is free.
        let groups = Groups::of(&capture.seen.locals, &training, 4_000);
        let means = || groups.means.chunks_exact(256);
        let projected: Vec<f64> = means().flat_map(|mean| plda.projected(mean)).collect();
        let features: Vec<f64> = means().flat_map(|mean| plda.feature(mean)).collect();
        let sizes = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
        let phi = worst(plda.phi(), &of_plda["phi"].values);
        let xvec = worst(&projected, &of_plda["post_xvec"].values);
        let feature = worst(&sizes(&features), &sizes(&of_plda["post_plda"].values));
        assert!(phi < 1e-9 && xvec < 1e-9 && feature < 1e-9, "{name}: {phi:e} {xvec:e} {feature:e}");
        // The first partition, numbers included: they decide the order of speakers.
        let labels = groups.tree().cut(parameters.threshold);
        let wanted: Vec<usize> =
            capture.array("ahc_init_labels.npy").values.iter().map(|v| *v as usize).collect();
        assert_eq!(labels, wanted, "{name}: the first partition");
        // Variational Bayes.
        let found = vbx::run(
            Features { values: &features, phi: plda.phi(), sizes: &groups.sizes },
            &labels,
            &parameters,
        );
        let bounds = worst(&found.bounds, &of_vbx["elbo_trajectory"].values);
        let shares = worst(&found.responsibilities, &of_vbx["q_final"].values);
        let priors = worst(&found.priors, &of_vbx["sp_final"].values);
        assert!(bounds < 1e-6 && shares < 1e-9 && priors < 1e-9, "{name}: {bounds:e} {shares:e} {priors:e}");
        // Who is who.
        let speakers =
            find_speakers(&capture.seen, Method::Vbx(&parameters, &plda), SpeakerLimits::default());
        let hard = &of_clusters["hard_clusters"];
        let mut compared = 0;
        for index in 0..capture.seen.locals.len() {
            let (chunk, local) = capture.seen.locals.of(index);
            let ours = speakers.assignment[chunk][local].map_or(-2.0, |speaker| speaker as f64);
            assert_eq!(ours, hard.row(chunk)[local], "{name}: chunk {chunk}, local speaker {local}");
            compared += 1;
        }
        // How many talk.
        let count = speaker_count(&worker_geometry(), &capture.seen.activity);
        let theirs = &capture.arrays("reconstruction.npz")["count"].values;
        assert!(count.iter().zip(theirs).all(|(a, b)| f64::from(*a) == *b), "{name}: speakers in a frame");
        assert!(theirs[count.len()..].iter().all(|n| *n == 0.0), "{name}: nobody talks after the last chunk");
        eprintln!(
            "{name}: {} train, {} clusters, {} iterations, {} speakers; {compared} hard clusters equal; phi {phi:.0e} \
             features {feature:.0e} bound {bounds:.0e} responsibilities {shares:.0e}",
            rows.len(),
            found.speakers,
            found.bounds.len(),
            speakers.centroids.len(),
        );
    }
}

fn worker_geometry() -> worker::diarize::geometry::Geometry {
    (&provision::recipe::community1::segmentation_geometry()).into()
}

#[test]
#[allow(clippy::print_stderr, reason = "the figures of a run belong into its report")]
fn turns_are_those_of_the_reference() {
    let Some(plda) = plda() else { return };
    let pipeline = pipeline(Clustering::Vbx(vbx()), &plda);
    let fixtures = NAMES.iter().map(|name| Capture::fixture(name));
    for capture in fixtures.chain(SPEAKRS.iter().map(|name| Capture::speakrs(name))) {
        let Some(capture) = capture else { return };
        let found = pipeline.diarize(&capture.seen, SpeakerLimits::default()).diarization;
        let gap = distance(&found, &capture.turns);
        eprintln!(
            "{}: {} turns, {} speakers, largest distance of a boundary {gap:?} s",
            capture.name,
            found.turns().len(),
            found.speakers()
        );
        assert!(gap.is_some_and(|gap| gap < FRAME_S), "{}", capture.name);
    }
}
