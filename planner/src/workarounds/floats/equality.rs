//! -0.0 equals 0.0, and every NaN equals every other one and is the largest number, as in Spark.
//!
//! Arrow compares floating-point numbers by their bits: -0.0 is smaller than 0.0, and `inf - inf`,
//! a NaN with a sign, is smaller than all numbers. Here the keys of groups, joins, windows and
//! sorts, both sides of comparisons, and the arguments of functions that compare become canonical,
//! as by Spark's `NormalizeFloatingNumbers`:
//!
//! ```text
//!   GROUP BY x      ──►   GROUP BY canonical_float(x)
//!   x = y           ──►   canonical_float(x) = canonical_float(y)
//!   x < 5.0         ──►   canonical_float(x) < 5.0
//!   x = 5.0         ──►   x = 5.0
//!   min(x)          ──►   min(canonical_nan(x))
//! ```

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, JoinConstraint, Result, ScalarValue};
use datafusion::logical_expr::expr::{InList, Sort};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator, ScalarUDF, TableScan,
};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};

use super::canonical::CanonicalFloat;
use super::holds_floats;

/// Scalar functions that compare their arguments, or what these hold, for equality.
const EQUALITY_FUNCTIONS: [&str; 18] = [
    "array_contains",
    "array_distinct",
    "array_except",
    "array_intersect",
    "array_position",
    "array_remove",
    "array_union",
    "arrays_overlap",
    "element_at",
    "equal_null",
    "hash",
    "map",
    "map_concat",
    "map_contains_key",
    "map_from_arrays",
    "nullif",
    "try_element_at",
    "xxhash64",
];

/// Functions that return one of their arguments, or a part of it, by its order.
const ORDER_FUNCTIONS: [&str; 17] = [
    "approx_percentile",
    "array_max",
    "array_min",
    "array_sort",
    "greatest",
    "least",
    "max",
    "max_by",
    "median",
    "min",
    "min_by",
    "mode",
    "percentile",
    "percentile_approx",
    "percentile_cont",
    "percentile_disc",
    "sort_array",
];

/// Aggregate functions that collect different values.
const SET_FUNCTIONS: [&str; 2] = ["approx_count_distinct", "collect_set"];

/// Runs after all other rules, which look for columns and not for functions of them. A plan that
/// compares no floating-point numbers stays as it is.
#[derive(Debug)]
pub(in crate::workarounds) struct FloatEquality;

impl OptimizerRule for FloatEquality {
    fn name(&self) -> &'static str {
        "float_equality"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) if scan.filters.is_empty() => {
                return Ok(Transformed::no(plan));
            }
            LogicalPlan::TableScan(scan) => schema_of_scan(scan)?,
            plan => merge_schema(&plan.inputs()),
        };
        match plan {
            LogicalPlan::Join(join) => rewrite_join(join, &schema),
            LogicalPlan::Limit(_) => Ok(Transformed::no(plan)),
            plan => rewrite_node(plan, &schema),
        }
    }
}

/// The same for comparisons of constants, before the optimizer replaces these by their results.
#[derive(Debug)]
pub(in crate::workarounds) struct ConstantFloatEquality;

impl AnalyzerRule for ConstantFloatEquality {
    fn name(&self) -> &'static str {
        "constant_float_equality"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let schema = DFSchema::empty();
        plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let compared = expr.transform_up(|part| match is_constant_call(&part) {
                    true => compare_node(part, &schema),
                    false => Ok(Transformed::no(part)),
                })?;
                Ok(match compared.transformed {
                    true => compared.update_data(|expr| name.restore(expr)),
                    false => compared,
                })
            })
        })
        .data()
    }
}

/// Whether an expression of one row has no columns.
fn is_constant_call(expr: &Expr) -> bool {
    let is_call = matches!(
        expr,
        Expr::BinaryExpr(_)
            | Expr::Between(_)
            | Expr::InList(_)
            | Expr::Case(_)
            | Expr::ScalarFunction(_)
    );
    is_call && !expr.any_column_refs() && !expr.contains_outer()
}

/// The columns that filters of a scan may use.
fn schema_of_scan(scan: &TableScan) -> Result<DFSchema> {
    DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())
}

