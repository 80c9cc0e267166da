//! Column statistics of a written table: nulls, distinct values, minimum and maximum, text lengths.
//!
//! ```text
//! task:    batches ─► Sketches::update ─► encode ─► TaskReport::statistics
//! driver:  committed attempts ─► Sketches::merge ─► summaries ─► catalog
//! ```
//!
//! Distinct values are estimated by DataFusion's HyperLogLog.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use serde::{Deserialize, Serialize};

/// Statistics of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSummary {
    /// Name of the column, in the case of the data.
    pub name: String,
    /// Number of nulls.
    pub nulls: u64,
    /// Number of distinct values, estimated.
    pub distinct: u64,
    /// Statistics that depend on the type.
    pub values: Values,
}

/// Statistics of a column that depend on its type. Ranges are `None` without values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Values {
    /// Integers: minimum and maximum.
    Long(Option<(i64, i64)>),
    /// Floating-point numbers: minimum and maximum.
    Double(Option<(f64, f64)>),
    /// Days since 1970: minimum and maximum.
    Date(Option<(i32, i32)>),
    /// Text.
    Text {
        /// Bytes of the longest value.
        longest: u64,
        /// Bytes of all values.
        bytes: u64,
        /// Number of values that are not null.
        count: u64,
    },
    /// Booleans.
    Boolean {
        /// Number of `true`.
        trues: u64,
        /// Number of `false`.
        falses: u64,
    },
}

impl Values {
    /// Whether there is a minimum and a maximum.
    #[must_use]
    pub fn has_bounds(&self) -> bool {
        match self {
            Self::Long(bounds) => bounds.is_some(),
            Self::Double(bounds) => bounds.is_some(),
            Self::Date(bounds) => bounds.is_some(),
            Self::Text { .. } | Self::Boolean { .. } => false,
        }
    }
}

/// Sketches of the columns of a table.
#[derive(Debug)]
pub struct Sketches(Vec<Sketch>);

#[derive(Debug)]
struct Sketch {
    index: usize,
    name: String,
    data_type: DataType,
    counts: Counts,
    distinct: Box<dyn Accumulator>,
    /// Minimum and maximum, for types that are ordered here.
    bounds: Option<[Box<dyn Accumulator>; 2]>,
}

/// What is counted of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    rows: i64,
    nulls: i64,
    /// Bytes of the longest text.
    longest: i64,
    /// Bytes of all texts.
    bytes: i64,
    trues: i64,
}

impl Counts {
    /// The counts in the order of their encoding.
    fn to_array(self) -> [i64; 5] {
        let Self {
            rows,
            nulls,
            longest,
            bytes,
            trues,
        } = self;
        [rows, nulls, longest, bytes, trues]
    }

    fn from_array([rows, nulls, longest, bytes, trues]: [i64; 5]) -> Self {
        Self {
            rows,
            nulls,
            longest,
            bytes,
            trues,
        }
    }

    fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.longest = self.longest.max(other.longest);
        self.bytes += other.bytes;
        self.trues += other.trues;
    }
}

fn accumulator(
    udaf: Arc<AggregateUDF>,
    schema: &SchemaRef,
    index: usize,
) -> Result<Box<dyn Accumulator>> {
    let column = Arc::new(Column::new(schema.field(index).name(), index));
    AggregateExprBuilder::new(udaf, vec![column])
        .schema(Arc::clone(schema))
        .alias("sketch")
        .build()?
        .create_accumulator()
}

