//! Defines, plans and calls scalar functions.
//!
//! ```text
//!  arguments ──► coerce: arity, kinds ──► convert: one Arrow type for each kind ──► body(&Call)
//!  (any type)     (plan time)              (ANSI casts, session time zone)          columns → column
//! ```

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int32Array, Int64Array, ListArray,
    MapArray, PrimitiveArray, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use datafusion::common::config::ConfigExtension;
use datafusion::common::{Result, ScalarValue, exec_err, extensions_options, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::convert::{self, Zone};
use super::math::{MersenneTwister, XorShift};
use super::types::instant_type;

/// The kind of a parameter: which arguments it accepts, and the one type the function's body sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param {
    /// Any type, unchanged.
    Any,
    /// `Utf8`; numbers, dates and so on become text as Spark's casts write them.
    Text,
    /// `Binary`; text becomes its UTF-8 bytes.
    Binary,
    /// `Binary` stays, everything else becomes `Utf8`.
    Bytes,
    /// `Boolean`.
    Boolean,
    /// `Int32`; `BIGINT` is accepted, and fails beyond the range.
    Int,
    /// `Int64`.
    Long,
    /// `Float64`.
    Double,
    /// Any numeric type, unchanged; text becomes `Float64`.
    Number,
    /// `Date32`; a timestamp gives its day in the session's time zone.
    Date,
    /// Microseconds since 1970 in UTC; a value without zone is a wall clock of the session's zone.
    Instant,
    /// Microseconds of the wall clock of the session's zone.
    Wall,
    /// `List`.
    List,
    /// `Map`.
    Map,
}

/// A call whose result type is determined.
pub(crate) struct CallSite<'a> {
    pub(crate) name: &'a str,
    pub(crate) types: &'a [DataType],
    /// The arguments that are literals.
    pub(crate) literals: &'a [Option<&'a ScalarValue>],
}

impl CallSite<'_> {
    /// Returns the text of a literal argument.
    pub(crate) fn literal_text(&self, argument: usize) -> Option<&str> {
        self.literals
            .get(argument)
            .copied()
            .flatten()
            .and_then(|value| value.try_as_str().flatten())
    }
}

/// What a function does with arguments that have no result, such as a text that is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInvalid {
    /// The query fails, as in ANSI mode.
    Fail,
    /// The result is null, as in the functions named `try_`.
    Null,
}

/// The type of a function's result.
#[derive(Clone)]
pub(crate) enum Returns {
    /// Always this type.
    Type(DataType),
    /// `TIMESTAMP`.
    Instant,
    /// The type of an argument.
    Argument(usize),
    /// Computed from the arguments.
    Computed(fn(&CallSite) -> Result<DataType>),
}

/// Computes the common types of arguments, for functions whose arguments depend on each other.
pub(crate) type Unify = fn(&[DataType]) -> Result<Vec<DataType>>;

/// Replaces a call by another expression.
pub(crate) type Simplify = fn(Vec<Expr>, &SimplifyContext) -> Result<ExprSimplifyResult>;

/// The definition of a scalar function.
#[derive(Clone)]
pub(crate) struct Function {
    name: &'static str,
    aliases: &'static [&'static str],
    params: &'static [Param],
    optional: usize,
    is_variadic: bool,
    returns: Returns,
    unify: Option<Unify>,
    volatility: Volatility,
    simplify: Option<Simplify>,
    is_sequence: bool,
    body: fn(&Call) -> Result<ArrayRef>,
}

impl Function {
    /// Defines a function with these parameters; a call must have all of them.
    pub(crate) fn new(
        name: &'static str,
        params: &'static [Param],
        returns: Returns,
        body: fn(&Call) -> Result<ArrayRef>,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            params,
            optional: 0,
            is_variadic: false,
            returns,
            unify: None,
            volatility: Volatility::Immutable,
            simplify: None,
            is_sequence: false,
            body,
        }
    }

    /// Gives the function other names.
    pub(crate) fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Makes the last parameters optional.
    pub(crate) fn optional(mut self, count: usize) -> Self {
        self.optional = count;
        self
    }

    /// Lets the last parameter occur any number of times, or never.
    pub(crate) fn variadic(mut self) -> Self {
        self.is_variadic = true;
        self
    }

    /// Converts arguments to types that depend on each other.
    pub(crate) fn unify(mut self, unify: Unify) -> Self {
        self.unify = Some(unify);
        self
    }

    /// Marks the function as volatile: it returns another value each time.
    pub(crate) fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// Marks the function as a random sequence, which continues from batch to batch of a task; see
    /// [`Call::draw`].
    pub(crate) fn sequence(mut self) -> Self {
        self.is_sequence = true;
        self.volatile()
    }

    /// Returns whether the function is a random sequence.
    pub(crate) fn is_sequence(&self) -> bool {
        self.is_sequence
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Marks the function as stable: it returns one value in each query, which may differ between
    /// queries.
    pub(crate) fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    /// Replaces calls by another expression of the same type before they are executed.
    pub(crate) fn simplify(mut self, simplify: Simplify) -> Self {
        self.simplify = Some(simplify);
        self
    }

    /// Returns the name and the other names.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        std::iter::once(self.name)
            .chain(self.aliases.iter().copied())
            .collect()
    }

    fn param(&self, argument: usize) -> Param {
        let last = self.params.len().saturating_sub(1);
        self.params
            .get(argument.min(last))
            .copied()
            .unwrap_or(Param::Any)
    }

    fn check_count(&self, count: usize) -> Result<()> {
        let count_max = self.params.len();
        let count_min = count_max - self.optional - usize::from(self.is_variadic);
        if count < count_min || (count > count_max && !self.is_variadic) {
            let expected = match (self.is_variadic, count_min == count_max) {
                (true, _) => format!("{count_min} or more"),
                (false, true) => count_min.to_string(),
                (false, false) => format!("{count_min} to {count_max}"),
            };
            return plan_err!("{}: expected {expected} arguments, got {count}", self.name);
        }
        Ok(())
    }
}

