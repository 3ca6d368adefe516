use proptest::prelude::*;

use super::*;
use crate::speech::time::Seconds;

fn annotation(turns: &[(f64, f64, &str)]) -> Annotation {
    let mut annotation = Annotation::default();
    for (start, end, label) in turns {
        annotation.push(Seconds::new(*start).unwrap(), Seconds::new(*end).unwrap(), label).unwrap();
    }
    annotation
}

fn spans(spans: &[(f64, f64)]) -> Vec<Span> {
    let span = |&(start, end): &(f64, f64)| Span {
        start: Seconds::new(start).unwrap(),
        end: Seconds::new(end).unwrap(),
    };
    spans.iter().map(span).collect()
}

struct Case {
    name: &'static str,
    reference: &'static [(f64, f64, &'static str)],
    hypothesis: &'static [(f64, f64, &'static str)],
    region: Option<&'static [(f64, f64)]>,
    collar_s: f64,
    /// Reference speech, missed, false alarm, confusion, as an independent scorer gives them.
    parts: [f64; 4],
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case {
        name: "overlap and confusion",
        reference: &[(0.0, 2.8, "A"), (2.5, 6.0, "B"), (7.25, 9.0, "A"), (8.5, 12.0, "C")],
        hypothesis: &[(0.1, 2.6, "x"), (2.6, 6.2, "y"), (7.0, 9.4, "y"), (9.4, 11.5, "z"), (10.0, 12.5, "x")],
        region: None,
        collar_s: 0.0,
        parts: [11.55, 0.8999999999999998, 2.45, 2.6500000000000004],
    },
    Case {
        name: "collar",
        reference: &[(0.0, 2.8, "A"), (2.5, 6.0, "B"), (7.25, 9.0, "A"), (8.5, 12.0, "C")],
        hypothesis: &[(0.1, 2.6, "x"), (2.6, 6.2, "y"), (7.0, 9.4, "y"), (9.4, 11.5, "z"), (10.0, 12.5, "x")],
        region: None,
        collar_s: 0.25,
        parts: [7.95, 0.0, 1.75, 1.1500000000000004],
    },
    Case {
        name: "regions that overlap",
        reference: &[(0.0, 2.8, "A"), (2.5, 6.0, "B"), (7.25, 9.0, "A"), (8.5, 12.0, "C")],
        hypothesis: &[(0.1, 2.6, "x"), (2.6, 6.2, "y"), (7.0, 9.4, "y"), (9.4, 11.5, "z"), (10.0, 12.5, "x")],
        region: Some(&[(0.0, 3.0), (2.0, 5.0), (8.0, 11.0)]),
        collar_s: 0.0,
        parts: [8.8, 0.8999999999999998, 1.0, 1.4000000000000004],
    },
    Case {
        name: "regions and a wide collar",
        reference: &[(0.0, 2.8, "A"), (2.5, 6.0, "B"), (7.25, 9.0, "A"), (8.5, 12.0, "C")],
        hypothesis: &[(0.1, 2.6, "x"), (2.6, 6.2, "y"), (7.0, 9.4, "y"), (9.4, 11.5, "z"), (10.0, 12.5, "x")],
        region: Some(&[(0.5, 11.0)]),
        collar_s: 0.4,
        parts: [6.049999999999999, 0.0, 1.0, 0.4499999999999993],
    },
    Case {
        name: "a speaker who overlaps himself",
        reference: &[(0.0, 3.0, "A"), (2.0, 4.0, "A"), (4.0, 5.0, "A")],
        hypothesis: &[(0.0, 2.5, "x"), (1.0, 5.5, "x")],
        region: None,
        collar_s: 0.0,
        parts: [5.0, 0.0, 0.5, 0.0],
    },
    Case {
        name: "more speakers than there are",
        reference: &[(0.0, 10.0, "A")],
        hypothesis: &[(0.0, 3.0, "x"), (3.0, 7.5, "y"), (7.5, 10.0, "z"), (2.0, 4.0, "w")],
        region: None,
        collar_s: 0.0,
        parts: [10.0, 0.0, 2.0, 5.5],
    },
    Case {
        name: "fewer speakers than there are",
        reference: &[(0.0, 3.0, "A"), (3.0, 7.5, "B"), (7.5, 10.0, "C")],
        hypothesis: &[(0.0, 10.0, "x")],
        region: None,
        collar_s: 0.0,
        parts: [10.0, 0.0, 0.0, 5.5],
    },
    Case {
        name: "nothing found",
        reference: &[(0.0, 2.8, "A"), (2.5, 6.0, "B"), (7.25, 9.0, "A"), (8.5, 12.0, "C")],
        hypothesis: &[],
        region: None,
        collar_s: 0.0,
        parts: [11.55, 11.55, 0.0, 0.0],
    },
    Case {
        name: "nothing to find",
        reference: &[],
        hypothesis: &[(0.1, 2.6, "x"), (2.6, 6.2, "y"), (7.0, 9.4, "y"), (9.4, 11.5, "z"), (10.0, 12.5, "x")],
        region: None,
        collar_s: 0.0,
        parts: [0.0, 0.0, 13.1, 0.0],
    },
    Case {
        name: "nothing at all",
        reference: &[],
        hypothesis: &[],
        region: None,
        collar_s: 0.0,
        parts: [0.0, 0.0, 0.0, 0.0],
    },
    Case {
        name: "everything inside collars",
        reference: &[(1.0, 1.3, "A")],
        hypothesis: &[(0.5, 2.0, "x")],
        region: None,
        collar_s: 0.5,
        parts: [0.0, 0.0, 0.19999999999999996, 0.0],
    },
    Case {
        name: "greedy mapping is not best",
        reference: &[(0.0, 10.0, "A"), (10.0, 19.0, "B"), (20.0, 29.0, "A")],
        hypothesis: &[(0.0, 19.0, "x"), (20.0, 29.0, "y")],
        region: None,
        collar_s: 0.0,
        parts: [28.0, 0.0, 0.0, 10.0],
    },
];

