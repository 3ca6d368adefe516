//! Variational Bayes over PLDA features: which speaker each one is, and how many speakers there are.
//!
//! Each speaker is a point with a Gaussian prior of variances `phi`, each feature that point plus unit noise; `Fa` and `Fb`
//! weigh the evidence and the prior against each other, so that speakers who are not needed starve. Landini et al.,
//! "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization" (2022), without the Markov chain: every
//! feature is drawn by itself, as community-1 does.

use common::model::manifest::VbxParameters;

/// Added to a speaker's prior inside its logarithm.
const PRIOR_FLOOR: f64 = 1e-8;

/// What is clustered.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// `[n, dimension]`, row-major.
    pub values: &'a [f64],
    /// Between-speaker variances, `[dimension]`.
    pub phi: &'a [f64],
    /// How many embeddings each feature stands for.
    pub sizes: &'a [f64],
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// Speakers, some of them with a prior of almost nothing.
    pub speakers: usize,
    /// Probability that feature `t` is speaker `k`: `[n, speakers]`, row-major.
    pub responsibilities: Vec<f64>,
    /// Share of each speaker.
    pub priors: Vec<f64>,
    /// The evidence bound after each iteration.
    pub bounds: Vec<f64>,
}

/// Starts at a partition (`labels`, dense) and iterates until the evidence bound rises no more.
///
/// O(n · speakers · dimension) time an iteration, O(n · (speakers + dimension)) memory.
///
/// # Panics
/// When a label is missing.
#[must_use]
pub fn run(features: Features<'_>, labels: &[usize], parameters: &VbxParameters) -> Posterior {
    let speakers = labels.iter().max().map_or(0, |l| l + 1);
    assert_eq!(labels.len(), features.sizes.len(), "a label for each feature");
    let mut state = State::new(features, labels, speakers, parameters.smoothing);
    let mut bounds: Vec<f64> = Vec::new();
    for _ in 0..parameters.iterations_max {
        let bound = state.step(features, parameters.fa, parameters.fb);
        let last = bounds.last().copied();
        bounds.push(bound);
        if last.is_some_and(|last| bound - last < parameters.gain_min) {
            break;
        }
    }
    Posterior { speakers, responsibilities: state.responsibilities, priors: state.priors, bounds }
}

struct State {
    speakers: usize,
    responsibilities: Vec<f64>,
    priors: Vec<f64>,
    /// Features scaled by the root of `phi`.
    scaled: Vec<f64>,
    /// Log-density of each feature under unit noise.
    noise: Vec<f64>,
}

impl State {
    fn new(features: Features<'_>, labels: &[usize], speakers: usize, smoothing: f64) -> Self {
        let d = features.phi.len();
        // The softmax of `smoothing` for the own cluster and 0 for every other.
        let total = smoothing.exp() + speakers as f64 - 1.0;
        let mut responsibilities = vec![1.0 / total; labels.len() * speakers];
        for (row, label) in responsibilities.chunks_exact_mut(speakers.max(1)).zip(labels) {
            row[*label] = smoothing.exp() / total;
        }
        let roots: Vec<f64> = features.phi.iter().map(|phi| phi.sqrt()).collect();
        let rows = || features.values.chunks_exact(d);
        Self {
            speakers,
            responsibilities,
            priors: vec![1.0 / speakers.max(1) as f64; speakers],
            scaled: rows().flat_map(|x| x.iter().zip(&roots).map(|(x, root)| x * root)).collect(),
            noise: rows().map(|x| -0.5 * (inner(x, x) + d as f64 * std::f64::consts::TAU.ln())).collect(),
        }
    }