fn rewrite_join(mut join: Join, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let mut is_changed = false;
    for key in join.on.iter_mut().flat_map(|(left, right)| [left, right]) {
        let compared = compare_canonically(std::mem::take(key), schema)?;
        is_changed |= compared.transformed;
        *key = compared.data;
        is_changed |= make_canonical(key, CanonicalFloat::Key, schema)?;
    }
    if is_changed {
        // USING is for columns only.
        join.join_constraint = JoinConstraint::On;
    }
    if let Some(filter) = join.filter.take() {
        let filter = compare_canonically(filter, schema)?;
        is_changed |= filter.transformed;
        join.filter = Some(filter.data);
    }
    let join = LogicalPlan::Join(join);
    Ok(Transformed::new_transformed(join, is_changed))
}

fn rewrite_node(node: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    let key_count = match &node {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.len(),
        LogicalPlan::Sort(sort) => sort.expr.len(),
        LogicalPlan::Repartition(_) => usize::MAX,
        _ => 0,
    };
    // The names of sort keys are no one's columns.
    let has_names = !matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Repartition(_));
    let mut position = 0;
    node.map_expressions(|expr| {
        let is_key = position < key_count;
        position += 1;
        let name = names.save(&expr);
        let compared = compare_canonically(expr, schema)?;
        let rewritten = match is_key {
            true => compared.transform_data(|expr| canonical_key(expr, schema))?,
            false => compared,
        };
        // The parts of a grouping set have their names already.
        let keeps_name = has_names && !matches!(rewritten.data, Expr::GroupingSet(_));
        Ok(match keeps_name && rewritten.transformed {
            true => rewritten.update_data(|expr| name.restore(expr)),
            false => rewritten,
        })
    })
}

/// Makes a key of an aggregate or of a sort canonical. A name stays at the top.
fn canonical_key(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::GroupingSet(_) => expr.map_children(|key| {
            let name = NamePreserver::new_for_projection().save(&key);
            let key = canonical_key(key, schema)?;
            Ok(match key.transformed {
                true => key.update_data(|key| name.restore(key)),
                false => key,
            })
        }),
        Expr::Alias(mut alias) => {
            let is_changed = make_canonical(&mut alias.expr, CanonicalFloat::Key, schema)?;
            Ok(Transformed::new_transformed(Expr::Alias(alias), is_changed))
        }
        mut key => {
            let is_changed = make_canonical(&mut key, CanonicalFloat::Key, schema)?;
            Ok(Transformed::new_transformed(key, is_changed))
        }
    }
}

/// Rewrites all comparisons in an expression.
fn compare_canonically(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| compare_node(part, schema))
}

/// Rewrites an expression that compares, and not its parts.
fn compare_node(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    use CanonicalFloat::{Key, Value};
    let is_changed = match &mut expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => compare(binary, schema)?,
        Expr::Between(between) => {
            let sides = [&mut between.expr, &mut between.low, &mut between.high];
            all_canonical(sides.map(Box::as_mut), Key, schema)?
        }
        Expr::InList(list) => compare_items(list, schema)?,
        Expr::Case(case) => match &mut case.expr {
            Some(base) => {
                let values = case
                    .when_then_expr
                    .iter_mut()
                    .map(|(value, _)| value.as_mut());
                all_canonical(values.chain([base.as_mut()]), Key, schema)?
            }
            None => false,
        },
        Expr::ScalarFunction(function) => {
            let form = match function.func.name() {
                name if EQUALITY_FUNCTIONS.contains(&name) => Key,
                name if ORDER_FUNCTIONS.contains(&name) => Value,
                _ => return Ok(Transformed::no(expr)),
            };
            all_canonical(&mut function.args, form, schema)?
        }
        Expr::AggregateFunction(aggregate) => {
            let params = &mut aggregate.params;
            let form = form_of_arguments(aggregate.func.name(), params.distinct);
            aggregate_canonically(&mut params.args, &mut params.order_by, form, schema)?
        }
        Expr::WindowFunction(window) => {
            let form = form_of_arguments(window.fun.name(), window.params.distinct);
            let params = &mut window.params;
            let keys = all_canonical(&mut params.partition_by, Key, schema)?;
            aggregate_canonically(&mut params.args, &mut params.order_by, form, schema)? | keys
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, is_changed))
}