#[test]
fn parts_agree_with_an_independent_scorer() {
    for case in CASES {
        let region = case.region.map(spans);
        let scored = score(
            &annotation(case.reference),
            &annotation(case.hypothesis),
            region.as_deref(),
            case.collar_s,
        );
        let Score { reference_s, missed_s, false_alarm_s, confusion_s, .. } = scored.score;
        for (ours, theirs) in [reference_s, missed_s, false_alarm_s, confusion_s].iter().zip(case.parts) {
            assert!((ours - theirs).abs() < 1e-9, "{}: {ours} against {theirs}", case.name);
        }
    }
}

#[test]
fn the_mapping_says_who_is_who() {
    let reference = annotation(&[(0.0, 4.0, "Zoe"), (4.0, 9.0, "Ann")]);
    let hypothesis = annotation(&[(0.0, 4.5, "S1"), (4.5, 9.0, "S0"), (20.0, 21.0, "S2")]);
    let mapping = score(&reference, &hypothesis, None, 0.0).mapping;
    assert_eq!(mapping, [("Ann".into(), "S0".into()), ("Zoe".into(), "S1".into())]);
}

#[test]
fn rates_without_reference_speech() {
    let (nothing, something) = (annotation(&[]), annotation(&[(0.0, 1.0, "x")]));
    let score_of = |r, h| score(r, h, None, 0.0).score;
    assert_eq!(score_of(&nothing, &nothing).der(), 0.0);
    assert_eq!(score_of(&nothing, &nothing).jer(), 0.0);
    assert_eq!(score_of(&nothing, &something).der(), f64::INFINITY);
    assert_eq!(score_of(&nothing, &something).jer(), 1.0);
    assert_eq!(score_of(&something, &nothing).der(), 1.0);
    assert_eq!(score_of(&something, &nothing).jer(), 1.0);
}

