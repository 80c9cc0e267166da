//! The graph of a tree of inner joins: relations, equalities between them, and other predicates.
//!
//! The columns of all relations are numbered consecutively. Expressions in the graph refer to these
//! numbers.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, Result, internal_datafusion_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;

use crate::estimate::{estimate, selectivity};
use crate::physical::{column_index, has_plain_keys};
use crate::statistics::{ColumnValues, Estimate};

/// A set of relations: bit *i* stands for relation *i*.
pub(super) type Set = u64;
/// Number of relations that fit into a [`Set`].
const RELATIONS_MAX: usize = 64;

type Expr = Arc<dyn PhysicalExpr>;

#[derive(Debug, Default)]
pub(super) struct Graph {
    products: Products,
    pub(super) relations: Vec<Arc<dyn ExecutionPlan>>,
    /// Number of each relation's first column, and one more for the end.
    starts: Vec<usize>,
    /// Classes of expressions that are equal to each other, each with its relation.
    classes: Vec<Vec<(usize, Expr)>>,
    /// Predicates over several relations that are not equalities between two of them.
    pub(super) conditions: Vec<Expr>,
    /// The columns of the plan that was taken apart.
    pub(super) output: Vec<usize>,
    /// The joins in the order in which they are written.
    pub(super) written: Vec<(Set, Set)>,
}

/// Whether cross joins are taken apart too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Products {
    /// Each cross join is a relation.
    #[default]
    Opaque,
    /// A cross join's sides are relations: a predicate elsewhere may join them.
    Decomposed,
}

/// Takes a tree of inner joins of at least three relations apart; `None` for any other plan.
pub(super) fn decompose(plan: &Arc<dyn ExecutionPlan>, products: Products) -> Option<Graph> {
    if !is_inner_join(plan, products) {
        return None;
    }
    let mut graph = Graph {
        products,
        starts: vec![0],
        ..Graph::default()
    };
    (graph.output, _) = graph.add(plan)?;
    let is_supported_size = (3..=RELATIONS_MAX).contains(&graph.relations.len());
    (is_supported_size && graph.has_one_member_per_relation()).then_some(graph)
}

/// Whether a plan is an inner join that may be taken apart, perhaps below projections and filters.
fn is_inner_join(plan: &Arc<dyn ExecutionPlan>, products: Products) -> bool {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return *join.join_type() == JoinType::Inner
            && has_plain_keys(join)
            && join.fetch().is_none()
            && !join.on().is_empty();
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projection
            .expr()
            .iter()
            .all(|projected| projected.expr.is::<Column>())
            && is_inner_join(projection.input(), products);
    }
    if plan.is::<CrossJoinExec>() {
        return products == Products::Decomposed;
    }
    plan.downcast_ref::<FilterExec>()
        .is_some_and(|filter| filter.fetch().is_none() && is_inner_join(filter.input(), products))
}

