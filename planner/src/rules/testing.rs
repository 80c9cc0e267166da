//! Small plans for the tests of rules. Leaves read stages whose row counts are given.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinType, NullEquality};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{Partitioning, displayable};

use super::rule::{Plan, Rule};
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode};
use crate::physical::column_at;
use crate::statistics::{ColumnValues, Estimate};

/// The range of every key: 1 to this.
const KEY_MAX: f64 = 1e7;

/// A leaf with columns `k` and `v` that reads four partitions of stage `stage`.
///
/// `k` has as many distinct values as there are rows, at most [`KEY_MAX`].
pub(super) fn relation(stage: u32, rows: f64) -> Plan {
    let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let key = ColumnValues {
        distinct: Some(rows.clamp(1.0, KEY_MAX)),
        range: Some((1.0, KEY_MAX)),
        ..ColumnValues::default()
    };
    let output = Estimate {
        rows,
        base_rows: rows,
        columns: vec![key, ColumnValues::default()],
    };
    let read = ExchangeReadExec::new(
        StageId(stage),
        InputMode::Forward,
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(4),
    );
    Arc::new(read.with_known_output(Arc::new(output)))
}

/// Repartitions `plan` by its first column.
pub(super) fn shuffle(plan: Plan) -> Plan {
    let partitioning = Partitioning::Hash(vec![column_at(&plan, 0)], 4);
    Arc::new(RepartitionExec::try_new(plan, partitioning).unwrap())
}

/// Joins `left` and `right` on their first columns.
pub(super) fn join(left: Plan, right: Plan, join_type: JoinType, mode: PartitionMode) -> Plan {
    let on = vec![(column_at(&left, 0), column_at(&right, 0))];
    let join = HashJoinExec::try_new(
        left,
        right,
        on,
        None,
        &join_type,
        None,
        mode,
        NullEquality::NullEqualsNothing,
        false,
    );
    Arc::new(join.unwrap())
}

/// Applies `rule` with default settings and draws the result, an operator a line, without details
/// after the first comma.
pub(super) fn optimize(rule: &Rule, plan: Plan) -> String {
    let plan = rule.optimize(plan, &ConfigOptions::default()).unwrap();
    draw(&plan)
}

/// Draws a plan as [`optimize`] does.
pub(super) fn draw(plan: &Plan) -> String {
    let text = displayable(plan.as_ref()).indent(false).to_string();
    text.lines()
        .map(|line| {
            let keeps = if line.contains("HashJoinExec") { 2 } else { 1 };
            line.split(", ").take(keeps).collect::<Vec<_>>().join(", ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}
