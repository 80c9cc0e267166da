//! Computes rows once if several steps of a job read them, or one step reads them several times.
//!
//! This is worth its cost for two kinds of tables. A text file is parsed completely, even if a
//! reader needs few of its columns. A view with joins or aggregates is computed again for each
//! reader.
//!
//! The scans of such tables are found in optimized plans. All scans of one table are replaced by
//! scans of one [`SharedRows`], which reads the columns that any of them needs, and the rows that
//! pass the filters of at least one. The steps are then cut into one graph of stages, where
//! [`faisca_planner::stages::share`] merges equal stages.
//!
//! ```text
//!   step a: means of x by k, from c.csv           s2 means, write 1    s3 counts, write 2
//!   step b: counts of y by k, from c.csv   ──►             s0, columns k, x, y of c.csv
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, Result, internal_datafusion_err};
use datafusion::datasource::{TableType, provider_as_source, source_as_provider};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableScan,
};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use faisca_planner::MaterializeExec;
use tokio::sync::OnceCell;

use super::folder_table::FolderTable;

/// A view that several steps read, and whose rows are expensive to compute. The optimizer does not
/// inline it as it does a plain view, so its scans can be found.
#[derive(Debug)]
pub(crate) struct SharedView {
    plan: LogicalPlan,
}

impl SharedView {
    /// Returns a shared view, or `None` if its rows are cheap to compute.
    pub(crate) fn new(plan: LogicalPlan) -> Option<Self> {
        is_costly(&plan).then_some(Self { plan })
    }

    /// Returns true if the view reads `table`, directly or through another view.
    fn reads(&self, table: &Arc<dyn TableProvider>) -> bool {
        let mut is_read = false;
        let searched = visit_shareable(&self.plan, |provider, _| {
            is_read |= Arc::ptr_eq(&provider, table)
                || provider
                    .downcast_ref::<Self>()
                    .is_some_and(|view| view.reads(table));
        });
        searched.is_ok() && is_read
    }
}

/// Returns true if a plan parses text, joins, aggregates or sorts.
fn is_costly(plan: &LogicalPlan) -> bool {
    let is_costly_node = |node: &LogicalPlan| match node {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(_) => Ok(true),
        LogicalPlan::TableScan(scan) => Ok(is_costly_scan(scan)),
        _ => Ok::<bool, DataFusionError>(false),
    };
    plan.exists(is_costly_node).unwrap_or(false)
}

/// Returns true if a scan parses text files or reads a costly view.
fn is_costly_scan(scan: &TableScan) -> bool {
    let Ok(provider) = source_as_provider(&scan.source) else {
        return false;
    };
    if let Some(view) = provider.get_logical_plan() {
        return is_costly(&view);
    }
    provider
        .downcast_ref::<FolderTable>()
        .is_some_and(FolderTable::is_text)
}

#[async_trait]
impl TableProvider for SharedView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|_| TableProviderFilterPushDown::Inexact)
            .collect())
    }

    /// Plans the view for a single reader; its rows are not shared.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema().fields().len()).collect());
        let plan = with_needed_columns(self.plan.clone(), &columns, conjunction(filters.to_vec()))?;
        physical_plan(&session_state(state)?.optimize(&plan)?, state).await
    }
}

/// The rows that the readers of a table need together, computed once.
struct SharedRows {
    /// Schema of the complete table.
    schema: SchemaRef,
    /// Indices of the columns that are computed, in ascending order.
    columns: Vec<usize>,
    /// The optimized plan that computes the rows.
    plan: LogicalPlan,
    /// True if there are several readers, so that the rows are materialized.
    is_materialized: bool,
    /// The physical plan. All readers get the same plan, so that equal stages can be recognized.
    planned: OnceCell<Arc<dyn ExecutionPlan>>,
}

impl fmt::Debug for SharedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRows")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SharedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planned = self
            .planned
            .get_or_try_init(|| physical_plan(&self.plan, state))
            .await?;
        let rows: Arc<dyn ExecutionPlan> = if self.is_materialized {
            Arc::new(MaterializeExec::new(Arc::clone(planned)))
        } else {
            Arc::clone(planned)
        };
        let columns = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        if columns == self.columns {
            return Ok(rows);
        }
        let column = |index: &usize| {
            let position = self.columns.iter().position(|column| column == index);
            let position = position.ok_or_else(|| {
                internal_datafusion_err!("column {index} of a shared table is not computed")
            })?;
            let name = self.schema.field(*index).name();
            Ok((
                Arc::new(PhysicalColumn::new(name, position)) as _,
                name.clone(),
            ))
        };
        let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(columns, rows)?))
    }
}

/// Converts an optimized plan to a physical plan. Physical optimizer rules do not run here: they
/// run later on the complete plan, which includes this one.
async fn physical_plan(plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    let without_rules = SessionStateBuilder::new_from_existing(session_state(state)?.clone())
        .with_physical_optimizer_rules(vec![])
        .build();
    DefaultPhysicalPlanner::default()
        .create_physical_plan(plan, &without_rules)
        .await
}

