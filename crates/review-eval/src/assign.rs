//! The assignment of the greatest sum, which matches originals with consolidated findings.

/// Assigns rows to columns, each at most once, so that the sum of the weights is the greatest. A weight of 0 or less
/// is no edge. The Hungarian method with potentials, O(n³); there are a few dozen rows at most.
pub(super) fn assign(weights: &[Vec<f64>], columns: usize) -> Vec<Option<usize>> {
    let rows = weights.len();
    let size = rows.max(columns);
    if rows == 0 || columns == 0 {
        return vec![None; rows];
    }
    // Costs, in a square padded with zeros: row and column 0 are the method's own.
    let cost = |row: usize, column: usize| -> f64 {
        let weight = weights
            .get(row - 1)
            .and_then(|r| r.get(column - 1))
            .copied()
            .unwrap_or(0.0);
        -weight.max(0.0)
    };
    let mut of_row = vec![0.0; size + 1];
    let mut of_column = vec![0.0; size + 1];
    let mut row_at = vec![0usize; size + 1];
    for row in 1..=size {
        row_at[0] = row;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; size + 1];
        let mut before = vec![0usize; size + 1];
        let mut used = vec![false; size + 1];
        loop {
            used[column] = true;
            let current = row_at[column];
            let (mut delta, mut next) = (f64::INFINITY, 0);
            for j in 1..=size {
                if used[j] {
                    continue;
                }
                let reduced = cost(current, j) - of_row[current] - of_column[j];
                if reduced < least[j] {
                    least[j] = reduced;
                    before[j] = column;
                }
                if least[j] < delta {
                    delta = least[j];
                    next = j;
                }
            }
            for j in 0..=size {
                if used[j] {
                    of_row[row_at[j]] += delta;
                    of_column[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            column = next;
            if row_at[column] == 0 {
                break;
            }
        }
        while column != 0 {
            let previous = before[column];
            row_at[column] = row_at[previous];
            column = previous;
        }
    }
    let mut result = vec![None; rows];
    for (column, row) in row_at.iter().copied().enumerate().take(columns + 1).skip(1) {
        if (1..=rows).contains(&row) && weights[row - 1].get(column - 1).is_some_and(|w| *w > 0.0) {
            result[row - 1] = Some(column - 1);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greatest_sum_beats_the_best_single_pair() {
        // A greedy choice would take 0.9 first and then only 0.0.
        let weights = vec![vec![0.9, 0.8], vec![0.7, 0.0]];
        assert_eq!(assign(&weights, 2), [Some(1), Some(0)]);
    }

    #[test]
    fn rows_without_an_edge_stay_unassigned() {
        let weights = vec![vec![0.0, 0.5, 0.0], vec![0.0, 0.4, 0.0]];
        assert_eq!(assign(&weights, 3), [Some(1), None]);
        assert_eq!(assign(&[], 3), []);
        assert_eq!(assign(&[vec![]], 0), [None]);
        let tall = vec![vec![0.1], vec![0.3], vec![0.2]];
        assert_eq!(assign(&tall, 1), [None, Some(0), None]);
    }
}
