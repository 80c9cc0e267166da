//! Finds columns by name, without regard to case. Errors suggest the nearest name.

use std::sync::Arc;

use arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use faisca_spark::dialect::without_mark;

use crate::error::{Error, NameKind, Result, nearest_or_all};

/// Replaces the columns of an expression with those of the schemas, which have the spelling of the
/// data.
///
/// # Errors
/// Returns an error for the first unknown column, which suggests the nearest name.
pub(super) fn resolve(expr: Expr, schemas: &[&DFSchema]) -> Result<Expr> {
    let mut unknown = None;
    let resolved = expr
        .transform(|node| match node {
            Expr::Column(column) => {
                let exact = schemas.iter().any(|s| s.has_column(&column));
                match if exact {
                    Some(column.clone())
                } else {
                    find_column(&column.name, schemas)
                } {
                    Some(column) => Ok(Transformed::yes(Expr::Column(column))),
                    // Reported after the traversal, which can fail with DataFusion's errors only.
                    None => {
                        unknown.get_or_insert(column.name.clone());
                        Ok(Transformed::no(Expr::Column(column)))
                    }
                }
            }
            other => Ok(Transformed::no(other)),
        })
        .data()?;
    match unknown {
        Some(name) => Err(unknown_column(&name, schemas)),
        None => Ok(resolved),
    }
}

/// Returns the first column of this name. An exact match wins over one that differs by case.
pub(super) fn find_column(name: &str, schemas: &[&DFSchema]) -> Option<Column> {
    let fields = || schemas.iter().flat_map(|s| s.iter());
    let exact = fields().find(|(_, f)| f.name() == name);
    let field =
        exact.or_else(|| fields().find(|(_, f)| f.name().to_lowercase() == name.to_lowercase()))?;
    Some(Column::new(field.0.cloned(), field.1.name()))
}

/// Returns the error for an unknown column, which suggests the nearest name.
pub(super) fn unknown_column(name: &str, schemas: &[&DFSchema]) -> Error {
    let names = schemas
        .iter()
        .flat_map(|schema| schema.fields().iter().map(|field| field.name().as_str()));
    let help = nearest_or_all(name, names, "columns here:");
    Error::UnknownName {
        kind: NameKind::Column,
        name: name.to_owned(),
        help,
    }
}

/// Returns the columns without the marks that distinguish duplicates: a result may have two columns
/// with the same name.
pub(super) fn remove_marks(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let name = without_mark(field.name());
        if name.len() == field.name().len() {
            Arc::clone(field)
        } else {
            Arc::new(field.as_ref().clone().with_name(name))
        }
    });
    let fields: Fields = fields.collect();
    SchemaRef::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