/// Returns the concrete type of the session, which optimizer rules require.
fn session_state(state: &dyn Session) -> Result<&SessionState> {
    state
        .as_any()
        .downcast_ref::<SessionState>()
        .ok_or_else(|| internal_datafusion_err!("not a session of DataFusion"))
}

/// Restricts a plan to the rows that pass a filter, and to the columns of these indices.
fn with_needed_columns(
    plan: LogicalPlan,
    columns: &[usize],
    filter: Option<Expr>,
) -> Result<LogicalPlan> {
    let all: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let mut builder = LogicalPlanBuilder::from(plan);
    if let Some(filter) = filter {
        builder = builder.filter(remove_qualifiers(filter)?)?;
    }
    builder
        .project(columns.iter().filter_map(|index| all.get(*index).cloned()))?
        .build()
}

/// Removes the qualifiers of columns, because each reader may use a different alias of the table.
fn remove_qualifiers(filter: Expr) -> Result<Expr> {
    let bare = |expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
            column.name,
        )))),
        other => Ok(Transformed::no(other)),
    };
    filter.transform(bare).data()
}

/// Plans that run together because they read the same rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Indices of the plans, in ascending order.
    pub(crate) members: Vec<usize>,
    /// Names of the tables whose rows they share.
    pub(crate) tables: BTreeSet<String>,
}

/// All scans of one table, each with the index of the plan that contains it.
struct Readers {
    provider: Arc<dyn TableProvider>,
    scans: Vec<(usize, TableScan)>,
}

/// A table whose rows are computed once.
struct SharedTable {
    provider: Arc<dyn TableProvider>,
    name: String,
    rows: SharedRows,
    is_materialized: bool,
    /// Indices of the steps that read it, directly or through a view.
    steps: BTreeSet<usize>,
}

/// A table and its replacement.
type Replacement = (Arc<dyn TableProvider>, Arc<dyn TableProvider>);

/// Rewrites optimized plans so that rows with several readers are computed once. Returns the plans
/// in their order, and the groups of plans that must run as one query. Each plan is in one group.
///
/// # Errors
/// Returns an error if DataFusion cannot rebuild a plan.
pub(crate) fn share_scans(
    mut plans: Vec<LogicalPlan>,
    state: &SessionState,
) -> Result<(Vec<LogicalPlan>, Vec<Group>)> {
    let steps = plans.len();
    let mut shared_tables: Vec<SharedTable> = vec![];
    // The plan of a shared view may itself read shared tables. It is therefore appended to `plans`:
    // index `steps + n` is the plan of `shared_tables[n]`.
    while let Some(readers) = next_shared_table(&plans, &shared_tables)? {
        let name = readers.scans[0].1.table_name.table().to_owned();
        let rows = rows_for(&readers.scans, state)?;
        let reads = |(plan, _): &(usize, TableScan)| {
            plan.checked_sub(steps).map_or_else(
                || BTreeSet::from([*plan]),
                |view| shared_tables[view].steps.clone(),
            )
        };
        let reading_steps = readers.scans.iter().flat_map(reads).collect();
        plans.push(rows.plan.clone());
        shared_tables.push(SharedTable {
            provider: readers.provider,
            name,
            rows,
            is_materialized: readers.scans.len() > 1,
            steps: reading_steps,
        });
    }
    let groups = group_steps(steps, &shared_tables);
    let mut shared: Vec<Replacement> = vec![];
    // The plan of a table can read only tables that were added after it. In reverse order, their
    // replacements are ready when it needs them.
    for SharedTable {
        provider,
        rows,
        is_materialized,
        ..
    } in shared_tables.into_iter().rev()
    {
        let rows = SharedRows {
            plan: replace_scans(rows.plan, &shared)?,
            is_materialized,
            ..rows
        };
        shared.push((provider, Arc::new(rows)));
    }
    plans.truncate(steps);
    let plans = plans
        .into_iter()
        .map(|plan| replace_scans(plan, &shared))
        .collect::<Result<_>>()?;
    Ok((plans, groups))
}

/// Returns the next table to share: a shared view, or a text file with several scans. A table that
/// a remaining view reads has to wait, because the plan of that view adds another scan of it.
fn next_shared_table(
    plans: &[LogicalPlan],
    shared_tables: &[SharedTable],
) -> Result<Option<Readers>> {
    let mut all = all_readers(plans)?;
    all.retain(|readers| {
        !shared_tables
            .iter()
            .any(|table| Arc::ptr_eq(&table.provider, &readers.provider))
    });
    let is_read_by_a_view = |readers: &Readers| {
        all.iter().any(|other| {
            other
                .provider
                .downcast_ref::<SharedView>()
                .is_some_and(|view| view.reads(&readers.provider))
        })
    };
    let next = all.iter().position(|readers| {
        (readers.provider.is::<SharedView>() || readers.scans.len() > 1)
            && !is_read_by_a_view(readers)
    });
    Ok(next.map(|next| all.swap_remove(next)))
}

