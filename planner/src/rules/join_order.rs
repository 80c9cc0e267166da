//! Orders inner joins by cost instead of by the order in which they are written.
//!
//! ```text
//!   ⋈                            ⋈
//!     ⋈                            ⋈
//!       facts            ──►         dimension, filtered
//!       dimension                    facts
//!     dimension, filtered          dimension
//! ```
//!
//! A tree of inner joins is taken apart into relations and the equalities between them. Equality is
//! transitive: `a = b AND b = c` also joins `a` with `c`. The rule builds the cheapest of all
//! orders without a cross product. Up to
//! [`JOIN_ORDER_EXACT_RELATIONS_MAX`](crate::cost::JOIN_ORDER_EXACT_RELATIONS_MAX) relations, it
//! keeps the best tree of every set of relations (Selinger 1979, over sets); beyond that, it
//! repeatedly joins the two trees whose join is cheapest (Fegaras 1998). The written order is kept
//! if another one gains little.
//!
//! It works on physical plans, because their leaves have row counts.

mod graph;
mod search;

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::rule::Rule;
use crate::cost::{JOIN_ORDER_COST_FRACTION_MAX, JOIN_ORDER_COST_FRACTION_MAX_RUNNING};
use crate::physical::{column_at, replace_children};
use graph::{Graph, Products, columns_of, decompose, renumber};
use search::{Tree, cheapest_tree, cost_as_written};

pub(super) const JOIN_ORDER: Rule = Rule {
    name: "join_order",
    is_on: |switches| switches.join_order,
    rewrite: |plan, _| reorder(plan, JOIN_ORDER_COST_FRACTION_MAX),
};

/// [`JOIN_ORDER`] for planning again while the query runs.
pub(super) const JOIN_ORDER_WHILE_RUNNING: Rule = Rule {
    rewrite: |plan, _| reorder(plan, JOIN_ORDER_COST_FRACTION_MAX_RUNNING),
    ..JOIN_ORDER
};

/// Reorders each tree of inner joins in `plan` if the new cost is below `cost_fraction_max` of the
/// present cost.
fn reorder(plan: Arc<dyn ExecutionPlan>, cost_fraction_max: f64) -> Result<Arc<dyn ExecutionPlan>> {
    let mut graphs: Vec<Graph> = [Products::Decomposed, Products::Opaque]
        .into_iter()
        .filter_map(|products| decompose(&plan, products))
        .collect();
    // Without cross products, both graphs are equal.
    graphs.dedup_by_key(|graph| graph.relations.len());
    for mut graph in graphs {
        if let Some(tree) = find_better_order(&graph, cost_fraction_max) {
            for relation in &mut graph.relations {
                *relation = reorder(Arc::clone(relation), cost_fraction_max)?;
            }
            return build(&graph, &tree, &plan);
        }
    }
    let children = plan
        .children()
        .into_iter()
        .map(|child| reorder(Arc::clone(child), cost_fraction_max))
        .collect::<Result<Vec<_>>>()?;
    if children.is_empty() {
        return Ok(plan);
    }
    replace_children(plan, children)
}

fn find_better_order(graph: &Graph, cost_fraction_max: f64) -> Option<Tree> {
    let sizes = graph.sizes();
    let tree = cheapest_tree(&sizes)?;
    // A written order with a cross product costs more than any order without.
    cost_as_written(&sizes, &graph.written)
        .is_none_or(|written| tree.cost < written * cost_fraction_max)
        .then_some(tree)
}

/// Builds the joins of a tree, and on top of them a projection to the columns of the plan that they
/// replace.
fn build(
    graph: &Graph,
    tree: &Tree,
    replaced: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut needed: Vec<usize> = graph.output.clone();
    needed.extend(graph.conditions.iter().flat_map(columns_of));
    let (plan, columns) = build_joins(graph, tree, &needed)?;
    let schema = replaced.schema();
    let outputs = graph
        .output
        .iter()
        .zip(schema.fields())
        .map(|(global, field)| (*global, field.name().as_str()));
    project(plan, &columns, outputs)
}

/// A plan, and the number of each of its columns in the graph.
type NumberedPlan = (Arc<dyn ExecutionPlan>, Vec<usize>);

