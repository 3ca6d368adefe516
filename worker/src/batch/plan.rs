//! Batch formation, pure: from what waits to the next batch.
//!
//! Oldest first. A batch holds rows of one kind and one length only (features are never padded: a padded row does not
//! give the numbers of the row alone) and mixes requests freely, so that small jobs share batches.

use std::ops::Range;

/// Which network a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// Chunk in, class scores out.
    Segmentation,
    /// Window in, embedding out.
    Embedding,
    /// Chunk and weights in, an embedding for each local speaker out.
    Locals,
    /// Features in, trunk output out.
    Trunk,
    /// Trunk output and weights in, an embedding for each local speaker out.
    Pooling,
}

impl Network {
    /// Every network, in the order of the variants.
    pub const ALL: [Self; 5] =
        [Self::Segmentation, Self::Embedding, Self::Locals, Self::Trunk, Self::Pooling];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation",
            Self::Embedding => "embedding",
            Self::Locals => "locals",
            Self::Trunk => "trunk",
            Self::Pooling => "pooling",
        }
    }
}

/// What rows must share to be run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Which network.
    pub network: Network,
    /// Samples in each row.
    pub samples: usize,
}

/// The rows of one request that have not been planned yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Common shape of its rows.
    pub shape: Shape,
    /// Rows still to plan, as indices into the request.
    pub rows: Range<usize>,
}

/// A piece of a batch: rows of the request at `index` of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Position in the queue that was planned.
    pub index: usize,
    /// Rows of that request.
    pub rows: Range<usize>,
}

/// Bounds of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most rows in one batch of the segmentation network.
    pub segmentation_rows_max: usize,
    /// Most rows in one batch of the embedding network, of its trunk or of its pooling.
    pub embedding_rows_max: usize,
    /// Rows that a batch is never made smaller than when memory runs out; fewer go in only where fewer wait.
    pub rows_min: usize,
    /// Engines that share the queue. When less waits than would fill them all, each takes an equal share, so that one
    /// short recording does not run on a single core.
    pub lanes: usize,
}

impl Limits {
    /// Most rows in one batch of this network.
    #[must_use]
    pub const fn rows_max(&self, network: Network) -> usize {
        match network {
            Network::Segmentation => self.segmentation_rows_max,
            Network::Embedding | Network::Locals | Network::Trunk | Network::Pooling => {
                self.embedding_rows_max
            }
        }
    }
}

/// The next batch for a queue, oldest request first; `None` when nothing waits.
#[must_use]
pub fn next_batch(queue: &[Waiting], limits: Limits) -> Option<(Shape, Vec<Part>)> {
    let shape = queue.iter().find(|w| !w.rows.is_empty())?.shape;
    let rows_max = limits.rows_max(shape.network);
    let same = || queue.iter().enumerate().filter(|(_, w)| w.shape == shape && !w.rows.is_empty());
    let waiting: usize = same().map(|(_, w)| w.rows.len()).sum();
    let mut room = waiting.div_ceil(limits.lanes.max(1)).min(rows_max.max(1));
    let mut parts = Vec::new();
    for (index, request) in same() {
        let take = request.rows.len().min(room);
        parts.push(Part { index, rows: request.rows.start..request.rows.start + take });
        room -= take;
        if room == 0 {
            break;
        }
    }
    Some((shape, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Shape = Shape { network: Network::Segmentation, samples: 160_000 };
    const SHORT: Shape = Shape { network: Network::Segmentation, samples: 90_000 };
    const WINDOW: Shape = Shape { network: Network::Embedding, samples: 24_000 };

    fn waiting(shape: Shape, rows: Range<usize>) -> Waiting {
        Waiting { shape, rows }
    }

    fn limits(lanes: usize) -> Limits {
        Limits { segmentation_rows_max: 16, embedding_rows_max: 8, rows_min: 1, lanes }
    }

    #[test]
    fn nothing_waits() {
        assert_eq!(next_batch(&[], limits(2)), None);
        assert_eq!(next_batch(&[waiting(LONG, 3..3)], limits(2)), None);
    }

    #[test]
    fn oldest_shape_first_and_requests_are_mixed() {
        let queue = [waiting(WINDOW, 2..5), waiting(LONG, 0..4), waiting(WINDOW, 0..9)];
        let (shape, parts) = next_batch(&queue, limits(1)).expect("rows wait");
        assert_eq!(shape, WINDOW);
        assert_eq!(parts, [Part { index: 0, rows: 2..5 }, Part { index: 2, rows: 0..5 }]);
    }

    #[test]
    fn lengths_never_mix() {
        let queue = [waiting(LONG, 0..2), waiting(SHORT, 0..1)];
        let (_, parts) = next_batch(&queue, limits(1)).expect("rows wait");
        assert_eq!(parts, [Part { index: 0, rows: 0..2 }]);
    }

    #[test]
    fn a_small_queue_is_shared_among_lanes() {
        let (_, parts) = next_batch(&[waiting(LONG, 0..9)], limits(2)).expect("rows wait");
        assert_eq!(parts, [Part { index: 0, rows: 0..5 }]);
        let (_, parts) = next_batch(&[waiting(LONG, 5..9)], limits(2)).expect("rows wait");
        assert_eq!(parts, [Part { index: 0, rows: 5..7 }]);
    }

    #[test]
    fn every_row_is_planned_exactly_once() {
        let mut queue =
            vec![waiting(LONG, 0..37), waiting(WINDOW, 0..21), waiting(LONG, 0..1), waiting(SHORT, 0..3)];
        let mut seen = vec![vec![0; 40]; queue.len()];
        while let Some((shape, parts)) = next_batch(&queue, limits(3)) {
            for part in parts {
                assert_eq!(queue[part.index].shape, shape);
                part.rows.clone().for_each(|row| seen[part.index][row] += 1);
                queue[part.index].rows.start = part.rows.end;
            }
        }
        let counts: Vec<usize> = seen.iter().map(|s| s.iter().filter(|n| **n == 1).count()).collect();
        assert_eq!(counts, [37, 21, 1, 3]);
        assert!(seen.iter().flatten().all(|n| *n <= 1));
    }
}
