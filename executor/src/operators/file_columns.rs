//! Reads the columns of a Parquet file as those of its table: finds them without regard to case,
//! also within structs, and casts them to the types of the table.
//!
//! DataFusion's own adapter finds columns by their exact name only. Its casts of flat types are
//! kept, because pruning understands them. Nested types are converted here.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeListArray, ListArray, MapArray, RecordBatch, StructArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapter, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::ExecutionPlan;

use super::guarded_scan::GuardedScan;

/// Lets every scan of Parquet read the columns of its files as those of the table, and guards it
/// against damaged files.
///
/// # Errors
/// Returns an error if a plan cannot be rebuilt, which would be a bug.
pub(crate) fn adapt_scans(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let config = node.downcast_ref::<DataSourceExec>().and_then(|scan| {
            (scan.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>()
        });
        match config.filter(|config| config.file_source.is::<ParquetSource>()) {
            Some(config) => {
                let config = FileScanConfigBuilder::from(config.clone())
                    .with_expr_adapter(Some(Arc::new(FileColumnsFactory)))
                    .build();
                let scan = DataSourceExec::from_data_source(config.clone());
                Ok(Transformed::yes(
                    Arc::new(GuardedScan::new(scan, &config)) as Arc<dyn ExecutionPlan>
                ))
            }
            None => Ok(Transformed::no(node)),
        }
    })
    .data()
}

#[derive(Debug)]
struct FileColumnsFactory;

impl PhysicalExprAdapterFactory for FileColumnsFactory {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(FileColumns::new(table, file)?))
    }
}

/// Rewrites expressions on the columns of the table to expressions on those of one file.
#[derive(Debug)]
struct FileColumns {
    /// Adapts to a file that has the table's names and nested types.
    adapter: DefaultPhysicalExprAdapter,
    file: SchemaRef,
    /// The fields that nested columns of the file are converted to, by position in the file.
    converted: HashMap<usize, FieldRef>,
}

impl FileColumns {
    fn new(table: SchemaRef, file: SchemaRef) -> Result<Self> {
        let positions = positions_in_file(&table, &file)?;
        let mut converted = HashMap::new();
        let mut fields: Vec<FieldRef> = file.fields().iter().cloned().collect();
        for (column, index) in table.fields().iter().zip(positions) {
            let Some(index) = index else { continue };
            let own = Arc::clone(&fields[index]);
            let needs_conversion = own.data_type() != column.data_type()
                && (own.data_type().is_nested() || column.data_type().is_nested());
            if needs_conversion {
                converted.insert(index, Arc::clone(column));
                fields[index] = Arc::clone(column);
            } else if own.name() != column.name() {
                fields[index] = Arc::new(own.as_ref().clone().with_name(column.name()));
            }
        }
        let renamed = Schema::new_with_metadata(fields, file.metadata().clone());
        Ok(Self {
            adapter: DefaultPhysicalExprAdapter::new(table, Arc::new(renamed)),
            file,
            converted,
        })
    }
}

impl PhysicalExprAdapter for FileColumns {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.adapter.rewrite(expr)?;
        // The reader finds columns by the names of the file, so these are restored.
        expr.transform_up(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let index = column.index();
            let Some(own) = self.file.fields().get(index) else {
                return Ok(Transformed::no(expr));
            };
            let own: Arc<dyn PhysicalExpr> = Arc::new(Column::new(own.name(), index));
            Ok(Transformed::yes(match self.converted.get(&index) {
                Some(target) => Arc::new(ConvertNested {
                    column: own,
                    target: Arc::clone(target),
                }),
                None => own,
            }))
        })
        .data()
    }
}

/// Returns the position in the file of each column of the table. The exact name counts first, then
/// the only name that differs by case.
fn positions_in_file(table: &Schema, file: &Schema) -> Result<Vec<Option<usize>>> {
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, field) in file.fields().iter().enumerate() {
        by_name
            .entry(field.name().to_lowercase())
            .or_default()
            .push(at);
    }
    let position = |column: &FieldRef| {
        let Some(positions) = by_name.get(&column.name().to_lowercase()) else {
            return Ok(None);
        };
        let mut same = positions
            .iter()
            .filter(|at| file.field(**at).name() == column.name());
        let exact = same.next();
        if same.next().is_some() {
            return plan_err!("a file has two columns named `{}`", column.name());
        }
        match (exact, positions.as_slice()) {
            (Some(at), _) | (None, [at]) => Ok(Some(*at)),
            _ => plan_err!(
                "a file has several columns whose names differ from `{}` only by case",
                column.name()
            ),
        }
    };
    table.fields().iter().map(position).collect()
}

/// Converts a nested column of a file to the type of the table.
#[derive(Debug, Eq)]
struct ConvertNested {
    column: Arc<dyn PhysicalExpr>,
    target: FieldRef,
}

