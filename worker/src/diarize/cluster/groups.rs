//! What clustering works on: embeddings of local speakers, or, of a long recording, groups of similar ones.
//!
//! Up to a bound each embedding is a group of its own, and clustering is exact. Above it, the recording is cut into
//! stretches of half the bound, and in each the most similar embeddings are linked until it has its share of the bound. A
//! group then stands for its members by their mean, with their number as its weight. What is lost: members of a group
//! cannot part any more. At a bound of 4,000 a stretch of half an hour keeps 80 groups in a day of speech, and 700 in three
//! hours.

use std::ops::Range;

use super::dendrogram::Dendrogram;
use crate::diarize::local_embeddings::LocalEmbeddings;

/// Stretches are not made shorter than this, so that every level of grouping makes progress.
const STRETCH_MIN: usize = 32;

/// Groups of embeddings, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// Means of the members at unit length, `[groups, dimension]`.
    pub units: Vec<f64>,
    /// Means of the members as they are, `[groups, dimension]`.
    pub means: Vec<f64>,
    /// Numbers of members.
    pub sizes: Vec<f64>,
    dimension: usize,
}

impl Groups {
    /// Groups of the embeddings `members` of `locals`, at most `exact_max` of them.
    #[must_use]
    pub fn of(locals: &LocalEmbeddings, members: &[usize], exact_max: usize) -> Self {
        if members.len() <= exact_max {
            return Self::single(locals, members);
        }
        let stretches = stretches(members.len(), exact_max);
        let share = (exact_max / stretches.len()).max(1);
        let mut groups = Self::empty(locals.dimension());
        for stretch in stretches {
            groups.append(Self::single(locals, &members[stretch]).linked(share));
        }
        // A bound that is small against the recording takes several levels.
        while groups.len() > exact_max {
            let stretches = self::stretches(groups.len(), exact_max);
            let share = (exact_max / stretches.len()).max(1);
            let mut next = Self::empty(groups.dimension);
            for stretch in stretches {
                next.append(groups.slice(stretch).linked(share));
            }
            groups = next;
        }
        groups
    }

    fn empty(dimension: usize) -> Self {
        Self { units: Vec::new(), means: Vec::new(), sizes: Vec::new(), dimension }
    }

    fn single(locals: &LocalEmbeddings, members: &[usize]) -> Self {
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
        Self {
            units: members.iter().flat_map(|m| wide(&locals.unit(*m))).collect(),
            means: members.iter().flat_map(|m| wide(locals.get(*m))).collect(),
            sizes: vec![1.0; members.len()],
            dimension: locals.dimension(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Length of an embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The tree of centroid linkage over the unit-length means.
    #[must_use]
    pub fn tree(&self) -> Dendrogram {
        Dendrogram::of_centroids(&self.units, self.dimension, &self.sizes)
    }

    /// The means of `rows` (one of [`Groups::units`], [`Groups::means`]) of each cluster, weighted by `shares`:
    /// `[groups, clusters]`, times the sizes.
    #[must_use]
    pub fn weighted_means(&self, rows: &[f64], shares: &[f64], clusters: usize) -> Vec<Vec<f64>> {
        let mut sums = vec![vec![0.0; self.dimension]; clusters];
        let mut totals = vec![0.0; clusters];
        let rows = rows.chunks_exact(self.dimension).zip(shares.chunks_exact(clusters.max(1)));
        for ((row, shares), size) in rows.zip(&self.sizes) {
            for (cluster, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                totals[cluster] += size * share;
                sums[cluster].iter_mut().zip(row).for_each(|(s, v)| *s += size * share * v);
            }
        }
        for (sum, total) in sums.iter_mut().zip(totals) {
            sum.iter_mut().for_each(|s| *s /= total.max(f64::MIN_POSITIVE));
        }
        sums
    }

    /// The means of `rows` of the groups with each label.
    #[must_use]
    pub fn means_by_label(&self, rows: &[f64], labels: &[usize]) -> Vec<Vec<f64>> {
        let clusters = labels.iter().max().map_or(0, |l| l + 1);
        let mut shares = vec![0.0; labels.len() * clusters];
        labels.iter().enumerate().for_each(|(group, label)| shares[group * clusters + label] = 1.0);
        self.weighted_means(rows, &shares, clusters)
    }

    /// At most `most` groups: the nearest ones are linked until there are that many.
    fn linked(&self, most: usize) -> Self {
        let labels = self.tree().cut_after(self.len().saturating_sub(most));
        let clusters = labels.iter().max().map_or(0, |l| l + 1);
        let mut sizes = vec![0.0; clusters];
        labels.iter().zip(&self.sizes).for_each(|(label, size)| sizes[*label] += size);
        Self {
            units: self.means_by_label(&self.units, &labels).concat(),
            means: self.means_by_label(&self.means, &labels).concat(),
            sizes,
            dimension: self.dimension,
        }
    }

    fn slice(&self, range: Range<usize>) -> Self {
        let values = range.start * self.dimension..range.end * self.dimension;
        Self {
            units: self.units[values.clone()].to_vec(),
            means: self.means[values].to_vec(),
            sizes: self.sizes[range].to_vec(),
            dimension: self.dimension,
        }
    }

    fn append(&mut self, other: Self) {
        self.units.extend(other.units);
        self.means.extend(other.means);
        self.sizes.extend(other.sizes);
    }
}

/// Even stretches of `n` things, of at most half of `exact_max` each.
fn stretches(n: usize, exact_max: usize) -> Vec<Range<usize>> {
    let count = n.div_ceil((exact_max / 2).max(STRETCH_MIN));
    (0..count).map(|i| i * n / count..(i + 1) * n / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` embeddings of length 2 that take turns between `voices` directions.
    fn locals(n: usize, voices: usize) -> LocalEmbeddings {
        let mut locals = LocalEmbeddings::new(2);
        for i in 0..n {
            let angle = (i % voices) as f32 * 1.2 + (i * 7919 % 101) as f32 * 1e-4;
            locals.push(i, 0, &[2.0 * angle.cos(), 2.0 * angle.sin()]);
        }
        locals
    }

    fn total(groups: &Groups) -> f64 {
        groups.sizes.iter().sum()
    }

    #[test]
    fn up_to_the_bound_each_embedding_is_a_group() {
        let locals = locals(100, 3);
        let members: Vec<usize> = (0..100).collect();
        let groups = Groups::of(&locals, &members, 100);
        assert_eq!((groups.len(), total(&groups)), (100, 100.0));
        assert!((groups.units[0] - 1.0).abs() < 1e-6 && (groups.means[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn above_it_similar_ones_are_joined_and_nobody_is_lost() {
        let locals = locals(101, 3);
        let members: Vec<usize> = (0..101).collect();
        let groups = Groups::of(&locals, &members, 100);
        // Three stretches with a third of the bound each.
        assert_eq!((groups.len(), total(&groups)), (99, 101.0));
        let exact: f64 = members.iter().map(|m| f64::from(locals.get(*m)[0])).sum();
        let grouped: f64 = groups.means.iter().step_by(2).zip(&groups.sizes).map(|(m, s)| m * s).sum();
        assert!((exact - grouped).abs() < 1e-9);
    }

    #[test]
    fn there_are_never_more_than_the_bound() {
        let locals = locals(3_000, 1_500);
        let members: Vec<usize> = (0..3_000).collect();
        for exact_max in [64, 65, 200, 2_999] {
            let groups = Groups::of(&locals, &members, exact_max);
            assert!(groups.len() <= exact_max, "{} of {exact_max}", groups.len());
            assert_eq!(total(&groups), 3_000.0);
        }
    }
}