impl Graph {
    /// Adds a plan. Returns its columns' numbers and its relations.
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Option<(Vec<usize>, Set)> {
        if !is_inner_join(plan, self.products) {
            return self.add_relation(plan);
        }
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let (columns, set) = self.add(projection.input())?;
            let projected = projection
                .expr()
                .iter()
                .map(|projected| columns.get(column_index(&projected.expr)?).copied());
            return Some((projected.collect::<Option<_>>()?, set));
        }
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            let (columns, set) = self.add(filter.input())?;
            self.add_conditions(filter.predicate(), |index| columns.get(index).copied())?;
            return Some((project(columns, filter.projection().as_deref()), set));
        }
        if let Some(product) = plan.downcast_ref::<CrossJoinExec>() {
            let (left, left_set) = self.add(product.left())?;
            let (right, right_set) = self.add(product.right())?;
            self.written.push((left_set, right_set));
            return Some((
                left.into_iter().chain(right).collect(),
                left_set | right_set,
            ));
        }
        let join = plan.downcast_ref::<HashJoinExec>()?;
        let (left, left_set) = self.add(join.left())?;
        let (right, right_set) = self.add(join.right())?;
        for (l, r) in join.on() {
            let l = self.global(l, |index| left.get(index).copied())?;
            let r = self.global(r, |index| right.get(index).copied())?;
            self.add_equality(l, r)?;
        }
        if let Some(filter) = join.filter() {
            let number_of = |index: usize| {
                let column = filter.column_indices().get(index)?;
                let side = if column.side == JoinSide::Left {
                    &left
                } else {
                    &right
                };
                side.get(column.index).copied()
            };
            self.add_conditions(filter.expression(), number_of)?;
        }
        self.written.push((left_set, right_set));
        Some((
            project(
                left.into_iter().chain(right).collect(),
                join.projection.as_deref(),
            ),
            left_set | right_set,
        ))
    }

    fn add_relation(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Option<(Vec<usize>, Set)> {
        let start = *self.starts.last()?;
        let end = start + plan.schema().fields().len();
        let number = self.relations.len();
        self.relations.push(Arc::clone(plan));
        self.starts.push(end);
        (number < RELATIONS_MAX).then(|| ((start..end).collect(), 1 << number))
    }

    fn add_conditions(
        &mut self,
        predicate: &Expr,
        number_of: impl Fn(usize) -> Option<usize>,
    ) -> Option<()> {
        for condition in split_conjunction(predicate) {
            let condition = self.global(condition, &number_of)?;
            // A predicate on a single relation would have been pushed down to it if that were
            // possible.
            if condition.is_volatile_node() || self.relations_of(&condition).count_ones() < 2 {
                return None;
            }
            self.conditions.push(condition);
        }
        Some(())
    }

    fn add_equality(&mut self, left: Expr, right: Expr) -> Option<()> {
        let relation = |expr: &Expr| {
            let set = self.relations_of(expr);
            (set.count_ones() == 1 && !expr.is_volatile_node())
                .then_some(set.trailing_zeros() as usize)
        };
        let pair = [(relation(&left)?, left), (relation(&right)?, right)];
        let (mut joined, unrelated): (Vec<_>, Vec<_>) = std::mem::take(&mut self.classes)
            .into_iter()
            .partition(|class| pair.iter().any(|member| class.contains(member)));
        let mut class: Vec<_> = joined.drain(..).flatten().collect();
        for member in pair {
            if !class.contains(&member) {
                class.push(member);
            }
        }
        self.classes = unrelated;
        self.classes.push(class);
        Some(())
    }

    /// Whether no class has two columns of one relation. No join would test their equality.
    fn has_one_member_per_relation(&self) -> bool {
        self.classes.iter().all(|class| {
            class
                .iter()
                .enumerate()
                .all(|(index, member)| class[..index].iter().all(|other| other.0 != member.0))
        })
    }

    /// Rewrites an expression over a plan's columns to the graph's numbers.
    fn global(&self, expr: &Expr, number_of: impl Fn(usize) -> Option<usize>) -> Option<Expr> {
        renumber(expr, number_of, &self.schema()).ok()
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.relations
                .iter()
                .flat_map(|relation| relation.schema().fields().to_vec())
                .collect::<Vec<_>>(),
        ))
    }

    pub(super) fn columns_of_relation(&self, relation: usize) -> Range<usize> {
        self.starts[relation]..self.starts[relation + 1]
    }

    pub(super) fn relations_of(&self, expr: &Expr) -> Set {
        let relation = |column: usize| self.starts.partition_point(|start| *start <= column) - 1;
        columns_of(expr)
            .into_iter()
            .fold(0, |set, column| set | 1 << relation(column))
    }

    /// Returns the equalities that join two sets of relations.
    pub(super) fn keys(&self, left: Set, right: Set) -> Vec<(Expr, Expr)> {
        let member_of = |class: &[(usize, Expr)], set: Set| {
            class
                .iter()
                .find(|(relation, _)| set & 1 << relation != 0)
                .map(|(_, expr)| Arc::clone(expr))
        };
        self.classes
            .iter()
            .filter_map(|class| Some((member_of(class, left)?, member_of(class, right)?)))
            .collect()
    }

    /// Estimates the relations, classes and predicates, for the search.
    pub(super) fn sizes(&self) -> Sizes {
        let estimates: Vec<Estimate> = self.relations.iter().map(estimate).collect();
        let columns = Estimate {
            rows: 0.0,
            base_rows: 0.0,
            columns: estimates
                .iter()
                .flat_map(|relation| relation.columns.clone())
                .collect(),
        };
        let column =
            |expr: &Expr| column_index(expr).and_then(|index| columns.columns.get(index).cloned());
        // If distinct values are unknown, the smallest relation of the class is an upper bound.
        let class = |class: &Vec<(usize, Expr)>| {
            let distinct_max = class
                .iter()
                .map(|(relation, _)| estimates[*relation].base_rows)
                .reduce(f64::min);
            let with_distinct = |values: ColumnValues| ColumnValues {
                distinct: values.distinct.or(distinct_max),
                ..values
            };
            class
                .iter()
                .map(|(relation, expr)| {
                    (*relation, with_distinct(column(expr).unwrap_or_default()))
                })
                .collect()
        };
        Sizes {
            rows: estimates.iter().map(|relation| relation.rows).collect(),
            base_rows: estimates
                .iter()
                .map(|relation| relation.base_rows)
                .collect(),
            classes: self.classes.iter().map(class).collect(),
            conditions: self
                .conditions
                .iter()
                .map(|condition| {
                    (
                        self.relations_of(condition),
                        selectivity(condition, &columns),
                    )
                })
                .collect(),
        }
    }
}

/// Estimates of a graph's relations, classes and predicates.
#[derive(Debug)]
pub(super) struct Sizes {
    /// Rows of each relation.
    pub(super) rows: Vec<f64>,
    /// Rows of each relation before any predicate.
    pub(super) base_rows: Vec<f64>,
    /// The members of each class: their relation, and the statistics of their values.
    pub(super) classes: Vec<Vec<(usize, ColumnValues)>>,
    /// The relations that each predicate needs, and its selectivity.
    pub(super) conditions: Vec<(Set, f64)>,
}

fn project(columns: Vec<usize>, projection: Option<&[usize]>) -> Vec<usize> {
    match projection {
        Some(projected) => projected
            .iter()
            .filter_map(|index| columns.get(*index).copied())
            .collect(),
        None => columns,
    }
}

/// Rewrites an expression to other columns: `index_in` returns the index in `schema` of each
/// column.
///
/// # Errors
/// If a column has no index.
pub(super) fn renumber(
    expr: &Expr,
    index_in: impl Fn(usize) -> Option<usize>,
    schema: &SchemaRef,
) -> Result<Expr> {
    Arc::clone(expr)
        .transform_up(|node| {
            let Some(column) = node.downcast_ref::<Column>() else {
                return Ok(Transformed::no(node));
            };
            let index = index_in(column.index()).filter(|index| *index < schema.fields().len());
            let index = index.ok_or_else(|| {
                internal_datafusion_err!("column {column} belongs to no relation of its join")
            })?;
            Ok(Transformed::yes(
                Arc::new(Column::new(schema.field(index).name(), index)) as Expr,
            ))
        })
        .data()
}

/// Returns the numbers of an expression's columns.
pub(super) fn columns_of(expr: &Expr) -> Vec<usize> {
    collect_columns(expr).iter().map(Column::index).collect()
}
