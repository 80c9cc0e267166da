//! Tables that a query names by format and path: ``SELECT * FROM parquet.`/data/sales` ``.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, visit_relations};
use faisca_planner::statement::on_stack_for;
use faisca_spark::dialect::parse_as_written;

use super::existing::parse_format;
use crate::error::{Error, Result};
use crate::input::lower_case_view;
use crate::input::source::{default_source, open};
use crate::services::Services;

/// Catalog of the session.
const CATALOG: &str = "spark_catalog";

/// A format and a path in place of a table name.
#[derive(Debug, PartialEq, Eq)]
struct PathTable {
    /// Name of the format in lower case, written where a table name has its database.
    format: String,
    path: String,
}

/// Registers the paths that a statement names as tables for the planner.
///
/// # Errors
/// Returns an error if the files cannot be read, or two paths differ only by case: the planner sees
/// names in lower case.
pub(super) async fn register_paths(services: &Arc<Services>, sql: &str) -> Result<()> {
    // A path is always quoted with backticks.
    if !sql.contains('`') {
        return Ok(());
    }
    let tables = on_stack_for(sql, || path_tables(sql));
    for (n, table) in tables.iter().enumerate() {
        let lower = table.path.to_lowercase();
        if let Some(other) = tables[..n]
            .iter()
            .find(|other| other.path != table.path && other.path.to_lowercase() == lower)
        {
            return Err(Error::Plan(format!(
                "`{}` and `{}` differ only by case; read them in two statements",
                other.path, table.path
            )));
        }
        register(services, table, lower).await?;
    }
    Ok(())
}

async fn register(services: &Arc<Services>, table: &PathTable, lower: String) -> Result<()> {
    let format = parse_format(&table.format)?;
    let source = default_source(&table.path, &table.path, format);
    let provider = open(&services.context, &source).await?;
    services.tables.remember_spelling(&provider.schema());
    if let Some(catalog) = services.context.catalog(CATALOG)
        && catalog.schema(&table.format).is_none()
    {
        let schema = Arc::new(MemorySchemaProvider::new());
        catalog.register_schema(&table.format, schema)?;
    }
    let reference = TableReference::partial(table.format.clone(), lower);
    let view = lower_case_view(&reference, &provider)?;
    // An earlier statement may have registered the path with files that have changed since.
    let _ = services.context.deregister_table(reference.clone())?;
    services.context.register_table(reference, view)?;
    Ok(())
}

/// Returns the paths that a statement names. Returns none if the statement cannot be parsed: the
/// planner reports that error.
fn path_tables(sql: &str) -> Vec<PathTable> {
    let mut tables = Vec::new();
    let Ok(statements) = parse_as_written(sql) else {
        return tables;
    };
    let _ = visit_relations(&statements, |name: &ObjectName| {
        if let [format, path] = name.0.as_slice()
            && let (Some(format), Some(path)) = (format.as_ident(), path.as_ident())
            && is_path(format, path)
        {
            let table = PathTable {
                format: format.value.to_lowercase(),
                path: path.value.clone(),
            };
            if parse_format(&table.format).is_ok() && !tables.contains(&table) {
                tables.push(table);
            }
        }
        ControlFlow::<()>::Continue(())
    });
    tables
}

/// Whether a name after a format is a path. Tools that quote each part write `` `csv`.`t` `` for a
/// table of a database that has the name of a format.
fn is_path(format: &Ident, name: &Ident) -> bool {
    name.value.contains('/') || (format.quote_style.is_none() && name.quote_style == Some('`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_case_and_table_names_are_not_paths() {
        let sql = "SELECT * FROM Parquet.`/Data/A` JOIN csv.`s3://b/x.csv` JOIN default.t JOIN `a/b` \
                   JOIN json.`People` JOIN json.people JOIN `json`.`people`";
        let tables = path_tables(sql);
        let expected = [
            ("parquet", "/Data/A"),
            ("csv", "s3://b/x.csv"),
            ("json", "People"),
        ];
        let expected = expected.map(|(format, path)| PathTable {
            format: format.to_owned(),
            path: path.to_owned(),
        });
        assert_eq!(tables, expected);
    }
}
