//! The aggregates `first`, `last`, `any_value`, `count_if` and `listagg`.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::Aggregate;

/// Returns the aggregates of this family.
pub(super) fn aggregates() -> Vec<Aggregate> {
    vec![
        picked_value("first", &["any_value"], |types, clauses| {
            let value = PickedValue::new(&types[0], clauses.ignores_nulls, End::First)?;
            Ok(Box::new(value))
        }),
        picked_value("last", &[], |types, clauses| {
            let value = PickedValue::new(&types[0], clauses.ignores_nulls, End::Last)?;
            Ok(Box::new(value))
        }),
        Aggregate {
            name: "count_if",
            aliases: &[],
            arguments: (1, 1),
            returns: |_| Ok(DataType::Int64),
            coerce: |_| vec![DataType::Boolean],
            state: |_| vec![DataType::Int64],
            create: |_, _| Ok(Box::new(CountIf::default())),
        },
        Aggregate {
            name: "listagg",
            aliases: &[],
            arguments: (1, 2),
            returns: |_| Ok(DataType::Utf8),
            coerce: |types| vec![DataType::Utf8; types.len()],
            state: |_| vec![DataType::Utf8, DataType::Utf8],
            create: |_, _| Ok(Box::new(JoinedTexts::default())),
        },
    ]
}

fn picked_value(
    name: &'static str,
    aliases: &'static [&'static str],
    create: super::Create,
) -> Aggregate {
    Aggregate {
        name,
        aliases,
        arguments: (1, 2),
        returns: |types| Ok(types[0].clone()),
        coerce: |types| match types.len() {
            1 => types.to_vec(),
            _ => vec![types[0].clone(), DataType::Boolean],
        },
        state: |types| vec![types[0].clone(), DataType::Boolean],
        create,
    }
}

/// The end of a group from which a value is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// The first or the last value of a group.
#[derive(Debug)]
struct PickedValue {
    value: ScalarValue,
    is_set: bool,
    ignores_nulls: bool,
    end: End,
}

impl PickedValue {
    fn new(data_type: &DataType, ignores_nulls: bool, end: End) -> Result<Self> {
        Ok(Self {
            value: ScalarValue::try_from(data_type)?,
            is_set: false,
            ignores_nulls,
            end,
        })
    }

    fn take(&mut self, values: &ArrayRef, is_candidate: impl Fn(usize) -> bool) -> Result<()> {
        if self.is_set && self.end == End::First {
            return Ok(());
        }
        let mut rows = 0..values.len();
        let row = match self.end {
            End::First => rows.find(|row| is_candidate(*row)),
            End::Last => rows.rfind(|row| is_candidate(*row)),
        };
        if let Some(row) = row {
            self.value = ScalarValue::try_from_array(values, row)?;
            self.value.compact();
            self.is_set = true;
        }
        Ok(())
    }
}

impl Accumulator for PickedValue {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        // The second argument of `first(x, true)` has the meaning of IGNORE NULLS.
        if let Some(flags) = values.get(1).and_then(|flags| flags.as_boolean_opt()) {
            self.ignores_nulls |= flags.iter().next().flatten().unwrap_or(false);
        }
        let ignores_nulls = self.ignores_nulls;
        let nulls = values[0].logical_nulls();
        let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        self.take(&values[0], |row| !ignores_nulls || !is_null(row))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            self.value.clone(),
            ScalarValue::Boolean(Some(self.is_set)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let flags = states[1].as_boolean();
        self.take(&states[0], |row| flags.is_valid(row) && flags.value(row))
    }
}

/// Counts rows for which a condition is true.
#[derive(Debug, Default)]
struct CountIf {
    count: i64,
}

fn count_true(values: &ArrayRef) -> i64 {
    i64::try_from(values.as_boolean().true_count()).unwrap_or(i64::MAX)
}

impl Accumulator for CountIf {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += count_true(&values[0]);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= count_true(&values[0]);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.count)))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.count += states[0]
            .as_primitive::<Int64Type>()
            .iter()
            .flatten()
            .sum::<i64>();
        Ok(())
    }
}

/// Texts joined by a delimiter; nulls are left out.
#[derive(Debug, Default)]
struct JoinedTexts {
    joined: Option<String>,
    delimiter: String,
}

impl JoinedTexts {
    fn add(&mut self, texts: &ArrayRef) {
        for text in texts.as_string::<i32>().iter().flatten() {
            match &mut self.joined {
                Some(joined) => {
                    joined.push_str(&self.delimiter);
                    joined.push_str(text);
                }
                None => self.joined = Some(text.to_owned()),
            }
        }
    }

    fn set_delimiter(&mut self, delimiters: Option<&ArrayRef>) {
        if let Some(delimiter) =
            delimiters.and_then(|texts| texts.as_string::<i32>().iter().flatten().next())
        {
            delimiter.clone_into(&mut self.delimiter);
        }
    }
}

impl Accumulator for JoinedTexts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.set_delimiter(values.get(1));
        self.add(&values[0]);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8(self.joined.clone()))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.joined.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Utf8(self.joined.clone()),
            ScalarValue::Utf8(Some(self.delimiter.clone())),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.set_delimiter(states.get(1));
        self.add(&states[0]);
        Ok(())
    }
}