impl PartialEq for ConvertNested {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column) && self.target == other.target
    }
}

impl Hash for ConvertNested {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.target.hash(state);
    }
}

impl fmt::Display for ConvertNested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.column, self.target.data_type())
    }
}

impl PhysicalExpr for ConvertNested {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(self.target.is_nullable())
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(convert(
            &array,
            self.target.data_type(),
        )?))
    }

    fn return_field(&self, _: &Schema) -> Result<FieldRef> {
        Ok(Arc::clone(&self.target))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            column: children.pop().unwrap_or_else(|| Arc::clone(&self.column)),
            target: Arc::clone(&self.target),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Converts values to another type. Fields of structs are found by name without regard to case;
/// missing fields are null.
fn convert(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    Ok(match (array.data_type(), target) {
        (DataType::Struct(own), DataType::Struct(fields)) => {
            Arc::new(convert_struct(array.as_struct(), own, fields)?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = convert(list.values(), item.data_type())?;
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                list.offsets().clone(),
                values,
                nulls,
            )?)
        }
        (DataType::LargeList(_), DataType::LargeList(item)) => {
            let list = array.as_list::<i64>();
            let values = convert(list.values(), item.data_type())?;
            let nulls = list.nulls().cloned();
            Arc::new(LargeListArray::try_new(
                Arc::clone(item),
                list.offsets().clone(),
                values,
                nulls,
            )?)
        }
        // Another kind of list is first cast to the target's kind, with its own items.
        (
            DataType::List(own) | DataType::LargeList(own) | DataType::FixedSizeList(own, _),
            DataType::List(_) | DataType::LargeList(_),
        ) => {
            let item = Arc::new(own.as_ref().clone());
            let kind = match target {
                DataType::List(_) => DataType::List(item),
                _ => DataType::LargeList(item),
            };
            convert(&cast_strictly(array, &kind)?, target)?
        }
        (DataType::Map(_, _), DataType::Map(entries, is_sorted)) => {
            convert_map(array.as_map(), entries, *is_sorted)?
        }
        _ => cast_strictly(array, target)?,
    })
}

fn convert_struct(array: &StructArray, own: &Fields, fields: &Fields) -> Result<StructArray> {
    let column = |field: &FieldRef| {
        let name = field.name().to_lowercase();
        let is_exact = |own: &FieldRef| own.name() == field.name();
        let at = own.iter().position(is_exact);
        match at.or_else(|| own.iter().position(|own| own.name().to_lowercase() == name)) {
            Some(at) => convert(array.column(at), field.data_type()),
            None => Ok(new_null_array(field.data_type(), array.len())),
        }
    };
    let columns = fields.iter().map(column).collect::<Result<Vec<_>>>()?;
    let nulls = array.nulls().cloned();
    Ok(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        nulls,
        array.len(),
    )?)
}

/// Writers name keys and values differently, so these are matched by position.
fn convert_map(map: &MapArray, entries: &Arc<Field>, is_sorted: bool) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return plan_err!("the entries of a map are {}", entries.data_type());
    };
    let columns = [map.keys(), map.values()].into_iter().zip(fields);
    let columns = columns
        .map(|(column, field)| convert(column, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        offsets,
        pairs,
        nulls,
        is_sorted,
    )?))
}

/// Casts values. A value that does not fit is an error, never null.
fn cast_strictly(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(array, target, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn structs_are_converted_by_name_in_any_case_and_lists_by_their_items() {
        let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
        let own = Fields::from(vec![
            field("AÇÃO", DataType::Int32),
            field("x", DataType::Utf8),
        ]);
        let values: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec!["a", "b"])),
        ];
        let array: ArrayRef = Arc::new(StructArray::new(own, values, None));
        let target = DataType::Struct(Fields::from(vec![
            field("x", DataType::Utf8),
            field("ação", DataType::Int64),
            field("new", DataType::Date32),
        ]));
        let converted = convert(&array, &target).unwrap();
        assert_eq!(converted.data_type(), &target);
        let expected = Int64Array::from(vec![1, 2]);
        assert_eq!(
            converted.as_struct().column(1).as_ref(),
            &expected as &dyn Array
        );
        assert_eq!(converted.as_struct().column(2).null_count(), 2);
    }

    #[test]
    fn the_exact_name_is_preferred_to_other_spellings() {
        let schema = |names: &[&str]| {
            let field = |name: &&str| Field::new(*name, DataType::Int32, true);
            Schema::new(names.iter().map(field).collect::<Vec<_>>())
        };
        let file = schema(&["A", "a", "B"]);
        assert_eq!(
            positions_in_file(&schema(&["a", "b", "c"]), &file).unwrap(),
            [Some(1), Some(2), None]
        );
        let file = schema(&["NOTA", "Nota"]);
        assert!(positions_in_file(&schema(&["nota"]), &file).is_err());
    }
}