/// Groups the steps that share rows, directly or through other steps.
fn group_steps(steps: usize, shared_tables: &[SharedTable]) -> Vec<Group> {
    let mut groups: Vec<Group> = (0..steps)
        .map(|step| Group {
            members: vec![step],
            tables: BTreeSet::new(),
        })
        .collect();
    for table in shared_tables.iter().filter(|table| table.is_materialized) {
        let (joined, separate): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group| group.members.iter().any(|step| table.steps.contains(step)));
        groups = separate;
        let tables = joined
            .iter()
            .flat_map(|group| group.tables.clone())
            .chain([table.name.clone()])
            .collect();
        let mut members: Vec<usize> = joined.into_iter().flat_map(|group| group.members).collect();
        members.sort_unstable();
        groups.push(Group { members, tables });
    }
    groups.sort_by_key(|group| group.members.first().copied());
    groups
}

/// Collects the scans that can be shared, by table.
fn all_readers(plans: &[LogicalPlan]) -> Result<Vec<Readers>> {
    let mut all: Vec<Readers> = vec![];
    for (number, plan) in plans.iter().enumerate() {
        visit_shareable(plan, |provider, scan| {
            let scan = (number, scan.clone());
            match all
                .iter_mut()
                .find(|readers| Arc::ptr_eq(&readers.provider, &provider))
            {
                Some(readers) => readers.scans.push(scan),
                None => all.push(Readers {
                    provider,
                    scans: vec![scan],
                }),
            }
        })?;
    }
    Ok(all)
}

/// Calls `visit` with each scan of a plan that can be shared, and with its table.
fn visit_shareable(
    plan: &LogicalPlan,
    mut visit: impl FnMut(Arc<dyn TableProvider>, &TableScan),
) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(provider) = shareable(scan)?
        {
            visit(provider, scan);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

/// Returns the table of a scan if the scan can be shared. The plan must then repeat every filter of
/// the scan above it, because the shared rows also contain those that other scans need.
fn shareable(scan: &TableScan) -> Result<Option<Arc<dyn TableProvider>>> {
    let Ok(provider) = source_as_provider(&scan.source) else {
        return Ok(None);
    };
    let is_worth_it = provider.is::<SharedView>()
        || provider.get_logical_plan().is_none() && is_costly_scan(scan);
    let filters: Vec<&Expr> = scan.filters.iter().collect();
    let is_filtered_above = !provider
        .supports_filters_pushdown(&filters)?
        .contains(&TableProviderFilterPushDown::Exact);
    Ok((is_worth_it && is_filtered_above && scan.fetch.is_none()).then_some(provider))
}

/// Returns the rows and columns that these scans of one table need together.
fn rows_for(scans: &[(usize, TableScan)], state: &SessionState) -> Result<SharedRows> {
    let (_, first) = &scans[0];
    let schema = first.source.schema();
    let all = || (0..schema.fields().len()).collect::<Vec<_>>();
    let columns: BTreeSet<usize> = scans
        .iter()
        .flat_map(|(_, scan)| scan.projection.clone().unwrap_or_else(all))
        .collect();
    let columns: Vec<usize> = columns.into_iter().collect();
    // `None` if one scan has no filter: it needs all rows.
    let filters: Option<Vec<Expr>> = scans
        .iter()
        .map(|(_, scan)| conjunction(scan.filters.clone()).and_then(|f| remove_qualifiers(f).ok()))
        .collect();
    let provider = source_as_provider(&first.source)?;
    let whole = match provider.downcast_ref::<SharedView>() {
        Some(view) => view.plan.clone(),
        None => {
            LogicalPlanBuilder::scan(first.table_name.clone(), Arc::clone(&first.source), None)?
                .build()?
        }
    };
    let plan = state.optimize(&with_needed_columns(
        whole,
        &columns,
        filters.and_then(disjunction),
    )?)?;
    Ok(SharedRows {
        schema,
        columns,
        plan,
        is_materialized: false,
        planned: OnceCell::new(),
    })
}

/// Replaces scans of the given tables in a plan by scans of their replacements.
fn replace_scans(plan: LogicalPlan, shared: &[Replacement]) -> Result<LogicalPlan> {
    let replace = |node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(Transformed::no(node));
        };
        let provider = shareable(&scan)?;
        let is_scanned = |(table, _): &&Replacement| {
            provider
                .as_ref()
                .is_some_and(|provider| Arc::ptr_eq(table, provider))
        };
        Ok(match shared.iter().find(is_scanned) {
            Some((_, rows)) => {
                let source = provider_as_source(Arc::clone(rows));
                Transformed::yes(LogicalPlan::TableScan(TableScan {
                    source,
                    filters: vec![],
                    ..scan
                }))
            }
            None => Transformed::no(LogicalPlan::TableScan(scan)),
        })
    };
    plan.transform_down_with_subqueries(replace).data()
}