    /// One iteration: speakers from responsibilities, responsibilities from speakers. Gives the evidence bound.
    fn step(&mut self, features: Features<'_>, fa: f64, fb: f64) -> f64 {
        let (d, k) = (features.phi.len(), self.speakers);
        let mut counts = vec![0.0; k];
        let mut sums = vec![0.0; k * d];
        let rows = self.responsibilities.chunks_exact(k).zip(self.scaled.chunks_exact(d));
        for ((row, x), size) in rows.zip(features.sizes) {
            for ((count, sum), share) in counts.iter_mut().zip(sums.chunks_exact_mut(d)).zip(row) {
                let share = share * size;
                *count += share;
                sum.iter_mut().zip(x).for_each(|(s, x)| *s += share * x);
            }
        }
        // Posterior of each speaker's point: precision⁻¹ and mean.
        let spread: Vec<f64> = counts
            .iter()
            .flat_map(|count| features.phi.iter().map(move |phi| 1.0 / (1.0 + fa / fb * count * phi)))
            .collect();
        let means: Vec<f64> = sums.iter().zip(&spread).map(|(s, v)| fa / fb * v * s).collect();
        let penalty: Vec<f64> = (0..k)
            .map(|s| {
                let row = s * d..(s + 1) * d;
                let parts = spread[row.clone()].iter().zip(&means[row]).zip(features.phi);
                0.5 * parts.map(|((v, a), phi)| (v + a * a) * phi).sum::<f64>()
            })
            .collect();
        let logs: Vec<f64> = self.priors.iter().map(|p| (p + PRIOR_FLOOR).ln()).collect();
        let (mut evidence, mut total) = (0.0, 0.0);
        let mut priors = vec![0.0; k];
        let rows = self.responsibilities.chunks_exact_mut(k).zip(self.scaled.chunks_exact(d));
        for (((row, x), noise), size) in rows.zip(&self.noise).zip(features.sizes) {
            for (s, slot) in row.iter_mut().enumerate() {
                let fit = inner(x, &means[s * d..(s + 1) * d]);
                *slot = fa * (fit - penalty[s] + noise) + logs[s];
            }
            let sum = log_sum_exp(row);
            row.iter_mut().for_each(|slot| *slot = (*slot - sum).exp());
            priors.iter_mut().zip(&*row).for_each(|(p, share)| *p += size * share);
            evidence += size * sum;
            total += size;
        }
        self.priors = priors.into_iter().map(|p| p / total).collect();
        let divergence: f64 = spread.iter().zip(&means).map(|(v, a)| v.ln() - v - a * a + 1.0).sum();
        evidence + fb * 0.5 * divergence
    }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + values.iter().map(|v| (v - most).exp()).sum::<f64>().ln()
}