/// Builds the joins of a tree. The output has the `needed` columns, at least.
fn build_joins(graph: &Graph, tree: &Tree, needed: &[usize]) -> Result<NumberedPlan> {
    let Some((left, right)) = tree.sides.as_deref() else {
        let relation = tree.relations.trailing_zeros() as usize;
        let columns = graph.columns_of_relation(relation).collect();
        return Ok((Arc::clone(&graph.relations[relation]), columns));
    };
    let keys = graph.keys(left.relations, right.relations);
    let mut needed_by_inputs = needed.to_vec();
    needed_by_inputs.extend(
        keys.iter()
            .flat_map(|(l, r)| columns_of(l).into_iter().chain(columns_of(r))),
    );
    let (left_plan, left_columns) = build_joins(graph, left, &needed_by_inputs)?;
    let (right_plan, right_columns) = build_joins(graph, right, &needed_by_inputs)?;
    let on = keys.iter().map(|(l, r)| {
        Ok((
            renumber(
                l,
                |global| index_of(&left_columns, global),
                &left_plan.schema(),
            )?,
            renumber(
                r,
                |global| index_of(&right_columns, global),
                &right_plan.schema(),
            )?,
        ))
    });
    let on = on.collect::<Result<Vec<_>>>()?;
    let filter = join_filter(
        graph,
        (left, &left_plan, &left_columns),
        (right, &right_plan, &right_columns),
    )?;
    let mode = PartitionMode::Auto;
    let join = HashJoinExec::try_new(
        left_plan,
        right_plan,
        on,
        filter,
        &JoinType::Inner,
        None,
        mode,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    let columns: Vec<usize> = left_columns.into_iter().chain(right_columns).collect();
    // Columns that predicates above read are in `needed`. A column that only this join's predicates
    // read may be kept: it is cheaper to carry than to track.
    let output: Vec<usize> = columns
        .iter()
        .copied()
        .filter(|global| needed.contains(global))
        .collect();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(join);
    if output.len() == columns.len() {
        return Ok((plan, columns));
    }
    let schema = plan.schema();
    let named = output.iter().map(|global| {
        (
            *global,
            index_of(&columns, *global).map_or("", |index| schema.field(index).name().as_str()),
        )
    });
    Ok((project(Arc::clone(&plan), &columns, named)?, output))
}

fn index_of(columns: &[usize], global: usize) -> Option<usize> {
    columns.iter().position(|column| *column == global)
}

/// Projects `plan` to these columns of the graph, under these names.
fn project<'a>(
    plan: Arc<dyn ExecutionPlan>,
    columns: &[usize],
    needed: impl Iterator<Item = (usize, &'a str)>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let exprs = needed.filter_map(|(global, name)| {
        let index = index_of(columns, global)?;
        Some(ProjectionExpr {
            expr: column_at(&plan, index),
            alias: name.to_owned(),
        })
    });
    let exprs: Vec<_> = exprs.collect();
    Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
}

/// One side of a join: its tree, its plan, and the numbers of the plan's columns in the graph.
type Side<'a> = (&'a Tree, &'a Arc<dyn ExecutionPlan>, &'a [usize]);

/// Returns the predicates that can be tested on this join, but on neither side alone.
fn join_filter(graph: &Graph, left: Side, right: Side) -> Result<Option<JoinFilter>> {
    let joined = left.0.relations | right.0.relations;
    let conditions = graph.conditions.iter().filter(|condition| {
        let needs = graph.relations_of(condition);
        needs & joined == needs
            && needs & left.0.relations != needs
            && needs & right.0.relations != needs
    });
    let Some(filter) = conditions
        .cloned()
        .reduce(|a, b| Arc::new(BinaryExpr::new(a, Operator::And, b)))
    else {
        return Ok(None);
    };
    let mut globals = columns_of(&filter);
    globals.sort_unstable();
    globals.dedup();
    let (mut indices, mut fields) = (vec![], vec![]);
    for global in &globals {
        let field_of = |side, (_, plan, columns): Side| {
            index_of(columns, *global).map(|index| {
                (
                    ColumnIndex { index, side },
                    plan.schema().field(index).clone(),
                )
            })
        };
        if let Some((index, field)) =
            field_of(JoinSide::Left, left).or_else(|| field_of(JoinSide::Right, right))
        {
            indices.push(index);
            fields.push(field);
        }
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let expression = renumber(
        &filter,
        |global| globals.iter().position(|other| *other == global),
        &schema,
    )?;
    Ok(Some(JoinFilter::new(expression, indices, schema)))
}
