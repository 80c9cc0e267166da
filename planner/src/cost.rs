//! The numbers that planning decisions depend on, each with its unit and reason.
//!
//! Estimated row counts are often wrong by a factor of two, so most of these numbers only separate
//! clear cases. Costs are relative: 1 is the cost of looking up one row in a hash table.

// Relative costs of a row.

/// Cost of inserting a row into a hash table, relative to probing it: the row is copied, and the
/// table grows.
pub(crate) const HASH_BUILD_COST: f64 = 3.0;
/// Cost of moving a row to another task, relative to probing a hash table with it.
pub(crate) const SHUFFLE_COST: f64 = 2.0;
/// Cost of aggregating a row, relative to scanning a row for its key.
pub(crate) const AGGREGATE_COST: f64 = 4.0;

// Estimates where statistics are missing.

/// Rows of a leaf without statistics.
pub(crate) const UNKNOWN_ROWS: f64 = 1_000_000.0;
/// Bytes of a row in a file whose row count is unknown; the file's size divided by this is the
/// estimate.
pub(crate) const UNKNOWN_ROW_BYTES: f64 = 100.0;
/// Bytes in memory of a value of variable width: Arrow's 16-byte view and about as much text.
pub(crate) const VARIABLE_WIDTH_BYTES: usize = 32;
/// Groups of an aggregation as a fraction of its input rows, where the distinct values of the keys
/// are unknown.
pub(crate) const UNKNOWN_GROUPS_FRACTION: f64 = 0.1;
/// Lower bound of the fraction of rows that an anti join keeps, since "all rows match" is seldom
/// exact.
pub(crate) const ANTI_JOIN_FRACTION_MIN: f64 = 0.1;
/// A key whose distinct values fill at least this fraction of their range identifies the rows of
/// its own table. A sparser key is a selection from another table's keys.
pub(crate) const DENSE_KEY_FRACTION_MIN: f64 = 0.05;

/// Selectivity of an unknown predicate.
pub(crate) const UNKNOWN_SELECTIVITY: f64 = 0.33;
/// Selectivity of a comparison with an aggregate's result: `HAVING` usually looks for exceptional
/// groups.
pub(crate) const HAVING_SELECTIVITY: f64 = 0.02;
/// Selectivity of an equality where the number of distinct values is unknown.
pub(crate) const EQUALITY_SELECTIVITY: f64 = 0.1;
/// Selectivity of `LIKE`.
pub(crate) const LIKE_SELECTIVITY: f64 = 0.1;
/// Selectivity of `IS NULL`.
pub(crate) const IS_NULL_SELECTIVITY: f64 = 0.05;
/// Upper bound of the selectivity of an `IN` list, however long it is.
pub(crate) const IN_LIST_SELECTIVITY_MAX: f64 = 0.5;
/// Lower bound of any selectivity: no estimate is certain enough to rule out all rows.
pub(crate) const SELECTIVITY_MIN: f64 = 1e-6;

// Thresholds of the rules.

/// `build_side` changes a join only if the new cost is below this fraction of the present cost:
/// estimates are not more accurate.
pub(crate) const BUILD_SIDE_COST_FRACTION_MAX: f64 = 0.9;

/// `inner_join_first` applies only if at most this fraction of the preserved side remains:
/// otherwise the outer join might get as many rows, and wider ones.
pub(crate) const INNER_JOIN_FIRST_FRACTION_MAX: f64 = 0.5;

/// `join_order` replaces the written order only if the new cost is below this fraction of its cost.
/// Just above rounding error, so that equivalent queries get equal plans.
pub(crate) const JOIN_ORDER_COST_FRACTION_MAX: f64 = 0.99;
/// [`JOIN_ORDER_COST_FRACTION_MAX`] while the query runs, when rows may have been shuffled for the
/// present order already.
pub(crate) const JOIN_ORDER_COST_FRACTION_MAX_RUNNING: f64 = 0.8;
/// Up to this many relations, every join order is considered: 3^10 pairs of sets take a few
/// milliseconds.
pub(crate) const JOIN_ORDER_EXACT_RELATIONS_MAX: usize = 10;

/// `reduce_first` applies only if at most this fraction of the aggregate's input remains.
pub(crate) const REDUCE_FIRST_FRACTION_MAX: f64 = 0.5;

/// `keys_before_shuffle` applies only if at most this fraction of the large side remains.
pub(crate) const KEYS_BEFORE_SHUFFLE_FRACTION_MAX: f64 = 0.5;
/// `keys_before_shuffle` applies only if the large side has at least this many times the rows of
/// the small side.
pub(crate) const KEYS_BEFORE_SHUFFLE_RATIO_MIN: f64 = 5.0;

/// `key_filter` applies to a shuffled large side only if at most this fraction of it remains.
pub(crate) const KEY_FILTER_FRACTION_MAX_SHUFFLED: f64 = 0.6;
/// [`KEY_FILTER_FRACTION_MAX_SHUFFLED`] for a large side that is not shuffled: only probes are
/// saved, so more rows must be dropped.
pub(crate) const KEY_FILTER_FRACTION_MAX_UNSHUFFLED: f64 = 0.15;
/// A broadcast hash table with at most this many rows fits a core's cache, where a key filter is no
/// faster.
pub(crate) const CACHED_BUILD_ROWS_MAX: f64 = 32_768.0;
/// `key_filter` applies only if the large side has at least this many times the rows of the small
/// side.
pub(crate) const KEY_FILTER_RATIO_MIN: f64 = 2.0;
/// `key_filter` applies to a shuffled large side only from this fraction of the rows that may be
/// broadcast: below it, the shuffle takes no longer than the two stages that build the key set.
pub(crate) const KEY_FILTER_BROADCAST_FRACTION_MIN: f64 = 0.1;
/// Largest key set in bytes: every task that scans the large side receives a copy.
pub(crate) const KEY_SET_BYTES_MAX: u64 = 16 << 20;

// Key filters while they run.

/// Bits of a Bloom filter per expected key.
pub(crate) const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Hash functions of a Bloom filter. With [`BLOOM_BITS_PER_KEY`], about one in eighty absent keys
/// passes.
pub(crate) const BLOOM_HASHES: u32 = 4;
/// Rows after which a key filter decides whether it is worth its cost.
pub(crate) const KEY_FILTER_TRIAL_ROWS: usize = 64 * 1024;
/// A key filter stops testing rows if at least this fraction of the rows it has tested passed.
pub(crate) const KEY_FILTER_PASSED_FRACTION_MAX: f64 = 0.8;

// Tasks of a stage.

/// A task should read at least this many bytes, unless that would leave slots idle.
pub(crate) const TASK_INPUT_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// A stage that reads fewer bytes runs as one task.
pub(crate) const STAGE_INPUT_BYTES_MIN: u64 = 1024 * 1024;
/// A partition larger than this multiple of the target task size counts as skewed.
pub(crate) const SKEW_FACTOR: u64 = 3;

// Planning again while the query runs.

/// A stage's rows may deviate from the estimate by this factor without causing another planning.
pub(crate) const REPLAN_FACTOR: u64 = 2;
/// Row counts below the broadcast limit divided by this are all treated alike: every plan for them
/// is cheap.
pub(crate) const REPLAN_FEW_ROWS_DIVISOR: u64 = 100;
