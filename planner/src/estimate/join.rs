//! Estimates joins: how many pairs of rows match, and how many rows of each side have a match.

use datafusion::common::JoinType;
use datafusion::physical_plan::joins::JoinOnRef;

use crate::cost::{ANTI_JOIN_FRACTION_MIN, DENSE_KEY_FRACTION_MIN};
use crate::physical::column_index;
use crate::statistics::{ColumnValues, Estimate};

/// Estimates an equi-join of two inputs.
pub(super) fn estimate_join(
    mut left: Estimate,
    mut right: Estimate,
    on: JoinOnRef,
    join_type: JoinType,
) -> Estimate {
    let left_keys = left.column_values(on.iter().map(|(key, _)| column_index(key)));
    let right_keys = right.column_values(on.iter().map(|(_, key)| column_index(key)));
    // A key filter below has dropped only rows without a match, so it must not lower the matches a
    // second time.
    let passed_fraction: f64 = left_keys
        .iter()
        .chain(&right_keys)
        .filter_map(|key| key.key_filter_passed)
        .product();
    let key_values =
        shared_key_values((&left_keys, left.base_rows), (&right_keys, right.base_rows))
            * passed_fraction;
    let left_present = present_key_values(&left_keys, left.rows);
    let right_present = present_key_values(&right_keys, right.rows);
    let rows = join_rows(
        join_type,
        left.rows,
        right.rows,
        left.rows * right.rows / key_values,
        (right_present / key_values).min(1.0) * left.rows,
        (left_present / key_values).min(1.0) * right.rows,
    );
    let keeps_common_keys = matches!(
        join_type,
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi
    );
    let common = (keeps_common_keys && on.len() == 1).then(|| left_present.min(right_present));
    for (left_key, right_key) in on {
        for (side, index) in [
            (&mut left, column_index(left_key)),
            (&mut right, column_index(right_key)),
        ] {
            if let Some(key) = index.and_then(|index| side.columns.get_mut(index)) {
                key.key_filter_passed = None;
                key.distinct_joined = common.or(key.distinct_joined);
            }
        }
    }
    let (columns, base_rows) = join_columns(join_type, left, right);
    Estimate {
        rows: rows.max(1.0),
        base_rows: base_rows.max(1.0),
        columns,
    }
}

/// Estimates a join of two inputs whose pairs are found one by one, by a condition or without one.
pub(super) fn estimate_pairs(
    left: Estimate,
    right: Estimate,
    join_type: JoinType,
    matched_fraction: f64,
) -> Estimate {
    let rows = join_rows(
        join_type,
        left.rows,
        right.rows,
        left.rows * right.rows,
        left.rows * matched_fraction,
        right.rows * matched_fraction,
    );
    let (columns, base_rows) = join_columns(join_type, left, right);
    Estimate {
        rows: rows.max(1.0),
        base_rows: base_rows.max(rows).max(1.0),
        columns,
    }
}

/// Returns the rows of a join, given its inputs' rows, the matching pairs, and the rows of each
/// side that have a match.
fn join_rows(
    join_type: JoinType,
    left: f64,
    right: f64,
    pairs: f64,
    left_matched: f64,
    right_matched: f64,
) -> f64 {
    match join_type {
        JoinType::Inner => pairs,
        JoinType::Left => pairs.max(left),
        JoinType::Right => pairs.max(right),
        JoinType::Full => pairs.max(left).max(right),
        JoinType::LeftSemi => left_matched,
        JoinType::RightSemi => right_matched,
        JoinType::LeftAnti => (left - left_matched).max(left * ANTI_JOIN_FRACTION_MIN),
        JoinType::RightAnti => (right - right_matched).max(right * ANTI_JOIN_FRACTION_MIN),
        JoinType::LeftMark => left,
        JoinType::RightMark => right,
    }
}

/// Returns the columns of a join's output and their base rows.
fn join_columns(join_type: JoinType, left: Estimate, right: Estimate) -> (Vec<ColumnValues>, f64) {
    let add_mark_column = |side: Estimate| {
        let mut columns = side.columns;
        columns.push(ColumnValues::default());
        (columns, side.base_rows)
    };
    match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => (left.columns, left.base_rows),
        JoinType::RightSemi | JoinType::RightAnti => (right.columns, right.base_rows),
        JoinType::LeftMark => add_mark_column(left),
        JoinType::RightMark => add_mark_column(right),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            let columns = left.columns.into_iter().chain(right.columns).collect();
            (columns, left.base_rows.max(right.base_rows))
        }
    }
}

