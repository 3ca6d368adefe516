//! Small recordings whose answer is known.

use super::*;
use crate::diarize::cluster::plda::PldaArrays;
use crate::diarize::cluster::vbx::tests::community1;

/// Chunks of 100 frames; local speaker 0 alone until `cut`, 1 alone from there on.
fn seen(
    chunks: usize,
    cut: impl Fn(usize) -> usize,
    voice: impl Fn(usize, usize) -> [f32; 3],
) -> Observations {
    let mut seen = Observations::new(3);
    for chunk in 0..chunks {
        let cut = cut(chunk);
        seen.activity.push((0..100).map(|frame| if frame < cut { 1 } else { 2 }).collect());
        for local in 0..2 {
            if (local == 0 && cut > 0) || (local == 1 && cut < 100) {
                seen.locals.push(chunk, local, &voice(chunk, local));
            }
        }
    }
    seen
}

/// A PLDA that projects nothing away: speakers differ by 9, one speaker by 1.
fn plda() -> Plda {
    let unit = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    Plda::new(PldaArrays {
        mean1: vec![0.0; 3],
        mean2: vec![0.0; 3],
        lda: unit.clone(),
        mu: vec![0.0; 3],
        tr: unit,
        psi: vec![9.0; 3],
    })
    .expect("a sound PLDA")
}

fn ahc() -> AhcParameters {
    AhcParameters { threshold: 0.7, min_cluster_size: 12, clean_share_min: 0.2, exact_max: 100 }
}

/// Two voices that change places in every second chunk.
fn two_voices(chunks: usize) -> Observations {
    let voice = |chunk: usize, local: usize| {
        let noise = (chunk * 37 % 11) as f32 * 0.01;
        if (chunk + local).is_multiple_of(2) { [3.0, noise, 0.1] } else { [noise, 3.0, 0.1] }
    };
    seen(chunks, |_| 50, voice)
}

fn names(speakers: &Speakers) -> Vec<[Option<usize>; 2]> {
    speakers.assignment.iter().map(|chunk| [chunk[0], chunk[1]]).collect()
}

#[test]
fn voices_are_followed_through_chunks() {
    let (seen, plda, vbx, ahc) = (two_voices(30), plda(), community1(), ahc());
    for method in [Method::Vbx(&vbx, &plda), Method::Ahc(&ahc)] {
        let speakers = find_speakers(&seen, method, SpeakerLimits::default());
        assert_eq!(speakers.centroids.len(), 2, "{method:?}");
        let names = names(&speakers);
        let first = names[0][0];
        for (chunk, name) in names.iter().enumerate() {
            assert!(name[0] != name[1] && name[chunk % 2] == first, "chunk {chunk} of {method:?}");
        }
        assert!(speakers.centroids.iter().all(|c| (c.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5));
    }
}

#[test]
fn a_long_recording_gives_the_same_answer_by_groups() {
    let (seen, plda) = (two_voices(300), plda());
    let exact = VbxParameters { exact_max: 600, ..community1() };
    let grouped = VbxParameters { exact_max: 64, ..community1() };
    let free = SpeakerLimits::default();
    let (exact, grouped) = (
        find_speakers(&seen, Method::Vbx(&exact, &plda), free),
        find_speakers(&seen, Method::Vbx(&grouped, &plda), free),
    );
    assert_eq!(exact.centroids.len(), grouped.centroids.len());
    assert_eq!(exact.assignment, grouped.assignment);
}

#[test]
fn wishes_for_speakers_are_met() {
    let (seen, plda, vbx, ahc) = (two_voices(40), plda(), community1(), ahc());
    for wanted in 1..=3 {
        let limits = SpeakerLimits::new(wanted, wanted).expect("in bounds");
        let found = find_speakers(&seen, Method::Vbx(&vbx, &plda), limits).centroids.len();
        assert_eq!(found, wanted, "k-means makes any number");
        let found = find_speakers(&seen, Method::Ahc(&ahc), limits).centroids.len();
        assert!(found == wanted || wanted == 3, "the tree gives what it can: {found} of {wanted}");
    }
}

#[test]
fn who_hardly_speaks_alone_does_not_train_but_gets_a_name() {
    // In chunks 10 and 11 local speaker 1 has only 19 of 100 frames.
    let base = two_voices(12);
    let seen = seen(
        12,
        |chunk| if chunk < 10 { 50 } else { 81 },
        |chunk, local| {
            let index = base.locals.by_chunk().nth(chunk).expect("a chunk").start + local;
            base.locals.get(index).try_into().expect("three numbers")
        },
    );
    assert_eq!(training(&seen, 0.2).len(), 22);
    assert_eq!(training(&seen, 0.19).len(), 24, "at the bound");
    let speakers = find_speakers(&seen, Method::Vbx(&community1(), &plda()), SpeakerLimits::default());
    assert!(names(&speakers).iter().all(|n| n[0].is_some() && n[1].is_some()));
}

#[test]
fn too_little_to_cluster_is_one_speaker() {
    let (plda, vbx, ahc) = (plda(), community1(), ahc());
    for method in [Method::Vbx(&vbx, &plda), Method::Ahc(&ahc)] {
        let none = find_speakers(&Observations::new(3), method, SpeakerLimits::default());
        assert!(none.centroids.is_empty() && none.assignment.is_empty());
        // One trains, the other does not: both are the one speaker.
        let one = find_speakers(&seen(1, |_| 85, |_, _| [1.0, 2.0, 3.0]), method, SpeakerLimits::default());
        assert_eq!(names(&one), [[Some(0), Some(0)]]);
        // Nobody trains.
        let mut nobody = seen(1, |_| 100, |_, _| [1.0, 0.0, 0.0]);
        nobody.activity = vec![vec![3; 100]];
        assert_eq!(names(&find_speakers(&nobody, method, SpeakerLimits::default())), [[Some(0), None]]);
    }
}
