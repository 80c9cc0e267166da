//! Merges the schemas of a table's files, which may have changed over time.
//!
//! Columns may be missing, in another order, or spelled in another case. A column gets the type
//! that holds the values of all files. If there is none, the error names the column and two files.

mod spark_types;
mod widen;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::{DataFusionError, plan_err};

pub(crate) use widen::{TypeRule, widen};

/// Decides how names of columns are compared between files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// For Parquet and CSV, whose readers ignore the case of column names.
    AnyCase,
    /// For JSON, whose reader matches names exactly.
    Exact,
}

/// A column of the files that were merged.
struct Column {
    field: FieldRef,
    /// A file that contains the column with this type.
    file: String,
}

/// Accumulates the merged schema of files.
pub(crate) struct MergedSchema {
    names: NameRule,
    types: TypeRule,
    columns: Vec<Column>,
    /// Positions of the columns, by the names that [`NameRule`] compares.
    index: HashMap<String, usize>,
    /// The schema that was added last.
    last: Option<SchemaRef>,
}

impl MergedSchema {
    pub(crate) fn new(names: NameRule, types: TypeRule) -> Self {
        Self {
            names,
            types,
            columns: vec![],
            index: HashMap::new(),
            last: None,
        }
    }

    fn key(&self, name: &str) -> String {
        match self.names {
            NameRule::AnyCase => name.to_lowercase(),
            NameRule::Exact => name.to_owned(),
        }
    }

    /// Adds the schema of a file.
    ///
    /// # Errors
    /// Returns an error that names the column and both files if no type holds the values of both.
    pub(crate) fn add(&mut self, schema: &SchemaRef, file: &str) -> Result<(), DataFusionError> {
        // Most files of a folder have the same schema.
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.fields() == schema.fields())
        {
            return Ok(());
        }
        let is_first = self.last.is_none();
        let converted = spark_types::with_spark_types(schema);
        // A column that one file lacks has nulls there.
        let mut present = vec![false; self.columns.len()];
        for field in converted.fields() {
            let key = self.key(field.name());
            // Two spellings of a name in one file stay two columns; the registration of the table
            // then reports them.
            let known = self
                .index
                .get(&key)
                .copied()
                .filter(|at| present.get(*at) == Some(&false));
            let Some(at) = known else {
                let nullable = field.is_nullable() || !is_first;
                self.index.insert(key, self.columns.len());
                self.columns.push(Column {
                    field: Arc::new(field.as_ref().clone().with_nullable(nullable)),
                    file: file.to_owned(),
                });
                continue;
            };
            present[at] = true;
            self.widen_column(at, field, file)?;
        }
        for (column, _) in self
            .columns
            .iter_mut()
            .zip(&present)
            .filter(|(_, present)| !**present)
        {
            if !column.field.is_nullable() && !is_first {
                column.field = Arc::new(column.field.as_ref().clone().with_nullable(true));
            }
        }
        self.last = Some(Arc::clone(schema));
        Ok(())
    }

    /// Changes the type of a column to one that also holds the values of `field`.
    fn widen_column(
        &mut self,
        at: usize,
        field: &FieldRef,
        file: &str,
    ) -> Result<(), DataFusionError> {
        let column = &mut self.columns[at];
        let (known, new) = (column.field.data_type(), field.data_type());
        let both = widen(known, new, self.types);
        let text = (self.types == TypeRule::Text).then_some(DataType::Utf8);
        let Some(both) = both.or(text) else {
            return plan_err!(
                "column `{}` is {known} in {} and {new} in {file}: no type holds both without loss; set a schema, or put the files into different folders",
                column.field.name(),
                column.file
            );
        };
        let nullable = column.field.is_nullable() || field.is_nullable();
        if both != *known || nullable != column.field.is_nullable() {
            if both == *new {
                file.clone_into(&mut column.file);
            }
            let widened = column.field.as_ref().clone();
            column.field = Arc::new(widened.with_data_type(both).with_nullable(nullable));
        }
        Ok(())
    }

    /// Returns the names of the columns of all files that were added.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .map(|column| column.field.name().as_str())
    }

    /// Returns the columns of all files, in the order in which they first appeared.
    pub(crate) fn finish(self) -> Schema {
        Schema::new(
            self.columns
                .into_iter()
                .map(|column| column.field)
                .collect::<Vec<_>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
        let field = |(name, data_type, nullable): &(&str, DataType, bool)| {
            Field::new(*name, data_type.clone(), *nullable)
        };
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_that_a_file_lacks_are_nullable_and_keep_the_first_spelling() {
        let mut merged = MergedSchema::new(NameRule::AnyCase, TypeRule::Lossless);
        merged
            .add(
                &schema(&[("A", DataType::Int32, false), ("b", DataType::Utf8, false)]),
                "1",
            )
            .unwrap();
        merged
            .add(
                &schema(&[
                    ("c", DataType::Date32, false),
                    ("a", DataType::Int64, false),
                ]),
                "2",
            )
            .unwrap();
        let expected = schema(&[
            ("A", DataType::Int64, false),
            ("b", DataType::Utf8, true),
            ("c", DataType::Date32, true),
        ]);
        assert_eq!(Arc::new(merged.finish()), expected);
    }

    #[test]
    fn a_column_without_a_common_type_is_refused_by_the_names_of_both_files() {
        let mut merged = MergedSchema::new(NameRule::AnyCase, TypeRule::Lossless);
        merged
            .add(&schema(&[("a", DataType::Int32, true)]), "x.parquet")
            .unwrap();
        merged
            .add(&schema(&[("a", DataType::Int64, true)]), "y.parquet")
            .unwrap();
        let error = merged
            .add(&schema(&[("a", DataType::Utf8, true)]), "z.parquet")
            .unwrap_err();
        let text = error.to_string();
        for part in ["`a`", "Int64 in y.parquet", "Utf8 in z.parquet"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