fn form_of_arguments(function: &str, is_distinct: bool) -> Option<CanonicalFloat> {
    if is_distinct || SET_FUNCTIONS.contains(&function) {
        Some(CanonicalFloat::Key)
    } else if ORDER_FUNCTIONS.contains(&function) {
        Some(CanonicalFloat::Value)
    } else {
        None
    }
}

fn aggregate_canonically(
    args: &mut [Expr],
    order_by: &mut [Sort],
    form: Option<CanonicalFloat>,
    schema: &DFSchema,
) -> Result<bool> {
    let keys = order_by.iter_mut().map(|sort| &mut sort.expr);
    let is_changed = all_canonical(keys, CanonicalFloat::Key, schema)?;
    match form {
        Some(form) => Ok(all_canonical(args, form, schema)? | is_changed),
        None => Ok(is_changed),
    }
}

fn is_comparison(op: Operator) -> bool {
    is_equality(op)
        || matches!(
            op,
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        )
}

fn is_equality(op: Operator) -> bool {
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn compare(binary: &mut BinaryExpr, schema: &DFSchema) -> Result<bool> {
    // One form of such a number exists, so statistics of files still serve.
    let is_unambiguous = is_single_form(&binary.left) || is_single_form(&binary.right);
    if is_equality(binary.op) && is_unambiguous {
        return Ok(false);
    }
    let sides = [binary.left.as_mut(), binary.right.as_mut()];
    all_canonical(sides, CanonicalFloat::Key, schema)
}

fn compare_items(list: &mut InList, schema: &DFSchema) -> Result<bool> {
    if list.list.iter().all(is_single_form) {
        return Ok(false);
    }
    let sides = list.list.iter_mut().chain([list.expr.as_mut()]);
    all_canonical(sides, CanonicalFloat::Key, schema)
}

/// Whether an expression is a constant number other than zero.
fn is_single_form(expr: &Expr) -> bool {
    let Expr::Literal(value, _) = expr else {
        return false;
    };
    match value {
        ScalarValue::Float32(Some(x)) => !x.is_nan() && *x != 0.0,
        ScalarValue::Float64(Some(x)) => !x.is_nan() && *x != 0.0,
        _ => false,
    }
}

/// Makes expressions canonical. Returns whether one changed.
fn all_canonical<'a>(
    exprs: impl IntoIterator<Item = &'a mut Expr>,
    form: CanonicalFloat,
    schema: &DFSchema,
) -> Result<bool> {
    let mut is_changed = false;
    for expr in exprs {
        is_changed |= make_canonical(expr, form, schema)?;
    }
    Ok(is_changed)
}

/// Makes an expression canonical if it holds floating-point numbers. Returns whether it changed.
fn make_canonical(expr: &mut Expr, form: CanonicalFloat, schema: &DFSchema) -> Result<bool> {
    if let Expr::Literal(value, _) = expr {
        let canonical = match holds_floats(&value.data_type()) {
            true => form.of_constant(value)?,
            false => return Ok(false),
        };
        // Constants are compared by their bits, too.
        let is_changed = canonical != *value;
        *value = canonical;
        return Ok(is_changed);
    }
    // A lambda has no type of its own.
    let needs_call = expr.get_type(schema).is_ok_and(|kind| holds_floats(&kind))
        && !is_canonical(expr, form, schema);
    if needs_call {
        *expr = ScalarUDF::from(form).call(vec![std::mem::take(expr)]);
    }
    Ok(needs_call)
}

fn is_canonical(expr: &Expr, form: CanonicalFloat, schema: &DFSchema) -> bool {
    match expr {
        Expr::Alias(alias) => is_canonical(&alias.expr, form, schema),
        Expr::ScalarFunction(function) => {
            let applied = function.func.inner().downcast_ref::<CanonicalFloat>();
            applied.is_some_and(|applied| *applied == CanonicalFloat::Key || *applied == form)
        }
        // Whole numbers and decimals have one zero and no NaN.
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema);
            from.is_ok_and(|from| from.is_integer() || from.is_decimal())
        }
        _ => false,
    }
}