/// Returns an upper bound of the distinct key values among `rows` rows.
fn present_key_values(keys: &[ColumnValues], rows: f64) -> f64 {
    let [key] = keys else { return rows };
    key.distinct_joined
        .or(key.distinct)
        .map_or(rows, |values| values.min(rows))
}

/// Returns the distinct values of several columns together, at most `base_rows`; `None` if one of
/// them is unknown.
pub(super) fn distinct_values(columns: &[ColumnValues], base_rows: f64) -> Option<f64> {
    let product: Option<f64> = columns.iter().map(|values| values.distinct).product();
    product.map(|product| product.min(base_rows).max(1.0))
}

/// Returns the number of distinct values that the join keys of two inputs range over. Each input
/// comes with its base rows.
///
/// The matching pairs are the product of both inputs' rows divided by this number. Usually one of
/// the tables owns the key and the other refers to it. The owner is the side with fewer values,
/// unless those are spread so thinly over their range that they must be a selection from the other
/// side's.
pub(crate) fn shared_key_values(
    (left, left_rows): (&[ColumnValues], f64),
    (right, right_rows): (&[ColumnValues], f64),
) -> f64 {
    let left_values = distinct_values(left, left_rows);
    let right_values = distinct_values(right, right_rows);
    let (values_min, values_max, owner) = match (left_values, right_values) {
        (Some(l), Some(r)) if l <= r => (l, r, left),
        (Some(l), Some(r)) => (r, l, right),
        _ => return left_rows.min(right_rows).max(1.0),
    };
    let range = if let [key] = owner { key.range } else { None };
    let is_dense =
        range.is_none_or(|(low, high)| values_min >= (high - low + 1.0) * DENSE_KEY_FRACTION_MIN);
    if is_dense { values_min } else { values_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(distinct: f64, range: f64) -> Vec<ColumnValues> {
        vec![ColumnValues {
            distinct: Some(distinct),
            range: Some((1.0, range)),
            ..ColumnValues::default()
        }]
    }

    #[test]
    fn a_foreign_key_finds_its_row() {
        // Keys of orders fill a quarter of their range; there are four lines of each.
        let values = shared_key_values((&key(15e6, 60e6), 15e6), (&key(60e6, 60e6), 60e6));
        assert_eq!(15e6 * 60e6 / values, 60e6);
        // By two columns; the smaller side has each pair once.
        let two = |rows: f64| ([key(2e5, 2e5), key(1e5, 1e5)].concat(), rows);
        let ((left, left_rows), (right, right_rows)) = (two(8e6), two(60e6));
        assert_eq!(
            8e6 * 60e6 / shared_key_values((&left, left_rows), (&right, right_rows)),
            60e6
        );
    }

    #[test]
    fn a_join_by_a_condition_keeps_rows_as_its_type_does() {
        let rows = |join_type| {
            let side = |rows| Estimate::with_unknown_columns(rows, 1);
            let joined = estimate_pairs(side(1e3), side(10.0), join_type, 0.25);
            (joined.rows, joined.columns.len())
        };
        assert_eq!(rows(JoinType::Inner), (1e4, 2));
        assert_eq!(rows(JoinType::Left), (1e4, 2));
        assert_eq!(rows(JoinType::LeftSemi), (250.0, 1));
        assert_eq!(rows(JoinType::LeftAnti), (750.0, 1));
        assert_eq!(rows(JoinType::RightAnti), (7.5, 1));
        assert_eq!(rows(JoinType::LeftMark), (1e3, 2));
    }

    #[test]
    fn a_sparse_selection_of_keys_does_not_own_them() {
        // A thousand selected users of a million, and ten lines of each user.
        let values = shared_key_values((&key(1e3, 1e6), 1e3), (&key(1e6, 1e6), 1e7));
        assert_eq!(1e3 * 1e7 / values, 1e4);
    }

    #[test]
    fn the_smaller_table_owns_a_key_whose_values_are_unknown() {
        let unknown = vec![ColumnValues::default()];
        assert_eq!(shared_key_values((&unknown, 25.0), (&unknown, 1e5)), 25.0);
    }
}
