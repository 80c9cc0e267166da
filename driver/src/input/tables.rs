//! The tables of a session, and the spelling of their columns.
//!
//! SQL sees the columns of every table in lower case; the data keeps its spelling. See
//! [`faisca_planner::names`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, TableReference};
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use faisca_planner::manifest::Source;
use faisca_planner::names::clash;
use faisca_spark::dialect::without_mark;
use parking_lot::RwLock;

use crate::error::{Error, Result};

/// The files of a table, for statements that write to it.
#[derive(Debug, Clone)]
pub(crate) struct TableFiles {
    /// Folder, format and options. Written files must be readable with the same options.
    pub(crate) source: Source,
    /// Columns whose values are in the names of folders.
    pub(crate) partition_by: Vec<String>,
    pub(crate) ownership: Ownership,
}

/// Whom the folder of a table belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// To the table. It is removed with the table.
    Managed,
    /// To the user, who named its location. It stays if the table is dropped.
    External,
}

/// What a statement said about a table that changes no rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableDetails {
    pub(crate) comment: Option<String>,
    pub(crate) properties: BTreeMap<String, String>,
    /// Options of the format, as written.
    pub(crate) options: Vec<(String, String)>,
    /// Comments of columns, by their names in lower case.
    pub(crate) column_comments: HashMap<String, String>,
}

/// A registered table.
#[derive(Clone)]
struct Entry {
    /// The table, with columns in the spelling of the data.
    provider: Arc<dyn TableProvider>,
    /// Column names, from lower case to the spelling of the data.
    spelling: HashMap<String, String>,
    files: Option<TableFiles>,
}

/// The registered tables of a session, by name in lower case.
#[derive(Default)]
pub(crate) struct Tables {
    entries: RwLock<HashMap<String, Entry>>,
    /// Spelling of every column seen so far, for columns of a result that no longer name their
    /// table, for example those of a subquery.
    spelling: RwLock<HashMap<String, String>>,
    /// Details of tables, by name in lower case. They stay when a table is registered again.
    details: RwLock<HashMap<String, TableDetails>>,
}

impl Tables {
    /// Registers `provider` under `name`, which is case-insensitive, and replaces a table of that
    /// name.
    ///
    /// # Errors
    /// Returns an error if two of its columns differ only by case.
    pub(crate) fn register(
        &self,
        context: &SessionContext,
        name: &str,
        provider: Arc<dyn TableProvider>,
        files: Option<TableFiles>,
    ) -> Result<()> {
        let schema = provider.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        if let Some((a, b)) = clash(names.iter().copied()) {
            let clash = Error::DuplicateColumns {
                first: a.to_owned(),
                second: b.to_owned(),
                help: "rename one, or give a schema",
            };
            return Err(clash.at(format!("table `{name}`")));
        }
        let lower = name.to_lowercase();
        let reference = TableReference::bare(lower.as_str());
        let sql_view = lower_case_view(&reference, &provider)?;
        let _ = context.deregister_table(reference.clone())?;
        context.register_table(reference, sql_view)?;
        let spelling: HashMap<String, String> = names
            .iter()
            .map(|n| (n.to_lowercase(), (*n).to_owned()))
            .collect();
        self.spelling.write().extend(spelling.clone());
        self.entries.write().insert(
            lower,
            Entry {
                provider,
                spelling,
                files,
            },
        );
        Ok(())
    }

    /// Adds the spelling of the columns of a table that is not registered here.
    pub(crate) fn remember_spelling(&self, schema: &SchemaRef) {
        let spelling = schema
            .fields()
            .iter()
            .map(|f| (f.name().to_lowercase(), f.name().clone()));
        self.spelling.write().extend(spelling);
    }

    // A poisoned lock is still usable everywhere in this type: each critical section makes one
    // change, so a panic leaves no partial state.
    fn entry(&self, name: &str) -> Option<Entry> {
        self.entries.read().get(&name.to_lowercase()).cloned()
    }

