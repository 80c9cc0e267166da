//! Orders inner joins by cost instead of as they are written.
//!
//! A tree of inner joins is taken apart into relations and the equalities between them; equal columns are equal to each
//! other (`a = b AND b = c` also joins `a` with `c`). Of all orders without a cross product the cheapest is built: every
//! set of relations keeps its best tree (Selinger 1979, over sets), up to [`JOIN_ORDER_EXACT_RELATIONS_MAX`](crate::cost::JOIN_ORDER_EXACT_RELATIONS_MAX) relations, beyond that the two
//! trees are joined next whose join is cheapest (Fegaras 1998). The written order stays where another one gains little.
//!
//! It works on physical plans, because there the leaves tell how many rows they hold.

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
use graph::{Graph, Products, columns_of, moved, take_apart};
use search::{Tree, cheapest, cost_as_written};

pub(super) const JOIN_ORDER: Rule = Rule {
    name: "join_order",
    is_on: |switches| switches.join_order,
    rewrite: |plan, _| reorder(plan, JOIN_ORDER_COST_FRACTION_MAX),
};

/// The same for what is left of a statement that runs.
pub(super) const JOIN_ORDER_OF_REST: Rule = Rule {
    rewrite: |plan, _| reorder(plan, JOIN_ORDER_COST_FRACTION_MAX_RUNNING),
    ..JOIN_ORDER
};

/// `plan` with each tree of inner joins in it in its best order.
fn reorder(plan: Arc<dyn ExecutionPlan>, gain: f64) -> Result<Arc<dyn ExecutionPlan>> {
    let mut graphs: Vec<Graph> = [Products::Apart, Products::Whole]
        .into_iter()
        .filter_map(|products| take_apart(&plan, products))
        .collect();
    // Without cross products both are one.
    graphs.dedup_by_key(|graph| graph.relations.len());
    for mut graph in graphs {
        if let Some(better) = better(&graph, gain) {
            for relation in &mut graph.relations {
                *relation = reorder(Arc::clone(relation), gain)?;
            }
            return build(&graph, &better, &plan);
        }
    }
    let children = plan
        .children()
        .into_iter()
        .map(|child| reorder(Arc::clone(child), gain))
        .collect::<Result<Vec<_>>>()?;
    if children.is_empty() {
        return Ok(plan);
    }
    replace_children(plan, children)
}

fn better(graph: &Graph, gain: f64) -> Option<Tree> {
    let sizes = graph.sizes();
    let found = cheapest(&sizes)?;
    // What multiplies as it is written costs more than any order that does not.
    cost_as_written(&sizes, &graph.written)
        .is_none_or(|written| found.cost < written * gain)
        .then_some(found)
}

/// The joins of a tree, and on top of them the columns of the plan that they replace.
fn build(
    graph: &Graph,
    tree: &Tree,
    replaced: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut wanted: Vec<usize> = graph.output.clone();
    wanted.extend(graph.conditions.iter().flat_map(columns_of));
    let (plan, columns) = joins(graph, tree, &wanted)?;
    let schema = replaced.schema();
    let outputs = graph
        .output
        .iter()
        .zip(schema.fields())
        .map(|(global, field)| (*global, field.name().as_str()));
    project(plan, &columns, outputs)
}

/// A plan, and which columns of the graph its columns are.
type Part = (Arc<dyn ExecutionPlan>, Vec<usize>);

fn joins(graph: &Graph, tree: &Tree, wanted: &[usize]) -> Result<Part> {
    let Some((left, right)) = tree.sides.as_deref() else {
        let relation = tree.relations.trailing_zeros() as usize;
        let columns = graph.columns_of_relation(relation).collect();
        return Ok((Arc::clone(&graph.relations[relation]), columns));
    };
    let keys = graph.keys(left.relations, right.relations);
    let mut below = wanted.to_vec();
    below.extend(
        keys.iter()
            .flat_map(|(l, r)| columns_of(l).into_iter().chain(columns_of(r))),
    );
    let (left_plan, left_columns) = joins(graph, left, &below)?;
    let (right_plan, right_columns) = joins(graph, right, &below)?;
    let on = keys.iter().map(|(l, r)| {
        Ok((
            moved(
                l,
                |global| place(&left_columns, global),
                &left_plan.schema(),
            )?,
            moved(
                r,
                |global| place(&right_columns, global),
                &right_plan.schema(),
            )?,
        ))
    });
    let on = on.collect::<Result<Vec<_>>>()?;
    let filter = filter(
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
    let all: Vec<usize> = left_columns.into_iter().chain(right_columns).collect();
    // What conditions above still read is in `wanted` of the root; those tested here cost a column at worst.
    let kept: Vec<usize> = all
        .iter()
        .copied()
        .filter(|global| wanted.contains(global))
        .collect();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(join);
    if kept.len() == all.len() {
        return Ok((plan, all));
    }
    let schema = plan.schema();
    let named = kept.iter().map(|global| {
        (
            *global,
            place(&all, *global).map_or("", |index| schema.field(index).name().as_str()),
        )
    });
    Ok((project(Arc::clone(&plan), &all, named)?, kept))
}

fn place(columns: &[usize], global: usize) -> Option<usize> {
    columns.iter().position(|column| *column == global)
}

/// These columns of the graph, under these names.
fn project<'a>(
    plan: Arc<dyn ExecutionPlan>,
    columns: &[usize],
    wanted: impl Iterator<Item = (usize, &'a str)>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let exprs = wanted.filter_map(|(global, name)| {
        let index = place(columns, global)?;
        Some(ProjectionExpr {
            expr: column_at(&plan, index),
            alias: name.to_owned(),
        })
    });
    let exprs: Vec<_> = exprs.collect();
    Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
}

type Side<'a> = (&'a Tree, &'a Arc<dyn ExecutionPlan>, &'a [usize]);

/// The conditions that can be tested on this join, and on neither side of it.
fn filter(graph: &Graph, left: Side, right: Side) -> Result<Option<JoinFilter>> {
    let both = left.0.relations | right.0.relations;
    let here = graph.conditions.iter().filter(|condition| {
        let needs = graph.relations_of(condition);
        needs & both == needs
            && needs & left.0.relations != needs
            && needs & right.0.relations != needs
    });
    let here: Vec<_> = here.collect();
    let Some(all) = here
        .iter()
        .map(|condition| Arc::clone(condition))
        .reduce(|a, b| Arc::new(BinaryExpr::new(a, Operator::And, b)))
    else {
        return Ok(None);
    };
    let mut globals = columns_of(&all);
    globals.sort_unstable();
    globals.dedup();
    let (mut indices, mut fields) = (vec![], vec![]);
    for global in &globals {
        let of = |side, (_, plan, columns): Side| {
            place(columns, *global).map(|index| {
                (
                    ColumnIndex { index, side },
                    plan.schema().field(index).clone(),
                )
            })
        };
        if let Some((index, field)) =
            of(JoinSide::Left, left).or_else(|| of(JoinSide::Right, right))
        {
            indices.push(index);
            fields.push(field);
        }
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let expression = moved(
        &all,
        |global| globals.iter().position(|other| *other == global),
        &schema,
    )?;
    Ok(Some(JoinFilter::new(expression, indices, schema)))
}
