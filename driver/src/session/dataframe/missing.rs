//! Nulls and NaNs: removed, filled, replaced.

use arrow::datatypes::DataType;
use faisca_spark::columns::functions::{coalesce, nanvl};
use faisca_spark::columns::{Column, Literal, col, lit, when};

use super::DataFrame;
use crate::error::Result;
use crate::session::columns::unknown_column;
use crate::session::sql_types::sql_type;

/// Kinds of columns that a value can replace nulls in.
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

/// A value for nulls: a number, a text or a truth value.
pub trait FillValue: Literal {
    /// Whether the value fits columns of this type.
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
    /// Returns the columns that a call names, or all of them, with their types.
    fn chosen(&self, columns: &[&str]) -> Result<Vec<(String, DataType)>> {
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
                let own_name = self.find(name).ok_or_else(unknown)?;
                let data_type = schema.field_with_name(&own_name).map_err(|_| unknown())?;
                let data_type = data_type.data_type().clone();
                Ok((own_name, data_type))
            })
            .collect()
    }

    /// Keeps the rows that have at least `count` values that are neither null nor NaN in these
    /// columns, or in all columns if there are none. PySpark's `dropna(how="any")` is
    /// [`Self::drop_nulls`].
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_nulls_below(self, count: usize, columns: &[&str]) -> Result<Self> {
        let present = self.chosen(columns)?.into_iter().map(|(name, data_type)| {
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

    /// Removes the rows with a null or NaN in one of these columns, or in any if there are none.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_nulls(self, columns: &[&str]) -> Result<Self> {
        let all = self.chosen(columns)?.len();
        self.drop_nulls_below(all, columns)
    }

    /// Removes the rows in which all of these columns are null or NaN, or all columns if there are
    /// none.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_all_null(self, columns: &[&str]) -> Result<Self> {
        self.drop_nulls_below(1, columns)
    }

    /// Replaces null and NaN by `value` in these columns, or in all if there are none. Columns of
    /// another kind (numbers, texts, truth values) stay. The types of the columns stay.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn fill_nulls<V: FillValue>(self, value: V, columns: &[&str]) -> Result<Self> {
        let value = lit(value);
        let mut filled = vec![];
        for (name, data_type) in self.chosen(columns)? {
            if !V::fits(&data_type) {
                continue;
            }
            let own = if data_type.is_floating() {
                nanvl(col(&name), lit(None::<f64>))
            } else {
                col(&name)
            };
            let value = typed(&value, &data_type);
            filled.push((name, coalesce([own, value])));
        }
        let filled = filled.iter().map(|(name, column)| (name.as_str(), column));
        self.with_columns(filled)
    }

    /// Replaces one value by another in these columns, or in all if there are none. Columns of another
    /// kind stay, and so do the types of the columns.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn replace<V: FillValue>(self, from: V, to: V, columns: &[&str]) -> Result<Self> {
        let (from, to) = (lit(from), lit(to));
        let mut replaced = vec![];
        for (name, data_type) in self.chosen(columns)? {
            if !V::fits(&data_type) {
                continue;
            }
            let own = col(&name);
            let is_replaced = own.clone().eq(&from);
            let column = when(is_replaced, typed(&to, &data_type)).otherwise(own);
            replaced.push((name, column));
        }
        let replaced = replaced
            .iter()
            .map(|(name, column)| (name.as_str(), column));
        self.with_columns(replaced)
    }
}

/// Returns a literal in the type of a column of numbers, so that the column keeps its type.
fn typed(value: &Column, data_type: &DataType) -> Column {
    match sql_type(data_type).filter(|_| data_type.is_numeric()) {
        Some(name) => value.clone().cast(&name),
        None => value.clone(),
    }
}