/// The dot product, in eight partial sums that the compiler can vectorise.
fn inner(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in left.zip(right) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn community1() -> VbxParameters {
        VbxParameters {
            plda_file: "plda.safetensors".into(),
            threshold: 0.6,
            fa: 0.07,
            fb: 0.8,
            smoothing: 7.0,
            iterations_max: 20,
            gain_min: 1e-4,
            prior_min: 1e-7,
            clean_share_min: 0.2,
            kmeans_starts: 3,
            exact_max: 4_000,
        }
    }

    /// Features of `n` around `speakers` points far apart.
    fn features(n: usize, speakers: usize, d: usize) -> Vec<f64> {
        let mut state = 3u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 3.0
        };
        (0..n * d).map(|i| noise() + if i % d == (i / d) % speakers { 12.0 } else { 0.0 }).collect()
    }

    /// One iteration, formula by formula, one number at a time.
    fn textbook(x: &[f64], phi: &[f64], gamma: &mut [Vec<f64>], pi: &mut [f64], fa: f64, fb: f64) -> f64 {
        let (d, k) = (phi.len(), pi.len());
        let n = x.len() / d;
        let mut alpha = vec![vec![0.0; d]; k];
        let mut inverse = vec![vec![0.0; d]; k];
        for s in 0..k {
            let count: f64 = (0..n).map(|t| gamma[t][s]).sum();
            for i in 0..d {
                inverse[s][i] = 1.0 / (1.0 + fa / fb * count * phi[i]);
                let sum: f64 = (0..n).map(|t| gamma[t][s] * x[t * d + i] * phi[i].sqrt()).sum();
                alpha[s][i] = fa / fb * inverse[s][i] * sum;
            }
        }
        let mut bound = 0.0;
        for t in 0..n {
            let square: f64 = (0..d).map(|i| x[t * d + i].powi(2)).sum();
            let g = -0.5 * (square + d as f64 * (2.0 * std::f64::consts::PI).ln());
            let lp: Vec<f64> = (0..k)
                .map(|s| {
                    let fit: f64 = (0..d).map(|i| x[t * d + i] * phi[i].sqrt() * alpha[s][i]).sum();
                    let cost: f64 = (0..d).map(|i| (inverse[s][i] + alpha[s][i].powi(2)) * phi[i]).sum();
                    fa * (fit - 0.5 * cost + g) + (pi[s] + 1e-8).ln()
                })
                .collect();
            let sum = lp.iter().map(|v| v.exp()).sum::<f64>().ln();
            gamma[t] = lp.iter().map(|v| (v - sum).exp()).collect();
            bound += sum;
        }
        (0..k).for_each(|s| pi[s] = (0..n).map(|t| gamma[t][s]).sum::<f64>() / n as f64);
        for s in 0..k {
            for i in 0..d {
                bound += fb * 0.5 * (inverse[s][i].ln() - inverse[s][i] - alpha[s][i].powi(2) + 1.0);
            }
        }
        bound
    }

    #[test]
    fn iterations_are_those_of_the_textbook() {
        let (n, d) = (40, 11);
        let x = features(n, 3, d);
        let phi: Vec<f64> = (0..d).map(|i| 4.0 / (1.0 + i as f64)).collect();
        let labels: Vec<usize> = (0..n).map(|t| t % 5).collect();
        let parameters = community1();
        let found = run(Features { values: &x, phi: &phi, sizes: &vec![1.0; n] }, &labels, &parameters);
        let mut gamma: Vec<Vec<f64>> = labels
            .iter()
            .map(|label| {
                let sum: f64 = (0..5).map(|k| if k == *label { 7f64.exp() } else { 1.0 }).sum();
                (0..5).map(|k| if k == *label { 7f64.exp() } else { 1.0 } / sum).collect()
            })
            .collect();
        let mut pi = vec![0.2; 5];
        for (i, bound) in found.bounds.iter().enumerate() {
            let slow = textbook(&x, &phi, &mut gamma, &mut pi, 0.07, 0.8);
            assert!((bound - slow).abs() < 1e-8, "iteration {i}: {bound} and {slow}");
        }
        for (fast, slow) in found.responsibilities.iter().zip(gamma.concat()) {
            assert!((fast - slow).abs() < 1e-10);
        }
        assert!(found.priors.iter().zip(&pi).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn a_feature_of_size_three_is_three_features() {
        let d = 6;
        let x = features(12, 2, d);
        let phi = [3.0, 2.0, 1.0, 0.5, 0.2, 0.1];
        let labels: Vec<usize> = (0..12).map(|t| t % 3).collect();
        let sized = run(Features { values: &x, phi: &phi, sizes: &[3.0; 12] }, &labels, &community1());
        let (three, names) = (x.repeat(3), labels.repeat(3));
        let flat = run(Features { values: &three, phi: &phi, sizes: &[1.0; 36] }, &names, &community1());
        assert_eq!(sized.bounds.len(), flat.bounds.len());
        assert!(sized.bounds.iter().zip(&flat.bounds).all(|(a, b)| (a - b).abs() < 1e-8));
        assert!(sized.priors.iter().zip(&flat.priors).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn speakers_who_are_not_needed_starve() {
        let (n, d) = (90, 16);
        let x = features(n, 3, d);
        // Nine clusters, three of each voice.
        let labels: Vec<usize> = (0..n).map(|t| t % 9).collect();
        let found =
            run(Features { values: &x, phi: &[8.0; 16], sizes: &vec![1.0; n] }, &labels, &community1());
        let alive = found.priors.iter().filter(|p| **p > 1e-3).count();
        assert_eq!(alive, 3, "{:?}", found.priors);
        assert!(found.bounds.windows(2).all(|pair| pair[1] > pair[0] - 1e-6), "the bound rises");
    }
}
