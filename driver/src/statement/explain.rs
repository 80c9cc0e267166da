//! EXPLAIN and EXPLAIN ANALYZE: shows how a query would run, and how it ran.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use faisca_planner::rules::Switches;
use faisca_planner::stages::{Stage, StageGraph, format_rough_count};

use super::cluster::Cluster;
use crate::engine::prepared::PreparedQuery;
use crate::engine::progress::StageProgress;

/// Returns the stages of a query as text, and the optimizer rules that changed them. `plan` is not
/// optimized yet.
///
/// # Errors
/// Returns an error if the query cannot be planned.
pub(crate) async fn explain(plan: &LogicalPlan, state: &SessionState) -> Result<String> {
    let graph = plan_stages(plan, state).await?;
    let drawing = graph.to_string();
    // A rule is listed if the query is planned differently without it.
    let mut effective_rules = vec![];
    for rule in Switches::names() {
        let mut without_rule = state.clone();
        without_rule
            .config_mut()
            .options_mut()
            .set(&format!("faisca.{rule}"), "false")?;
        let other = plan_stages(plan, &without_rule).await?;
        if without_counters(&other.to_string()) != without_counters(&drawing) {
            effective_rules.push((rule, other.operator_rows_expected()));
        }
    }
    let Some((first, _)) = effective_rules.first() else {
        return Ok(drawing);
    };
    let names: Vec<&str> = effective_rules
        .iter()
        .map(|(rule, _)| rule.as_str())
        .collect();
    let rows_without = effective_rules
        .iter()
        .map(|(rule, rows)| format!(", {} without {rule}", format_rough_count(*rows)))
        .collect::<String>();
    Ok(format!(
        "{drawing}\nOptimizer rules that changed the plan: {} (SET faisca.{first} = false turns one off)\nEstimated rows of all operators: {}{rows_without}\n",
        names.join(", "),
        format_rough_count(graph.operator_rows_expected()),
    ))
}

/// Removes the numbers of common expressions. DataFusion counts them through all plans of a
/// session, so they differ between equal plans.
fn without_counters(drawing: &str) -> String {
    drawing
        .split("__common_expr_")
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect()
}

/// Optimizes a logical plan and cuts it into stages.
async fn plan_stages(plan: &LogicalPlan, state: &SessionState) -> Result<StageGraph> {
    super::query_planner::stages(&state.optimize(plan)?, state).await
}

/// Runs a query, discards its rows, and returns its stages as text, each with its estimated and its
/// actual number of rows.
///
/// # Errors
/// Returns an error if the query cannot be planned, or a task fails.
pub(crate) async fn analyze(
    plan: &LogicalPlan,
    state: &SessionState,
    cluster: &Cluster,
) -> Result<String> {
    let graph = Arc::new(plan_stages(plan, state).await?);
    let prepared = PreparedQuery::new(graph, vec![], state.config_options())?;
    let (running, output) = cluster.run(&prepared, "explain analyze".to_owned()).await?;
    let stages = cluster
        .engine
        .progress
        .snapshot()
        .queries
        .remove(&running.query)
        .map(|query| query.stages)
        .unwrap_or_default();
    // The engine may have changed the stages while the query ran.
    let (graph, changes) = running.plan.current();
    let drawing = graph.render(|stage| {
        stages
            .get(stage.id.index())
            .map(|progress| describe_run(stage, progress))
    });
    let extra_attempts = [
        (
            output.retried,
            "task attempts were retries after a failure or a lost executor",
        ),
        (
            output.speculated,
            "task attempts were speculative, started beside a slow one",
        ),
    ];
    let extra_attempts = extra_attempts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, description)| format!("\n{count} {description}\n"));
    let changes: String = changes
        .iter()
        .map(|change| format!("\nRe-planned at run time: {change}\n"))
        .collect();
    Ok(drawing + &changes + &extra_attempts.collect::<String>())
}

/// Describes in one line how a stage ran: rows, size, tasks and time.
fn describe_run(stage: &Stage, progress: &StageProgress) -> String {
    let times = progress.rows as f64 / stage.rows_expected.max(1) as f64;
    let tasks = match (progress.tasks as usize).cmp(&stage.partitions()) {
        Ordering::Less => format!(
            " for {} partitions (small ones coalesced)",
            stage.partitions()
        ),
        Ordering::Equal => String::new(),
        Ordering::Greater => format!(" for {} partitions (skewed ones split)", stage.partitions()),
    };
    let (mib, seconds) = (
        progress.bytes as f64 / f64::from(1 << 20),
        progress.busy_ms as f64 / 1000.0,
    );
    format!(
        "Actual: {} rows, {times:.2} × the estimate; {mib:.1} MiB; {} tasks{tasks}, {seconds:.2} s of task time",
        progress.rows, progress.tasks
    )
}
