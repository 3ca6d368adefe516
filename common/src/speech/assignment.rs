//! The best one-to-one assignment of rows to columns.
//!
//! Invariant: `min(rows, columns)` pairs are chosen, no row and no column twice, and no other choice has a larger sum.
//! The answer depends on the matrix alone: ties are broken by the order in which rows are placed, never by chance.

/// Assigns rows to columns so that the sum of the chosen weights is largest; gives for each row its column.
///
/// `weights` is row-major, `[rows, columns]`. Every row gets a column when there are enough of them, else every column
/// gets a row: a weight of zero or less is chosen too where nothing better is left, and the caller drops the pairs it
/// does not want. Shortest augmenting paths with potentials (Kuhn 1955, Jonker and Volgenant 1987): with `s` the
/// shorter and `l` the longer side, O(s² · l) time and O(s · l) memory.
///
/// # Panics
/// When `weights` has another length than `rows * columns`, or a weight is not finite.
#[must_use]
pub fn maximise(weights: &[f64], rows: usize, columns: usize) -> Vec<Option<usize>> {
    assert_eq!(Some(weights.len()), rows.checked_mul(columns), "weights are [rows, columns]");
    assert!(weights.iter().all(|w| w.is_finite()), "weights are finite");
    if rows == 0 || columns == 0 {
        return vec![None; rows];
    }
    if rows <= columns {
        return shortest_paths(weights, rows, columns).into_iter().map(Some).collect();
    }
    let transposed: Vec<f64> =
        (0..columns).flat_map(|c| (0..rows).map(move |r| weights[r * columns + c])).collect();
    let mut columns_of = vec![None; rows];
    for (column, row) in shortest_paths(&transposed, columns, rows).into_iter().enumerate() {
        columns_of[row] = Some(column);
    }
    columns_of
}

/// The column of each row; `rows <= columns`, both positive.
fn shortest_paths(weights: &[f64], rows: usize, columns: usize) -> Vec<usize> {
    // Index 0 of the column arrays is a virtual column that holds the row being placed.
    let mut row_potential = vec![0.0; rows];
    let mut column_potential = vec![0.0; columns + 1];
    let mut row_of: Vec<Option<usize>> = vec![None; columns + 1];
    for row in 0..rows {
        let mut distance = vec![f64::INFINITY; columns + 1];
        let mut previous = vec![0; columns + 1];
        let mut done = vec![false; columns + 1];
        let mut at = 0;
        row_of[0] = Some(row);
        while let Some(here) = row_of[at] {
            done[at] = true;
            let (mut step, mut next) = (f64::INFINITY, 0);
            for column in (1..=columns).filter(|&c| !done[c]) {
                let cost =
                    -weights[here * columns + column - 1] - row_potential[here] - column_potential[column];
                if cost < distance[column] {
                    distance[column] = cost;
                    previous[column] = at;
                }
                if distance[column] < step {
                    step = distance[column];
                    next = column;
                }
            }
            for column in 0..=columns {
                match row_of[column] {
                    Some(placed) if done[column] => {
                        row_potential[placed] += step;
                        column_potential[column] -= step;
                    }
                    _ => distance[column] -= step,
                }
            }
            at = next;
        }
        while at != 0 {
            row_of[at] = row_of[previous[at]];
            at = previous[at];
        }
    }
    let mut column_of = vec![0; rows];
    for (column, row) in row_of.iter().enumerate().skip(1) {
        if let Some(row) = row {
            column_of[*row] = column - 1;
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(weights: &[f64], columns: usize, chosen: &[Option<usize>]) -> f64 {
        chosen.iter().enumerate().filter_map(|(r, c)| c.map(|c| weights[r * columns + c])).sum()
    }

    /// Textbook form: tries every assignment of `min(rows, columns)` pairs.
    fn best_by_trying(weights: &[f64], rows: usize, columns: usize, row: usize, used: &mut [bool]) -> f64 {
        if row == rows {
            let chosen = used.iter().filter(|u| **u).count();
            return if chosen == rows.min(columns) { 0.0 } else { f64::NEG_INFINITY };
        }
        let mut best = f64::NEG_INFINITY;
        if rows > columns {
            best = best_by_trying(weights, rows, columns, row + 1, used);
        }
        for column in 0..columns {
            if !used[column] {
                used[column] = true;
                let rest = best_by_trying(weights, rows, columns, row + 1, used);
                best = best.max(weights[row * columns + column] + rest);
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn small_cases() {
        assert_eq!(maximise(&[], 0, 3), vec![]);
        assert_eq!(maximise(&[], 2, 0), vec![None, None]);
        assert_eq!(maximise(&[1.0, 2.0, 2.0, 1.0], 2, 2), vec![Some(1), Some(0)]);
        // More rows than columns: the row that gains least stays alone.
        assert_eq!(maximise(&[5.0, 1.0, 9.0], 3, 1), vec![None, None, Some(0)]);
        // A greedy choice of 10 would force 0; 9 + 9 is better.
        assert_eq!(maximise(&[10.0, 9.0, 9.0, 0.0], 2, 2), vec![Some(1), Some(0)]);
    }

    #[test]
    fn ties_give_the_same_answer_each_time() {
        let first = maximise(&[1.0; 12], 3, 4);
        assert_eq!(first, vec![Some(0), Some(1), Some(2)]);
        assert_eq!(maximise(&[1.0; 12], 3, 4), first);
    }

    #[test]
    #[should_panic(expected = "weights are finite")]
    fn a_weight_that_is_no_number_is_refused() {
        let _ = maximise(&[f64::NAN], 1, 1);
    }

    proptest! {
        #[test]
        fn agrees_with_trying_everything(
            rows in 1_usize..6, columns in 1_usize..6,
            values in prop::collection::vec(-4_i32..9, 36),
        ) {
            let weights: Vec<f64> = values[..rows * columns].iter().map(|v| f64::from(*v) * 0.5).collect();
            let chosen = maximise(&weights, rows, columns);
            let mut seen = vec![false; columns];
            for column in chosen.iter().flatten() {
                prop_assert!(!std::mem::replace(&mut seen[*column], true));
            }
            prop_assert_eq!(chosen.iter().flatten().count(), rows.min(columns));
            let best = best_by_trying(&weights, rows, columns, 0, &mut vec![false; columns]);
            prop_assert!((sum(&weights, columns, &chosen) - best).abs() < 1e-9);
        }
    }
}
