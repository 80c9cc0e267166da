//! Differences from DuckDB that are known: what the generator leaves out until each is fixed. A fix
//! removes its entry.

/// A kind of difference; the generator asks before it uses what shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    NegativeNan,
    NegativeZero,
    TimeRange,
}

/// Each with what goes wrong.
const KNOWN: &[(Difference, &str)] = &[
    (
        Difference::NegativeNan,
        "inf - inf is a NaN with a sign, which equals no other NaN and is smaller than all numbers",
    ),
    (
        Difference::NegativeZero,
        "-0.0 and 0.0 are two values in DISTINCT, GROUP BY, PARTITION BY, ORDER BY and IN",
    ),
];

pub fn is_known(difference: Difference) -> bool {
    KNOWN.iter().any(|(known, _)| *known == difference)
}
