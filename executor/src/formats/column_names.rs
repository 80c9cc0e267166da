//! Finds the columns of Parquet files whose names have another case than those of the table.
//!
//! Names of columns are case-insensitive, as in Spark and Hive: a file with `nota` belongs to a
//! table with `Nota`. DataFusion compares exact names, and would read nulls.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::ExecutionPlan;

/// Lets every scan of Parquet files in `plan` find columns by their names in any case.
///
/// # Errors
/// If DataFusion rejects the changed plan.
pub(crate) fn ignore_case_of_columns(
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let config = node.downcast_ref::<DataSourceExec>().and_then(|scan| {
            (scan.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>()
        });
        let Some(config) = config.filter(|config| config.file_source().is::<ParquetSource>())
        else {
            return Ok(Transformed::no(node));
        };
        let config = FileScanConfigBuilder::from(config.clone())
            .with_expr_adapter(Some(Arc::new(AnyCase)))
            .build();
        let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config);
        Ok(Transformed::yes(scan))
    })
    .data()
}

/// Creates adapters that prefer the exact name of a column, and take the name in another case if
/// there is only one.
#[derive(Debug)]
struct AnyCase;

impl PhysicalExprAdapterFactory for AnyCase {
    fn create(
        &self,
        logical_file_schema: SchemaRef,
        physical_file_schema: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let factory = DefaultPhysicalExprAdapterFactory;
        let Some(respelled) = respelled(&logical_file_schema, &physical_file_schema) else {
            return factory.create(logical_file_schema, physical_file_schema);
        };
        Ok(Arc::new(Respelled {
            adapter: factory.create(logical_file_schema, Arc::new(respelled))?,
            file: physical_file_schema,
        }))
    }
}

/// Returns the schema of a file with its columns spelled as in the table. `None` if they are already.
fn respelled(table: &Schema, file: &Schema) -> Option<Schema> {
    let mut by_lower_case: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, field) in file.fields().iter().enumerate() {
        let indices = by_lower_case
            .entry(field.name().to_lowercase())
            .or_default();
        indices.push(index);
    }
    let mut fields = file.fields().to_vec();
    let mut is_changed = false;
    for field in table.fields() {
        if file.field_with_name(field.name()).is_ok() {
            continue;
        }
        // With two candidates, neither is more right than the other: the column is missing.
        if let Some([index]) = by_lower_case
            .get(&field.name().to_lowercase())
            .map(Vec::as_slice)
        {
            let spelled = Field::clone(&fields[*index]).with_name(field.name());
            fields[*index] = Arc::new(spelled);
            is_changed = true;
        }
    }
    is_changed.then(|| Schema::new_with_metadata(fields, file.metadata().clone()))
}

/// Adapts expressions to a file whose columns are spelled differently.
#[derive(Debug)]
struct Respelled {
    /// Knows the columns of the file by the names of the table.
    adapter: Arc<dyn PhysicalExprAdapter>,
    /// Schema of the file.
    file: SchemaRef,
}

impl PhysicalExprAdapter for Respelled {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let adapted = self.adapter.rewrite(expr)?;
        // The Parquet reader looks statistics and pages up by the names of the file.
        adapted
            .transform_up(|node| {
                let Some(column) = node.downcast_ref::<Column>() else {
                    return Ok(Transformed::no(node));
                };
                let Some(field) = self.file.fields().get(column.index()) else {
                    return Ok(Transformed::no(node));
                };
                let spelled: Arc<dyn PhysicalExpr> =
                    Arc::new(Column::new(field.name(), column.index()));
                Ok(Transformed::yes(spelled))
            })
            .data()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn schema(names: &[&str]) -> Schema {
        let field = |name: &&str| Field::new(*name, DataType::Int32, true);
        Schema::new(names.iter().map(field).collect::<Vec<_>>())
    }

    #[test]
    fn a_column_in_another_case_is_found_unless_it_is_ambiguous() {
        let names = |table: &[&str], file: &[&str]| {
            respelled(&schema(table), &schema(file)).map(|schema| {
                let names = schema.fields().iter().map(|f| f.name().clone());
                names.collect::<Vec<_>>()
            })
        };
        assert_eq!(
            names(&["Nota", "b"], &["b", "nota"]).unwrap(),
            ["b", "Nota"]
        );
        assert_eq!(names(&["Média"], &["MÉDIA"]).unwrap(), ["Média"]);
        assert_eq!(names(&["a", "b"], &["b", "a", "c"]), None);
        assert_eq!(
            names(&["a"], &["a", "A"]),
            None,
            "the exact name is preferred"
        );
        assert_eq!(names(&["aB"], &["ab", "AB"]), None, "two candidates");
    }

    #[test]
    fn expressions_name_columns_as_the_file_does() {
        let (table, file) = (schema(&["Nota", "b"]), schema(&["b", "nota"]));
        let adapter = AnyCase.create(Arc::new(table), Arc::new(file)).unwrap();
        let adapted = adapter.rewrite(Arc::new(Column::new("Nota", 0))).unwrap();
        assert_eq!(adapted.to_string(), "nota@1");
    }
}
