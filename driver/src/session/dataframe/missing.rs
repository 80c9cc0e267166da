//! Methods that remove, fill or replace nulls, NaNs and other values.

use arrow::datatypes::DataType;
use faisca_spark::columns::functions::{coalesce, nanvl};
use faisca_spark::columns::{Column, Literal, col, lit, when};

use super::DataFrame;
use crate::error::Result;
use crate::session::columns::unknown_column;
use crate::session::sql_types::sql_type;

/// Kinds of column types. A [`FillValue`] applies to columns of its own kind only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Boolean,
    Number,
    Text,
    Other,
}

fn value_kind(data_type: &DataType) -> ValueKind {
    match data_type {
        DataType::Boolean => ValueKind::Boolean,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => ValueKind::Text,
        other if other.is_numeric() => ValueKind::Number,
        _ => ValueKind::Other,
    }
}

/// A value that can replace nulls: a number, a string or a boolean. [`DataFrame::fill_nulls`] and
/// [`DataFrame::replace`] accept it.
pub trait FillValue: Literal {
    /// Returns true if the value can be stored in columns of this type.
    fn fits(data_type: &DataType) -> bool;
}

macro_rules! fill_values {
    ($($value:ty: $kind:ident),*) => {$(
        impl FillValue for $value {
            fn fits(data_type: &DataType) -> bool {
                value_kind(data_type) == ValueKind::$kind
            }
        }
    )*};
}

fill_values!(bool: Boolean, i32: Number, i64: Number, f64: Number, &str: Text, String: Text);

impl DataFrame {
    /// Returns these columns with their types, or all columns if `columns` is empty.
    fn named_or_all(&self, columns: &[&str]) -> Result<Vec<(String, DataType)>> {
        let schema = self.schema();
        if columns.is_empty() {
            let fields = schema.fields().iter();
            return Ok(fields
                .map(|f| (f.name().clone(), f.data_type().clone()))
                .collect());
        }
        columns
            .iter()
            .map(|name| {
                let unknown = || unknown_column(name, &[self.frame.schema()]);
                let spelled = self.find(name).ok_or_else(unknown)?;
                let data_type = schema.field_with_name(&spelled).map_err(|_| unknown())?;
                let data_type = data_type.data_type().clone();
                Ok((spelled, data_type))
            })
            .collect()
    }

    /// Keeps the rows that have at least `count` values that are neither null nor NaN in these
    /// columns. An empty list means all columns. PySpark's `dropna(how="any")` is
    /// [`Self::drop_nulls`].
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let mostly_known = people.drop_nulls_below(2, &["name", "age", "city"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_nulls_below(self, count: usize, columns: &[&str]) -> Result<Self> {
        let present = self
            .named_or_all(columns)?
            .into_iter()
            .map(|(name, data_type)| {
                let is_present = if data_type.is_floating() {
                    col(&name).is_not_null() & !col(&name).is_nan()
                } else {
                    col(&name).is_not_null()
                };
                when(is_present, lit(1)).otherwise(lit(0))
            });
        match present.reduce(|sum, next| sum + next) {
            Some(sum) => self.filter(sum.gt_eq(i64::try_from(count).unwrap_or(i64::MAX))),
            None => Ok(self),
        }
    }

    /// Removes the rows with a null or NaN in any of these columns. An empty list means all
    /// columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let complete = people.drop_nulls(&["name", "age"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_nulls(self, columns: &[&str]) -> Result<Self> {
        let all = self.named_or_all(columns)?.len();
        self.drop_nulls_below(all, columns)
    }

    /// Removes the rows in which all of these columns are null or NaN. An empty list means all
    /// columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let known = people.drop_all_null(&["name", "age"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_all_null(self, columns: &[&str]) -> Result<Self> {
        self.drop_nulls_below(1, columns)
    }

    /// Replaces null and NaN with `value` in these columns. An empty list means all columns.
    /// Columns whose kind (number, string, boolean) differs from that of `value` stay unchanged.
    /// All columns keep their types.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people = people.fill_nulls("unknown", &["city"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn fill_nulls<V: FillValue>(self, value: V, columns: &[&str]) -> Result<Self> {
        let value = lit(value);
        let mut filled = vec![];
        for (name, data_type) in self.named_or_all(columns)? {
            if !V::fits(&data_type) {
                continue;
            }
            let value_or_null = if data_type.is_floating() {
                nanvl(col(&name), lit(None::<f64>))
            } else {
                col(&name)
            };
            let value = cast_literal(&value, &data_type);
            filled.push((name, coalesce([value_or_null, value])));
        }
        let filled = filled.iter().map(|(name, column)| (name.as_str(), column));
        self.with_columns(filled)
    }

    /// Replaces the value `from` with `to` in these columns. An empty list means all columns.
    /// Columns whose kind (number, string, boolean) differs stay unchanged. All columns keep their
    /// types.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people = people.replace("N/A", "unknown", &["city"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn replace<V: FillValue>(self, from: V, to: V, columns: &[&str]) -> Result<Self> {
        let (from, to) = (lit(from), lit(to));
        let mut replaced = vec![];
        for (name, data_type) in self.named_or_all(columns)? {
            if !V::fits(&data_type) {
                continue;
            }
            let original = col(&name);
            let is_replaced = original.clone().eq(&from);
            let column = when(is_replaced, cast_literal(&to, &data_type)).otherwise(original);
            replaced.push((name, column));
        }
        let replaced = replaced
            .iter()
            .map(|(name, column)| (name.as_str(), column));
        self.with_columns(replaced)
    }
}

/// Casts a literal to the type of a numeric column, so that the column keeps its type.
fn cast_literal(value: &Column, data_type: &DataType) -> Column {
    match sql_type(data_type).filter(|_| data_type.is_numeric()) {
        Some(name) => value.clone().cast(&name),
        None => value.clone(),
    }
}