extensions_options! {
    /// The task in which a function runs.
    pub struct TaskPartition {
        /// The partition that the task computes first.
        pub index: u64, default = 0
    }
}

impl TaskPartition {
    /// Creates the extension of a task that computes this partition first.
    #[must_use]
    pub fn new(index: u64) -> Self {
        Self { index }
    }
}

impl ConfigExtension for TaskPartition {
    const PREFIX: &'static str = "faisca_task";
}

/// The generators of random numbers of one function in a task, in their state after the last batch.
/// A function draws from one of the two.
#[derive(Default)]
pub(crate) struct Sequence {
    xor_shift: Option<XorShift>,
    twister: Option<Box<MersenneTwister>>,
}

impl Sequence {
    /// Returns the numbers of Spark's own generator.
    pub(crate) fn xor_shift(&mut self, seed: i64) -> &mut XorShift {
        self.xor_shift.get_or_insert_with(|| XorShift::new(seed))
    }

    /// Returns the numbers of the generator that Spark shuffles with.
    pub(crate) fn twister(&mut self, seed: i64) -> &mut MersenneTwister {
        self.twister
            .get_or_insert_with(|| Box::new(MersenneTwister::new(seed)))
    }
}

/// A scalar function of Spark, as DataFusion sees it.
pub(crate) struct SparkFunction {
    function: Function,
    aliases: Vec<String>,
    signature: Signature,
    sequence: Option<Arc<Mutex<Sequence>>>,
}

impl SparkFunction {
    pub(crate) fn new(function: Function) -> Self {
        Self {
            aliases: function.aliases.iter().map(ToString::to_string).collect(),
            signature: Signature::user_defined(function.volatility),
            function,
            sequence: None,
        }
    }

    /// Gives the function its own state.
    pub(crate) fn with_sequence(mut self) -> Self {
        self.sequence = Some(Arc::default());
        self
    }
}

impl fmt::Debug for SparkFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SparkFunction({})", self.function.name)
    }
}

impl PartialEq for SparkFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for SparkFunction {}

impl Hash for SparkFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for SparkFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.check_count(types.len())?;
        for (index, data_type) in types.iter().enumerate() {
            let param = self.function.param(index);
            if !convert::is_accepted(param, data_type) {
                let (name, number) = (self.function.name, index + 1);
                return plan_err!("{name}: argument {number} must be {param}, got {data_type}");
            }
        }
        match self.function.unify {
            Some(unify) => unify(types),
            None => Ok(types.to_vec()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let literals = vec![None; types.len()];
        self.result_type(types, &literals)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let result = self.result_type(&types, args.scalar_arguments)?;
        Ok(Arc::new(Field::new(self.function.name, result, true)))
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.function.simplify {
            Some(simplify) => simplify(args, context),
            None => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = !args.args.is_empty()
            && args
                .args
                .iter()
                .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        // If all arguments are literals, one row is computed, whatever the size of the batch.
        let rows = match (is_constant, self.function.volatility) {
            (true, Volatility::Immutable) => 1,
            _ => args.number_rows,
        };
        let zone = Zone::of_session(&args.config_options)?;
        let arrays = args
            .args
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let array = value.to_array(rows)?;
                convert::convert(&array, self.function.param(index), &zone)
            })
            .collect::<Result<Vec<_>>>()?;
        let partition = args.config_options.extensions.get::<TaskPartition>();
        let call = Call {
            name: self.function.name,
            arrays,
            rows,
            zone,
            return_type: args.return_field.data_type().clone(),
            sequence: self.sequence.clone(),
            partition: partition.map_or(0, |task| task.index),
        };
        let result = (self.function.body)(&call)?;
        let result = convert::with_type(result, args.return_field.data_type())?;
        if rows == 1 && args.number_rows != 1 && is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl SparkFunction {
    fn result_type(
        &self,
        types: &[DataType],
        literals: &[Option<&ScalarValue>],
    ) -> Result<DataType> {
        let site = CallSite {
            name: self.function.name,
            types,
            literals,
        };
        match &self.function.returns {
            Returns::Type(result) => Ok(result.clone()),
            Returns::Instant => Ok(instant_type()),
            Returns::Argument(index) => Ok(types.get(*index).cloned().unwrap_or(DataType::Null)),
            Returns::Computed(compute) => compute(&site),
        }
    }
}

/// One call of a function on a batch: the converted arguments.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) arrays: Vec<ArrayRef>,
    pub(crate) rows: usize,
    pub(crate) zone: Zone,
    pub(crate) return_type: DataType,
    sequence: Option<Arc<Mutex<Sequence>>>,
    partition: u64,
}

