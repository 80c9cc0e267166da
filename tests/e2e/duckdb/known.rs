//! Differences from DuckDB that are known: what the generator leaves out until each is fixed. A fix removes its entry.

/// A kind of difference; the generator asks before it uses what shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    BagSets,
    BinaryWindowOrder,
    ConstantNotIn,
    CorrelatedNotIn,
    DistinctPrecedence,
    ExistsOverAggregate,
    GroupingSetsOfConstants,
    MinMaxOfFloats,
    Nan,
    NegativeNan,
    NegativeZero,
    NullSafeJoin,
    OuterJoinFilter,
    Overflow,
    RetractedInfinity,
    ReversedWindow,
    TimeRange,
}

/// Each with what goes wrong.
const KNOWN: &[(Difference, &str)] = &[
    (
        Difference::BagSets,
        "EXCEPT ALL removes every copy of a row, and INTERSECT ALL keeps too many",
    ),
    (
        Difference::BinaryWindowOrder,
        "a window ordered by BYTEA fails with an internal error about range queries",
    ),
    (
        Difference::ConstantNotIn,
        "3 NOT IN (a subquery with a null) is true",
    ),
    (
        Difference::CorrelatedNotIn,
        "a correlated NOT IN loses the null of its subquery",
    ),
    (
        Difference::DistinctPrecedence,
        "a IS DISTINCT FROM b AND c is parsed as a IS DISTINCT FROM (b AND c)",
    ),
    (
        Difference::ExistsOverAggregate,
        "EXISTS (SELECT count(*) …) is false where no row matches",
    ),
    (
        Difference::GroupingSetsOfConstants,
        "a filter c = 1 below ROLLUP (c, d) makes c a constant, though totals have NULL: groups are split",
    ),
    (
        Difference::MinMaxOfFloats,
        "min and max by group start at the largest finite float, and depend on where NaN stands",
    ),
    (
        Difference::Nan,
        "filters skip files with NaN, and a file of one value and NaN is read as that value",
    ),
    (
        Difference::NegativeNan,
        "inf - inf is a NaN with a sign, which equals no other NaN and is smaller than all numbers",
    ),
    (
        Difference::NegativeZero,
        "-0.0 and 0.0 are two values in DISTINCT, GROUP BY, PARTITION BY, ORDER BY and IN",
    ),
    (
        Difference::NullSafeJoin,
        "IS NOT DISTINCT FROM beside = in one join: both keys get the null equality of one",
    ),
    (
        Difference::OuterJoinFilter,
        "a filter above a RIGHT or FULL JOIN is applied to the column of that name of the other side",
    ),
    (Difference::Overflow, "sums and products of BIGINT wrap"),
    (
        Difference::RetractedInfinity,
        "sum and avg over a sliding frame subtract what leaves it: inf - inf is NaN for the rest of the partition",
    ),
    (
        Difference::ReversedWindow,
        "lag beside a window of the opposite order is reversed to lead, and loses that on the way to an executor",
    ),
];

pub fn is_known(difference: Difference) -> bool {
    KNOWN.iter().any(|(known, _)| *known == difference)
}
