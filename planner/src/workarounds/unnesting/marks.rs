//! Joins a subquery to the rows that it belongs to, and returns its value for each of them.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result, ScalarValue, not_impl_err};
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Distinct, Expr, ExprSchemable, FetchType, Filter, LogicalPlan,
    LogicalPlanBuilder, SkipType, Subquery, lit, not, when,
};

use super::Names;
use super::columns::select;
use super::dependent::{KeyedPlan, run_for_all};
use super::domain::{Domain, KeyedJoin};
use super::outer_columns::outer_columns;
use crate::workarounds::single_row::{SingleValue, has_one_row_at_most};

/// The rows of a query, with the subqueries that are joined to them so far.
pub(super) struct MarkedRows<'a> {
    /// The rows without subqueries, whose columns the subqueries may use.
    rows: &'a LogicalPlan,
    /// The rows with the subqueries.
    pub(super) plan: LogicalPlan,
    names: &'a Names,
    /// Subqueries that are joined already, each with the expression of its value.
    values: Vec<(Expr, Expr)>,
}

/// A subquery that runs for all rows at once.
struct KeyedSubquery {
    keyed: KeyedPlan,
    /// The columns of the rows, in the order of the keys.
    outer: Vec<Expr>,
    /// The first column of the subquery.
    item: Expr,
}

impl<'a> MarkedRows<'a> {
    pub(super) fn new(rows: &'a LogicalPlan, names: &'a Names) -> Self {
        Self {
            rows,
            plan: rows.clone(),
            names,
            values: vec![],
        }
    }

    /// Joins the subquery of `expr` and returns its value.
    pub(super) fn add(&mut self, expr: Expr) -> Result<Expr> {
        if let Some((_, value)) = self.values.iter().find(|(joined, _)| *joined == expr) {
            return Ok(value.clone());
        }
        let value = match expr.clone() {
            Expr::ScalarSubquery(subquery) => self.add_scalar(subquery)?,
            Expr::Exists(exists) => self.add_exists(exists)?,
            Expr::InSubquery(in_list) => self.add_in(in_list)?,
            other => return not_impl_err!("{other} in this position"),
        };
        self.values.push((expr, value.clone()));
        Ok(value)
    }

    /// Runs a subquery for the values of the columns that it uses.
    fn run(&self, plan: LogicalPlan) -> Result<KeyedSubquery> {
        let item = Expr::from(plan.schema().qualified_field(0));
        let mut columns = outer_columns(&plan)?;
        // The other columns belong to queries further out. They are replaced when this plan is
        // joined to those.
        columns.retain(|column| self.rows.schema().has_column(column));
        if columns.is_empty() {
            let keys = vec![];
            return Ok(KeyedSubquery {
                keyed: KeyedPlan { plan, keys },
                outer: vec![],
                item,
            });
        }
        let domain = Domain::new(self.rows, columns, self.names)?;
        Ok(KeyedSubquery {
            keyed: run_for_all(&domain, plan)?,
            outer: domain.outer().collect(),
            item,
        })
    }

    fn join(&mut self, plan: LogicalPlan, pairs: Vec<(Expr, Expr)>) -> Result<()> {
        let rows = std::mem::take(&mut self.plan);
        self.plan = KeyedJoin::new(JoinType::Left).build(rows, plan, pairs)?;
        Ok(())
    }

    /// Gives the keys of a plan new names, so that it can be joined a second time.
    fn rename_keys(
        &self,
        plan: LogicalPlan,
        item: &Expr,
        pairs: Vec<(Expr, Expr)>,
    ) -> Result<(LogicalPlan, Vec<(Expr, Expr)>)> {
        let (mut exprs, mut renamed) = (vec![item.clone()], vec![]);
        for (outer, key) in pairs {
            let name = self.names.next("outer");
            exprs.push(key.alias(&name));
            renamed.push((outer, Expr::Column(Column::new_unqualified(name))));
        }
        Ok((select(plan, &[], exprs)?, renamed))
    }

