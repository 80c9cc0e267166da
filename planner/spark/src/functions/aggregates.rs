//! Aggregate functions that DataFusion lacks, and aliases of those that it has.

mod approximate;
mod average;
mod bitmaps;
mod counts;
mod distinct;
mod extreme;
mod moments;
mod simple;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

use approximate::ApproxCountDistinct;
use average::Average;
use distinct::DistinctRows;

/// Other names of DataFusion's aggregates.
const ALIASES: [(&str, &[&str]); 4] = [
    ("bool_and", &["every"]),
    ("bool_or", &["any", "some"]),
    ("stddev", &["stddev_samp", "std"]),
    ("var", &["var_samp", "var_sample", "variance"]),
];

/// Registers the aggregates of Spark.
///
/// # Errors
/// If a function cannot be registered.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    for (name, aliases) in ALIASES {
        let aggregate = state.udaf(name)?;
        let aliased = aggregate
            .as_ref()
            .clone()
            .with_aliases(aliases.iter().copied());
        state.register_udaf(Arc::new(aliased))?;
        // The wrapper keeps only the aliases: optimizer rules recognize DataFusion's own type.
        state.register_udaf(aggregate)?;
    }
    state.register_udaf(Arc::new(AggregateUDF::from(Average::default())))?;
    for definition in definitions() {
        state.register_udaf(Arc::new(AggregateUDF::new_from_impl(SparkAggregate::new(
            definition,
        ))))?;
    }
    state.register_udaf(Arc::new(AggregateUDF::from(ApproxCountDistinct::default())))?;
    for (name, alias) in [("first_value", "first"), ("last_value", "last")] {
        let window = state.udwf(name)?;
        let aliased = window.as_ref().clone().with_aliases([alias]);
        state.register_udwf(Arc::new(aliased))?;
        state.register_udwf(window)?;
    }
    Ok(())
}

/// Returns the names of the aggregates of Spark that DataFusion lacks.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let aliases = ALIASES.iter().flat_map(|(_, aliases)| aliases.iter());
    let definitions = definitions().into_iter();
    let defined = definitions.flat_map(|aggregate| {
        let aliases = aggregate.aliases.iter();
        aliases
            .chain([&aggregate.name])
            .copied()
            .collect::<Vec<_>>()
    });
    aliases
        .copied()
        .chain(average::ALIASES)
        .chain(defined)
        .map(str::to_owned)
}

fn definitions() -> Vec<Aggregate> {
    [
        bitmaps::aggregates(),
        counts::aggregates(),
        extreme::aggregates(),
        moments::aggregates(),
        simple::aggregates(),
        super::json::aggregates(),
        super::sketches::aggregates(),
        super::vectors::aggregates(),
    ]
    .concat()
}

/// Aggregates with `WITHIN GROUP (ORDER BY x)`, whose first argument is then `x`.
const ORDERED_SETS: [&str; 3] = ["mode", "percentile_disc", "percentile_disc_cut"];

/// The clauses of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clauses {
    /// `IGNORE NULLS`.
    pub(crate) ignores_nulls: bool,
    /// `ORDER BY x`, in `WITHIN GROUP`.
    pub(crate) has_order: bool,
    /// `ORDER BY x DESC`, in `WITHIN GROUP`.
    pub(crate) is_descending: bool,
}

/// Creates the accumulator of a group from the types of the arguments and the clauses.
pub(crate) type Create = fn(&[DataType], Clauses) -> Result<Box<dyn Accumulator>>;

/// The definition of an aggregate function.
#[derive(Clone)]
pub(crate) struct Aggregate {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    /// Minimum and maximum number of arguments.
    pub(crate) arguments: (usize, usize),
    /// Returns the type of the result.
    pub(crate) returns: fn(&[DataType]) -> Result<DataType>,
    /// Returns the types to which the arguments are cast for the accumulator.
    pub(crate) coerce: fn(&[DataType]) -> Vec<DataType>,
    /// Returns the types of the state, in the order of [`Accumulator::state`].
    pub(crate) state: fn(&[DataType]) -> Vec<DataType>,
    pub(crate) create: Create,
}

struct SparkAggregate {
    aggregate: Aggregate,
    aliases: Vec<String>,
    signature: Signature,
}

impl SparkAggregate {
    fn new(aggregate: Aggregate) -> Self {
        Self {
            aliases: aggregate.aliases.iter().map(ToString::to_string).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
            aggregate,
        }
    }
}

impl fmt::Debug for SparkAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SparkAggregate({})", self.aggregate.name)
    }
}

impl PartialEq for SparkAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.aggregate.name == other.aggregate.name
    }
}

impl Eq for SparkAggregate {}

impl Hash for SparkAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.aggregate.name.hash(state);
    }
}

impl AggregateUDFImpl for SparkAggregate {
    fn name(&self) -> &str {
        self.aggregate.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (count_min, count_max) = self.aggregate.arguments;
        if !(count_min..=count_max).contains(&types.len()) {
            let name = self.aggregate.name;
            return plan_err!(
                "{name}: expected {count_min} to {count_max} arguments, got {}",
                types.len()
            );
        }
        Ok((self.aggregate.coerce)(types))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.aggregate.returns)(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let types: Vec<_> = args
            .expr_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let clauses = Clauses {
            ignores_nulls: args.ignore_nulls,
            has_order: !args.order_bys.is_empty(),
            is_descending: args
                .order_bys
                .first()
                .is_some_and(|order| order.options.descending),
        };
        let accumulator = (self.aggregate.create)(&types, clauses)?;
        match args.is_distinct {
            true => Ok(Box::new(DistinctRows::new(accumulator, types))),
            false => Ok(accumulator),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let types: Vec<_> = args
            .input_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let fields = match args.is_distinct {
            true => distinct::state_types(&types),
            false => (self.aggregate.state)(&types),
        };
        Ok(fields
            .into_iter()
            .enumerate()
            .map(|(index, data_type)| {
                Arc::new(Field::new(
                    format!("{}[{index}]", args.name),
                    data_type,
                    true,
                ))
            })
            .collect())
    }

    fn supports_null_handling_clause(&self) -> bool {
        true
    }

    fn supports_within_group_clause(&self) -> bool {
        ORDERED_SETS.contains(&self.aggregate.name)
    }
}