fn is_ordered(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
    ) || matches!(
        data_type,
        DataType::Float32 | DataType::Float64 | DataType::Date32
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

impl Sketches {
    /// Creates empty sketches of the columns of `schema`. Columns of other types have none.
    ///
    /// # Errors
    /// If DataFusion has no sketch for a type.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let mut all = vec![];
        for (index, field) in schema.fields().iter().enumerate() {
            let data_type = field.data_type().clone();
            if !is_ordered(&data_type) && !is_text(&data_type) && data_type != DataType::Boolean {
                continue;
            }
            // HyperLogLog does not take floats here: their bits are counted as integers.
            let distinct = match data_type {
                DataType::Float32 | DataType::Float64 => {
                    let bits: SchemaRef =
                        Arc::new(Schema::new(vec![Field::new("bits", DataType::Int64, true)]));
                    accumulator(approx_distinct_udaf(), &bits, 0)?
                }
                _ => accumulator(approx_distinct_udaf(), schema, index)?,
            };
            let bounds = if is_ordered(&data_type) {
                Some([
                    accumulator(min_udaf(), schema, index)?,
                    accumulator(max_udaf(), schema, index)?,
                ])
            } else {
                None
            };
            all.push(Sketch {
                index,
                name: field.name().clone(),
                data_type,
                counts: Counts::default(),
                distinct,
                bounds,
            });
        }
        Ok(Self(all))
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// If an accumulator of DataFusion fails.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0
            .iter_mut()
            .try_for_each(|sketch| sketch.update(batch.column(sketch.index)))
    }

    /// Encodes the state of all sketches as one row of an Arrow IPC stream.
    ///
    /// # Errors
    /// If an accumulator has no state.
    pub fn encode(&mut self) -> Result<Bytes> {
        let mut columns: Vec<(String, ArrayRef)> = vec![];
        for (index, sketch) in self.0.iter_mut().enumerate() {
            columns.push((
                format!("{index}.name"),
                Arc::new(StringArray::from(vec![sketch.name.as_str()])),
            ));
            for (part, count) in sketch.counts.to_array().into_iter().enumerate() {
                columns.push((
                    format!("{index}.count.{part}"),
                    Arc::new(Int64Array::from(vec![count])),
                ));
            }
            for (kind, accumulator) in sketch.accumulators() {
                for (part, state) in accumulator.state()?.into_iter().enumerate() {
                    columns.push((format!("{index}.{kind}.{part}"), state.to_array_of_size(1)?));
                }
            }
        }
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )?;
        let mut writer = StreamWriter::try_new(vec![], &batch.schema())?;
        writer.write(&batch)?;
        Ok(writer.into_inner()?.into())
    }

    /// Adds sketches encoded by [`Self::encode`].
    ///
    /// # Errors
    /// If they are of other columns.
    pub fn merge(&mut self, encoded: &[u8]) -> Result<()> {
        for batch in StreamReader::try_new(encoded, None)? {
            let batch = batch?;
            let state_column = |name: String| {
                batch
                    .column_by_name(&name)
                    .cloned()
                    .ok_or_else(|| exec_datafusion_err!("statistics without {name}"))
            };
            for (index, sketch) in self.0.iter_mut().enumerate() {
                let mut counts = [0; 5];
                for (part, count) in counts.iter_mut().enumerate() {
                    *count = state_column(format!("{index}.count.{part}"))?
                        .as_primitive::<arrow::datatypes::Int64Type>()
                        .value(0);
                }
                sketch.counts.merge(Counts::from_array(counts));
                for (kind, accumulator) in sketch.accumulators() {
                    let states = accumulator.state()?.len();
                    let states: Vec<ArrayRef> = (0..states)
                        .map(|part| state_column(format!("{index}.{kind}.{part}")))
                        .collect::<Result<_>>()?;
                    accumulator.merge_batch(&states)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the statistics of each column.
    ///
    /// # Errors
    /// If an accumulator of DataFusion fails.
    pub fn summaries(mut self) -> Result<Vec<ColumnSummary>> {
        self.0.iter_mut().map(Sketch::summary).collect()
    }
}

impl Sketch {
    fn accumulators(&mut self) -> BTreeMap<&'static str, &mut Box<dyn Accumulator>> {
        let mut all = BTreeMap::from([("distinct", &mut self.distinct)]);
        if let Some([least, greatest]) = &mut self.bounds {
            all.extend([("least", least), ("greatest", greatest)]);
        }
        all
    }

    fn update(&mut self, column: &ArrayRef) -> Result<()> {
        let counts = &mut self.counts;
        counts.rows += column.len() as i64;
        counts.nulls += column.null_count() as i64;
        if is_text(&self.data_type) {
            let lengths = arrow::compute::cast(&length(column.as_ref())?, &DataType::Int64)?;
            let lengths = lengths.as_primitive::<arrow::datatypes::Int64Type>();
            let longest = arrow::compute::max(lengths).unwrap_or_default();
            counts.longest = counts.longest.max(longest);
            counts.bytes += arrow::compute::sum(lengths).unwrap_or_default();
        }
        if let Some(flags) = column.as_boolean_opt() {
            counts.trues += flags.true_count() as i64;
        }
        let values = match column.data_type() {
            DataType::Float32 | DataType::Float64 => bits(column)?,
            _ => Arc::clone(column),
        };
        self.distinct.update_batch(&[values])?;
        if let Some(bounds) = &mut self.bounds {
            bounds
                .iter_mut()
                .try_for_each(|bound| bound.update_batch(&[Arc::clone(column)]))?;
        }
        Ok(())
    }

    fn summary(&mut self) -> Result<ColumnSummary> {
        let [rows, nulls, longest, bytes, trues] = self
            .counts
            .to_array()
            .map(|count| u64::try_from(count).unwrap_or_default());
        let distinct = self.distinct.evaluate()?.cast_to(&DataType::Int64)?;
        let ScalarValue::Int64(distinct) = distinct else {
            return Err(exec_datafusion_err!(
                "the number of distinct values is not a number"
            ));
        };
        let bounds = match &mut self.bounds {
            Some([least, greatest]) => Some((least.evaluate()?, greatest.evaluate()?)),
            None => None,
        };
        let values = match (&self.data_type, bounds) {
            (DataType::Boolean, _) => Values::Boolean {
                trues,
                falses: (rows - nulls).saturating_sub(trues),
            },
            (
                DataType::Date32,
                Some((ScalarValue::Date32(least), ScalarValue::Date32(greatest))),
            ) => Values::Date(least.zip(greatest)),
            (DataType::Float32 | DataType::Float64, Some((least, greatest))) => {
                let number = |value: ScalarValue| match value.cast_to(&DataType::Float64) {
                    Ok(ScalarValue::Float64(number)) => number,
                    _ => None,
                };
                Values::Double(number(least).zip(number(greatest)))
            }
            (_, Some((least, greatest))) => {
                let number = |value: ScalarValue| match value.cast_to(&DataType::Int64) {
                    Ok(ScalarValue::Int64(number)) => number,
                    _ => None,
                };
                Values::Long(number(least).zip(number(greatest)))
            }
            (_, None) => Values::Text {
                longest,
                bytes,
                count: rows - nulls,
            },
        };
        Ok(ColumnSummary {
            name: self.name.clone(),
            nulls,
            distinct: u64::try_from(distinct.unwrap_or_default()).unwrap_or_default(),
            values,
        })
    }
}

fn bits(column: &ArrayRef) -> Result<ArrayRef> {
    let doubles = arrow::compute::cast(column, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<arrow::datatypes::Float64Type>();
    Ok(Arc::new(doubles.unary::<_, arrow::datatypes::Int64Type>(
        |number| i64::from_ne_bytes(number.to_ne_bytes()),
    )))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Date32Array, Float64Array};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("i", DataType::Int32, true),
            Field::new("t", DataType::Utf8, true),
            Field::new("f", DataType::Float64, true),
            Field::new("d", DataType::Date32, true),
            Field::new("b", DataType::Boolean, true),
            Field::new("x", DataType::Binary, true),
        ]))
    }

    fn batch(from: i32) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(arrow::array::Int32Array::from(vec![
                Some(from),
                None,
                Some(from + 1),
            ])),
            Arc::new(StringArray::from(vec![Some("a"), Some("são"), None])),
            Arc::new(Float64Array::from(vec![0.5, 0.5, f64::from(from)])),
            Arc::new(Date32Array::from(vec![from, from, from])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            Arc::new(arrow::array::BinaryArray::from(vec![
                Some(b"x".as_slice()),
                None,
                None,
            ])),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    #[test]
    fn merged_sketches_of_two_tasks_equal_the_sketch_of_one() {
        let schema = schema();
        let task = |from: i32| {
            let mut sketches = Sketches::new(&schema).unwrap();
            sketches.update(&batch(from)).unwrap();
            sketches.encode().unwrap()
        };
        let mut all = Sketches::new(&schema).unwrap();
        [10, 20]
            .into_iter()
            .for_each(|from| all.merge(&task(from)).unwrap());
        let summaries = all.summaries().unwrap();
        let summary = |name: &str, nulls, distinct, values| ColumnSummary {
            name: name.to_owned(),
            nulls,
            distinct,
            values,
        };
        assert_eq!(
            summaries,
            [
                summary("i", 2, 4, Values::Long(Some((10, 21)))),
                summary(
                    "t",
                    2,
                    2,
                    Values::Text {
                        longest: 4,
                        bytes: 10,
                        count: 4
                    }
                ),
                summary("f", 0, 3, Values::Double(Some((0.5, 20.0)))),
                summary("d", 0, 2, Values::Date(Some((10, 20)))),
                summary(
                    "b",
                    2,
                    2,
                    Values::Boolean {
                        trues: 2,
                        falses: 2
                    }
                ),
            ]
        );
        let summaries = Sketches::new(&schema).unwrap().summaries().unwrap();
        assert_eq!(summaries[0], summary("i", 0, 0, Values::Long(None)));
    }
}
