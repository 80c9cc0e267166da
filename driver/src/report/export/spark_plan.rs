//! The plan of a query as Spark's history server draws it.
//!
//! A stage's plan is text, indented by depth, as in EXPLAIN. Where it reads another stage, that
//! stage's plan is attached, so that the stages of a query are one tree.

use faisca_planner::ids::StageId;
use serde_json::{Value, json};

use super::super::run::Query;

/// What an operator that reads another stage is called.
const EXCHANGE: &str = "ExchangeReadExec";

/// An operator, and what it reads.
struct Node {
    depth: usize,
    text: String,
    children: Vec<Self>,
    /// The stage whose root this is.
    stage: Option<StageId>,
}

/// Returns the plan of a query. `accumulator` is the id under which the rows of a stage are
/// reported.
pub(super) fn plan(query: &Query<'_>, accumulator: impl Fn(StageId) -> u64) -> Value {
    let read: Vec<StageId> = query
        .stages
        .values()
        .flat_map(|stage| stage.record.inputs.iter().copied())
        .collect();
    let roots = query.stages.iter();
    let roots = roots.filter(|(id, stage)| !stage.is_dropped && !read.contains(id));
    let mut trees: Vec<Value> = roots
        .map(|(id, _)| to_json(&tree(query, *id, 0), &accumulator))
        .collect();
    match trees.len() {
        1 => trees.remove(0),
        _ => json!({
            "nodeName": "Query", "simpleString": query.label, "children": trees,
            "metadata": {}, "metrics": [],
        }),
    }
}

/// Returns the plans of all stages as one text.
pub(super) fn description(query: &Query<'_>) -> String {
    let stages = query.stages.values().filter(|stage| !stage.is_dropped);
    let texts = stages.map(|stage| format!("== Stage {} ==\n{}", stage.id(), stage.record.plan));
    texts.collect::<Vec<_>>().join("\n")
}

/// Builds the tree of a stage. Stages read only earlier ones; `level` guards against a damaged
/// journal in which they do not.
fn tree(query: &Query<'_>, id: StageId, level: usize) -> Node {
    let plan = query
        .stages
        .get(&id)
        .map_or("", |stage| stage.record.plan.as_str());
    let mut open: Vec<Node> = vec![];
    let mut roots: Vec<Node> = vec![];
    for line in plan.lines().filter(|line| !line.trim().is_empty()) {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        close(&mut open, &mut roots, depth);
        let mut node = Node {
            depth,
            text: text.to_owned(),
            children: vec![],
            stage: None,
        };
        if let Some(input) = exchange_input(text)
            && level < query.stages.len()
        {
            node.children.push(tree(query, input, level + 1));
        }
        open.push(node);
    }
    close(&mut open, &mut roots, 0);
    let mut root = match roots.len() {
        1 => roots.remove(0),
        _ => Node {
            depth: 0,
            text: "Plan".to_owned(),
            children: roots,
            stage: None,
        },
    };
    root.stage = Some(id);
    root
}

/// Attaches the operators that are at least as deep as the next one to those that read them.
fn close(open: &mut Vec<Node>, roots: &mut Vec<Node>, depth: usize) {
    while open.last().is_some_and(|node| node.depth >= depth) {
        let Some(node) = open.pop() else { return };
        match open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => roots.push(node),
        }
    }
}

/// Returns the stage that an operator reads: `ExchangeReadExec: s3 …`.
fn exchange_input(text: &str) -> Option<StageId> {
    let input = text.strip_prefix(EXCHANGE)?.split_whitespace().nth(1)?;
    let digits: String = input
        .strip_prefix('s')?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok().map(StageId)
}

fn to_json(node: &Node, accumulator: &impl Fn(StageId) -> u64) -> Value {
    let name = node.text.split(':').next().unwrap_or(&node.text);
    let metrics: Vec<Value> = node
        .stage
        .iter()
        .map(|stage| {
            json!({
                "name": "number of output rows", "accumulatorId": accumulator(*stage),
                "metricType": "sum",
            })
        })
        .collect();
    let children: Vec<Value> = node
        .children
        .iter()
        .map(|child| to_json(child, accumulator))
        .collect();
    json!({
        "nodeName": name.trim(), "simpleString": node.text, "children": children,
        "metadata": {}, "metrics": metrics,
    })
}