    /// Returns the table, with columns in the spelling of the data.
    pub(crate) fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.entry(name).map(|entry| entry.provider)
    }

    /// Returns true if there is a table of this name, in any case.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Returns the files of a table; `None` if it is unknown, or is a view or in memory.
    pub(crate) fn files(&self, name: &str) -> Option<TableFiles> {
        self.entry(name)?.files
    }

    /// Returns the names of all tables, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.entries.read().keys().cloned().collect();
        names.sort();
        names
    }

    /// Returns the details of a table, which are empty if no statement gave any.
    pub(crate) fn details(&self, name: &str) -> TableDetails {
        let details = self.details.read();
        details
            .get(&name.to_lowercase())
            .cloned()
            .unwrap_or_default()
    }

    /// Replaces the details of a table.
    pub(crate) fn set_details(&self, name: &str, details: TableDetails) {
        self.details.write().insert(name.to_lowercase(), details);
    }

    /// Removes a table. Does nothing if there is none of that name.
    pub(crate) fn remove(&self, name: &str) {
        self.details.write().remove(&name.to_lowercase());
        self.entries.write().remove(&name.to_lowercase());
    }

    /// Restores the spelling of a result's columns: that of their table, of their alias, or of any
    /// column seen before, in this order.
    pub(crate) fn restore(
        &self,
        frame: DfDataFrame,
        aliases: &HashMap<String, String>,
    ) -> Result<DfDataFrame> {
        let known = self.spelling.read().clone();
        let mut changed = false;
        let mut exprs = vec![];
        for (qualifier, field) in frame.schema().iter() {
            let name = without_mark(field.name());
            let mark = &field.name()[name.len()..];
            let table_spelling = qualifier
                .and_then(|q| self.entry(q.table()))
                .and_then(|entry| entry.spelling.get(name).cloned());
            let spelled = table_spelling
                .or_else(|| aliases.get(name).cloned())
                .or_else(|| known.get(name).cloned())
                .map(|spelled| format!("{spelled}{mark}"));
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            match spelled {
                Some(name) if name != *field.name() => {
                    changed = true;
                    exprs.push(column.alias(name));
                }
                _ => exprs.push(column),
            }
        }
        if !changed || exprs.len() != frame.schema().fields().len() {
            return Ok(frame);
        }
        Ok(frame.select(exprs)?)
    }
}

/// Returns the table with its columns in the order of `schema`, where partition keys may come
/// first. Returns the table itself if its columns are in that order already, or differ from those
/// of `schema`.
///
/// # Errors
/// Returns an error if the view cannot be planned.
pub(crate) fn reorder_columns(
    schema: &SchemaRef,
    provider: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let table_schema = provider.schema();
    let position = |field: &FieldRef| {
        let mut names = table_schema.fields().iter();
        names.position(|f| f.name().to_lowercase() == field.name().to_lowercase())
    };
    let positions: Option<Vec<usize>> = schema.fields().iter().map(position).collect();
    let Some(positions) =
        positions.filter(|positions| positions.len() == table_schema.fields().len())
    else {
        return Ok(provider);
    };
    if positions.is_sorted() {
        return Ok(provider);
    }
    let name = TableReference::bare("files");
    let columns = positions.into_iter().map(|index| {
        Expr::Column(Column::new(
            Some(name.clone()),
            table_schema.field(index).name(),
        ))
    });
    let plan = LogicalPlanBuilder::scan(name.clone(), provider_as_source(provider), None)?
        .project(columns)?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Returns the table as SQL sees it, with columns in lower case. Returns the table itself if they
/// are in lower case already.
pub(crate) fn lower_case_view(
    name: &TableReference,
    provider: &Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let schema = provider.schema();
    if schema
        .fields()
        .iter()
        .all(|f| f.name().to_lowercase() == *f.name())
    {
        return Ok(Arc::clone(provider));
    }
    let exprs = schema.fields().iter().map(|f| {
        Expr::Column(Column::new(Some(name.clone()), f.name())).alias(f.name().to_lowercase())
    });
    let plan =
        LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::clone(provider)), None)?
            .project(exprs)?
            .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