    fn add_scalar(&mut self, subquery: Subquery) -> Result<Expr> {
        let is_single = has_one_row_at_most(&subquery.subquery);
        let joined = self.run(Arc::unwrap_or_clone(subquery.subquery))?;
        let pairs = joined.pairs();
        let KeyedSubquery { keyed, item, .. } = joined;
        let name = self.names.next("value");
        let plan = match is_single {
            true => select(keyed.plan, &keyed.keys, [item.alias(&name)])?,
            false => {
                let value = AggregateUDF::from(SingleValue::default()).call(vec![item]);
                let keys = keyed.keys.iter().cloned().map(Expr::Column).collect();
                let values = vec![value.alias(&name)];
                LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(keyed.plan), keys, values)?)
            }
        };
        self.join(plan, pairs)?;
        Ok(Expr::Column(Column::new_unqualified(name)))
    }

    fn add_exists(&mut self, exists: Exists) -> Result<Expr> {
        let joined = self.run(Arc::unwrap_or_clone(exists.subquery.subquery))?;
        let pairs = joined.pairs();
        let KeyedPlan { plan, keys } = joined.keyed;
        let name = self.names.next("mark");
        let mark = lit(true).alias(&name);
        let plan = match keys.is_empty() {
            true => LogicalPlanBuilder::from(select(plan, &[], [mark])?)
                .limit(0, Some(1))?
                .build()?,
            false => select(distinct(select(plan, &keys, [])?), &keys, [mark])?,
        };
        self.join(plan, pairs)?;
        let mark = Expr::Column(Column::new_unqualified(name));
        Ok(match exists.negated {
            true => mark.is_null(),
            false => mark.is_not_null(),
        })
    }

    fn add_in(&mut self, in_list: InSubquery) -> Result<Expr> {
        let value = *in_list.expr;
        let value_may_be_null = value.nullable(self.plan.schema()).unwrap_or(true);
        let joined = self.run(Arc::unwrap_or_clone(in_list.subquery.subquery))?;
        let pairs = joined.pairs();
        let KeyedSubquery { keyed, item, .. } = joined;
        let item_may_be_null = item.nullable(keyed.plan.schema()).unwrap_or(true);
        let item_name = self.names.next("item");
        let items = select(keyed.plan, &keyed.keys, [item.alias(&item_name)])?;
        let item = Expr::Column(Column::new_unqualified(item_name));

        let name = self.names.next("mark");
        let known_items = Filter::try_new(item.clone().is_not_null(), Arc::new(items.clone()))?;
        let known_items = distinct(LogicalPlan::Filter(known_items));
        let columns: Vec<Expr> = known_items
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let mark = lit(true).alias(&name);
        let marked_items = select(known_items, &[], columns.into_iter().chain([mark]))?;
        let equal = (value.clone(), item.clone());
        self.join(marked_items, pairs.iter().cloned().chain([equal]).collect())?;
        let is_member = Expr::Column(Column::new_unqualified(name)).is_not_null();

        let mut result = when(is_member, lit(true));
        if value_may_be_null || item_may_be_null {
            let (row_count, known_count) = (self.names.next("rows"), self.names.next("items"));
            let (items, pairs) = self.rename_keys(items, &item, pairs)?;
            let keys = pairs.iter().map(|(_, key)| key.clone()).collect();
            let rows = count(lit(1_i64)).alias(&row_count);
            let counts = vec![rows, count(item).alias(&known_count)];
            let counts = Aggregate::try_new(Arc::new(items), keys, counts)?;
            self.join(LogicalPlan::Aggregate(counts), pairs)?;
            let column = |name: String| Expr::Column(Column::new_unqualified(name));
            let (row_count, known_count) = (column(row_count), column(known_count));
            let has_null_item = row_count.clone().gt(known_count);
            let is_null_value = value.is_null().and(row_count.gt(lit(0_i64)));
            let is_unknown = has_null_item.or(is_null_value);
            result = result.when(is_unknown, lit(ScalarValue::Boolean(None)));
        }
        let result = result.otherwise(lit(false))?;
        Ok(match in_list.negated {
            true => not(result),
            false => result,
        })
    }
}

impl KeyedSubquery {
    fn pairs(&self) -> Vec<(Expr, Expr)> {
        let keys = self.keyed.keys.iter().cloned().map(Expr::Column);
        self.outer.iter().cloned().zip(keys).collect()
    }
}

/// Removes sorts, DISTINCT and limits from a subquery of EXISTS where they do not change whether it
/// has a row.
pub(super) fn strip_exists_subquery(plan: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    Ok(match plan.as_ref() {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
            strip_exists_subquery(Arc::clone(&sort.input))?
        }
        LogicalPlan::Distinct(Distinct::All(input)) => strip_exists_subquery(Arc::clone(input))?,
        LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (SkipType::Literal(0), FetchType::Literal(Some(1..) | None)) => {
                strip_exists_subquery(Arc::clone(&limit.input))?
            }
            _ => plan,
        },
        _ => plan,
    })
}

fn distinct(plan: LogicalPlan) -> LogicalPlan {
    LogicalPlan::Distinct(Distinct::All(Arc::new(plan)))
}