impl Call {
    /// Draws random numbers, which continue those of the batch before.
    ///
    /// `draw` receives the seed to begin with: the argument at the position `seed`, to which the
    /// partition is added, as in Spark. A seed that is null counts as zero. Without a seed, and
    /// outside a task, the seed is random.
    pub(crate) fn draw<T>(&self, seed: usize, draw: impl FnOnce(&mut Sequence, i64) -> T) -> T {
        let argument = self.arrays.get(seed).filter(|seeds| !seeds.is_empty());
        match (&self.sequence, argument) {
            (Some(sequence), Some(seeds)) => {
                let seeds = seeds.as_primitive::<Int64Type>();
                let seed = seeds.iter().next().flatten().unwrap_or_default();
                let mut sequence = sequence.lock().unwrap_or_else(PoisonError::into_inner);
                draw(&mut sequence, seed.wrapping_add_unsigned(self.partition))
            }
            _ => draw(&mut Sequence::default(), fastrand::i64(..)),
        }
    }

    /// Returns whether the call has this argument.
    pub(crate) fn has_argument(&self, argument: usize) -> bool {
        argument < self.arrays.len()
    }

    pub(crate) fn text(&self, argument: usize) -> &StringArray {
        self.arrays[argument].as_string()
    }

    pub(crate) fn boolean(&self, argument: usize) -> &BooleanArray {
        self.arrays[argument].as_boolean()
    }

    pub(crate) fn int(&self, argument: usize) -> &Int32Array {
        self.arrays[argument].as_primitive::<Int32Type>()
    }

    pub(crate) fn long(&self, argument: usize) -> &Int64Array {
        self.arrays[argument].as_primitive::<Int64Type>()
    }

    pub(crate) fn double(&self, argument: usize) -> &PrimitiveArray<Float64Type> {
        self.arrays[argument].as_primitive::<Float64Type>()
    }

    pub(crate) fn date(&self, argument: usize) -> &PrimitiveArray<Date32Type> {
        self.arrays[argument].as_primitive::<Date32Type>()
    }

    /// Returns an argument of the kinds [`Param::Instant`] and [`Param::Wall`].
    pub(crate) fn micros(&self, argument: usize) -> &TimestampMicrosecondArray {
        self.arrays[argument].as_primitive::<TimestampMicrosecondType>()
    }

    pub(crate) fn list(&self, argument: usize) -> &ListArray {
        self.arrays[argument].as_list::<i32>()
    }

    pub(crate) fn map(&self, argument: usize) -> &MapArray {
        self.arrays[argument].as_map()
    }

    /// Returns the rows in which no argument is null.
    pub(crate) fn validity(&self) -> Option<NullBuffer> {
        self.arrays.iter().fold(None, |nulls, array| {
            NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref())
        })
    }

    /// Computes a column row by row; a row with a null argument is null.
    pub(crate) fn strict<A, T>(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<T>>,
    ) -> Result<ArrayRef>
    where
        A: Array + FromIterator<Option<T>> + 'static,
    {
        let nulls = self.validity();
        self.lenient::<A, T>(|row| match &nulls {
            Some(nulls) if nulls.is_null(row) => Ok(None),
            _ => value(row),
        })
    }

    /// Computes a column row by row, also for rows with null arguments.
    pub(crate) fn lenient<A, T>(
        &self,
        value: impl FnMut(usize) -> Result<Option<T>>,
    ) -> Result<ArrayRef>
    where
        A: Array + FromIterator<Option<T>> + 'static,
    {
        let column = (0..self.rows).map(value).collect::<Result<A>>()?;
        Ok(Arc::new(column))
    }

    /// As [`Call::strict`], for types of fixed width.
    pub(crate) fn primitive<P: ArrowPrimitiveType>(
        &self,
        value: impl FnMut(usize) -> Result<Option<P::Native>>,
    ) -> Result<ArrayRef> {
        self.strict::<PrimitiveArray<P>, P::Native>(value)
    }

    /// As [`Call::strict`], for text.
    pub(crate) fn texts(
        &self,
        value: impl FnMut(usize) -> Result<Option<String>>,
    ) -> Result<ArrayRef> {
        self.strict::<StringArray, String>(value)
    }

    /// As [`Call::strict`], for conditions.
    pub(crate) fn booleans(
        &self,
        value: impl FnMut(usize) -> Result<Option<bool>>,
    ) -> Result<ArrayRef> {
        self.strict::<BooleanArray, bool>(value)
    }

    /// Fails with an error of this function.
    pub(crate) fn fail<T>(&self, problem: impl fmt::Display) -> Result<T> {
        exec_err!("{}: {problem}", self.name)
    }
}