/// By hand: A speaks 4 s, x covers 3 of them and 1 s more: index 3/5. B speaks 6 s, y covers 2 of them: index 2/6. C
/// is alone: 0. The mean error is (0.4 + 2/3 + 1) / 3.
#[test]
fn jaccard_error_by_hand() {
    let reference = annotation(&[(0.0, 4.0, "A"), (10.0, 16.0, "B"), (20.0, 21.0, "C")]);
    let hypothesis = annotation(&[(1.0, 5.0, "x"), (14.0, 16.0, "y")]);
    let found = score(&reference, &hypothesis, None, 0.0).score;
    assert_eq!(found.jaccard_speakers, 3);
    assert!((found.jer() - (0.4 + 2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12, "{}", found.jer());
    // C lies outside the region: it is not scored.
    let region = spans(&[(0.0, 18.0)]);
    let found = score(&reference, &hypothesis, Some(&region), 0.0).score;
    assert!((found.jer() - (0.4 + 2.0 / 3.0) / 2.0).abs() < 1e-12, "{}", found.jer());
}

#[test]
fn recordings_add_up() {
    let (a, b) = (annotation(&[(0.0, 4.0, "A")]), annotation(&[(0.0, 1.0, "x")]));
    let mut total = Score::default();
    total += &score(&a, &b, None, 0.0).score;
    total += &score(&a, &a, None, 0.0).score;
    assert_eq!((total.reference_s, total.missed_s, total.reference_speakers), (8.0, 3.0, 2));
    assert!((total.der() - 0.375).abs() < 1e-12);
    assert!((total.jer() - 0.375).abs() < 1e-12);
}

/// A day of 100,000 turns of eight speakers, found 100 ms late and with two names swapped half the way.
#[test]
fn a_day_of_turns() {
    let turn = |n: u32, late: f64, label: usize| {
        (f64::from(n) * 0.8 + late, f64::from(n) * 0.8 + 0.75 + late, format!("S{label}"))
    };
    let (mut reference, mut hypothesis) = (Annotation::default(), Annotation::default());
    for n in 0..100_000_u32 {
        let speaker = n as usize % 8;
        let (start, end, label) = turn(n, 0.0, speaker);
        reference.push(Seconds::new(start).unwrap(), Seconds::new(end).unwrap(), &label).unwrap();
        let found = if n >= 75_000 && speaker < 2 { 1 - speaker } else { speaker };
        let (start, end, label) = turn(n, 0.1, found);
        hypothesis.push(Seconds::new(start).unwrap(), Seconds::new(end).unwrap(), &label).unwrap();
    }
    let Score { reference_s, missed_s, false_alarm_s, confusion_s, .. } =
        score(&reference, &hypothesis, None, 0.0).score;
    assert!((reference_s - 75_000.0).abs() < 1e-6);
    // Silences of 50 ms are covered by speech 100 ms late, and 50 ms after each of them are missed.
    assert!((missed_s - (0.1 + 99_999.0 * 0.05)).abs() < 1e-6, "{missed_s}");
    assert!((false_alarm_s - (0.1 + 99_999.0 * 0.05)).abs() < 1e-6, "{false_alarm_s}");
    // In a quarter of the turns two of eight are swapped, 0.65 s of each; the 50 ms in which the last one still
    // lingers are confused in every turn but the first, and but those of the second of the swapped pair.
    let confused = 25_000.0 / 4.0 * 0.65 + (99_999.0 - 25_000.0 / 8.0) * 0.05;
    assert!((confusion_s - confused).abs() < 1e-6, "{confusion_s} {confused}");
}

/// Textbook form: cut time at every edge, look at each piece, try every mapping.
fn by_pieces(
    reference: &Annotation,
    hypothesis: &Annotation,
    region: &[Span],
    collar_s: f64,
) -> (f64, [f64; 4]) {
    let mut cuts: Vec<f64> = region.iter().flat_map(|s| [s.start.get(), s.end.get()]).collect();
    for turn in reference.turns() {
        for at in [turn.start.get(), turn.end.get()] {
            cuts.extend([at, at - collar_s, at + collar_s]);
        }
    }
    cuts.extend(hypothesis.turns().iter().flat_map(|t| [t.start.get(), t.end.get()]));
    cuts.sort_by(f64::total_cmp);
    let speaks = |a: &Annotation, speaker: usize, at: f64| {
        a.turns().iter().any(|t| t.speaker == speaker && t.start.get() < at && at < t.end.get())
    };
    let (rows, columns) = (reference.labels().len(), hypothesis.labels().len());
    let mut together = vec![vec![0.0; columns]; rows];
    let (mut spoken, mut found) = (vec![0.0; rows], vec![0.0; columns]);
    let [mut total, mut missed, mut false_alarm, mut paired] = [0.0; 4];
    for pair in cuts.windows(2) {
        let (length, middle) = (pair[1] - pair[0], f64::midpoint(pair[0], pair[1]));
        let inside = region.iter().any(|s| s.start.get() < middle && middle < s.end.get());
        let at_edge = reference
            .turns()
            .iter()
            .any(|t| [t.start.get(), t.end.get()].iter().any(|edge| (edge - middle).abs() < collar_s));
        if length <= 0.0 || !inside || at_edge {
            continue;
        }
        let r: Vec<usize> = (0..rows).filter(|&s| speaks(reference, s, middle)).collect();
        let h: Vec<usize> = (0..columns).filter(|&s| speaks(hypothesis, s, middle)).collect();
        total += length * r.len() as f64;
        missed += length * r.len().saturating_sub(h.len()) as f64;
        false_alarm += length * h.len().saturating_sub(r.len()) as f64;
        paired += length * r.len().min(h.len()) as f64;
        r.iter().for_each(|&a| spoken[a] += length);
        h.iter().for_each(|&b| found[b] += length);
        for &a in &r {
            h.iter().for_each(|&b| together[a][b] += length);
        }
    }
    let correct = best(&together, 0, &mut vec![false; columns]);
    let mut jaccard = together;
    for (a, row) in jaccard.iter_mut().enumerate() {
        for (b, both) in row.iter_mut().enumerate() {
            *both = if *both > 0.0 { *both / (spoken[a] + found[b] - *both) } else { 0.0 };
        }
    }
    let speakers = spoken.iter().filter(|s| **s > 0.0).count() as f64;
    let jer = if speakers > 0.0 {
        (speakers - best(&jaccard, 0, &mut vec![false; columns])) / speakers
    } else {
        f64::from(u8::from(false_alarm > 0.0))
    };
    (jer, [total, missed, false_alarm, paired - correct])
}

/// The largest sum over all ways to give each row a column of its own, or none.
fn best(weights: &[Vec<f64>], row: usize, used: &mut [bool]) -> f64 {
    if row == weights.len() {
        return 0.0;
    }
    let mut largest = best(weights, row + 1, used);
    for column in 0..used.len() {
        if !std::mem::replace(&mut used[column], true) {
            largest = largest.max(weights[row][column] + best(weights, row + 1, used));
            used[column] = false;
        }
    }
    largest
}

fn some_annotation() -> impl Strategy<Value = Annotation> {
    prop::collection::vec((0_u32..60, 1_u32..12, 0_usize..4), 0..12).prop_map(|turns| {
        let mut annotation = Annotation::default();
        for (start, length, speaker) in turns {
            let [start, end] = [start, start + length].map(|t| Seconds::new(f64::from(t) / 4.0).unwrap());
            annotation.push(start, end, &format!("S{speaker}")).unwrap();
        }
        annotation
    })
}

proptest! {
    #[test]
    fn agrees_with_the_textbook(
        reference in some_annotation(), hypothesis in some_annotation(),
        region in prop::collection::vec((0_u32..60, 1_u32..40), 1..3), collar in 0_u32..3,
    ) {
        let quarter = |t: u32| f64::from(t) / 4.0;
        let region: Vec<_> = region.iter().map(|&(s, l)| (quarter(s), quarter(s + l))).collect();
        let (region, collar_s) = (spans(&region), f64::from(collar) / 8.0);
        let ours = score(&reference, &hypothesis, Some(&region), collar_s).score;
        let (jer, parts) = by_pieces(&reference, &hypothesis, &region, collar_s);
        let Score { reference_s, missed_s, false_alarm_s, confusion_s, .. } = ours;
        for (ours, slow) in [reference_s, missed_s, false_alarm_s, confusion_s].iter().zip(parts) {
            prop_assert!((ours - slow).abs() < 1e-9, "{} against {}", ours, slow);
        }
        prop_assert!((ours.jer() - jer).abs() < 1e-9, "{} against {}", ours.jer(), jer);
    }
}
