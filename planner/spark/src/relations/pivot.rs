//! Plans `PIVOT (sum(x) FOR y IN (1, 2))`.
//!
//! ```text
//! t(k, y, x) PIVOT (sum(x) FOR y IN (1, 2))   ──▶ one row for each k, with the columns `1` and `2`
//!   ──▶ SELECT k, sum(x) FILTER (WHERE y <=> 1) AS `1`, sum(x) FILTER (WHERE y <=> 2) AS `2` FROM t GROUP BY k
//! ```

use std::collections::HashSet;

use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr,
    cast, lit, when,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ExprWithAlias, PivotValueSource};

use super::generators::call;

/// The parts of a PIVOT.
pub(super) struct Pivot {
    pub(super) aggregates: Vec<ExprWithAlias>,
    pub(super) keys: Vec<SqlExpr>,
    pub(super) values: PivotValueSource,
}

/// A value of the keys, which becomes a column for each aggregate.
struct PivotValue {
    name: String,
    condition: Expr,
}

/// What a PIVOT computes for each group.
#[derive(Default)]
struct Cells {
    aggregates: Vec<Expr>,
    columns: Vec<Expr>,
}

impl Pivot {
    /// Returns a row for each group of the columns that the clause does not name.
    ///
    /// # Errors
    /// If a value is not a constant of the type of the keys, or an aggregate has a column outside
    /// of aggregate functions.
    pub(super) fn apply(
        self,
        input: LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let PivotValueSource::List(values) = self.values else {
            return plan_err!("PIVOT takes a list of values, such as IN (1, 2)");
        };
        let schema = DFSchema::clone(input.schema());
        let keys = plan_all(self.keys, &schema, context)?;
        for key in &keys {
            if matches!(key.get_type(&schema)?, DataType::Map(..)) {
                return plan_err!(
                    "[INCOMPARABLE_PIVOT_COLUMN] {key}: maps cannot be compared, so PIVOT takes no column of them"
                );
            }
        }
        let mut aggregates = Vec::with_capacity(self.aggregates.len());
        for aggregate in self.aggregates {
            // `dialect::pivots` has named them.
            let name = aggregate
                .alias
                .map_or_else(String::new, |alias| alias.value);
            let expr = context.sql_to_expr(aggregate.expr, &schema)?;
            check_aggregate(&expr)?;
            aggregates.push((name, expr));
        }
        let mut used: HashSet<Column> = keys.iter().flat_map(columns_of).collect();
        used.extend(aggregates.iter().flat_map(|(_, expr)| columns_of(expr)));
        let groups = columns_except(&schema, |column| used.contains(column));
        // Spark has two ways to compute a PIVOT, by the types of its results. One has null where a
        // value has no rows.
        let is_null_without_rows = aggregates.iter().all(|(_, expr)| {
            let data_type = expr.get_type(&schema);
            data_type
                .is_ok_and(|data_type| data_type.is_numeric() || data_type == DataType::Boolean)
        });
        let mut cells = Cells::default();
        for value in values {
            let value = plan_value(value, &keys, &schema, context)?;
            cells.add(&value, &aggregates, is_null_without_rows)?;
        }
        LogicalPlanBuilder::from(input)
            .aggregate(groups.clone(), cells.aggregates)?
            .project(groups.into_iter().chain(cells.columns))?
            .build()
    }
}

/// Returns the columns of a schema, but for those that a clause uses.
pub(super) fn columns_except(schema: &DFSchema, is_used: impl Fn(&Column) -> bool) -> Vec<Expr> {
    let columns = schema.iter().map(Column::from);
    let unused = columns.filter(|column| !is_used(column));
    unused.map(Expr::Column).collect()
}

impl Cells {
    /// Adds the columns of a value.
    fn add(
        &mut self,
        value: &PivotValue,
        aggregates: &[(String, Expr)],
        is_null_without_rows: bool,
    ) -> Result<()> {
        let rows = match is_null_without_rows {
            true => {
                let rows = count(lit(1_i64)).filter(value.condition.clone()).build()?;
                Some(self.compute(rows))
            }
            false => None,
        };
        for (name, aggregate) in aggregates {
            let cell = aggregate.clone().transform_down(|expr| match expr {
                Expr::AggregateFunction(mut call) => {
                    let filter = call.params.filter.take();
                    let condition = value.condition.clone();
                    call.params.filter = Some(Box::new(match filter {
                        Some(filter) => condition.and(*filter),
                        None => condition,
                    }));
                    let computed = self.compute(Expr::AggregateFunction(call));
                    Ok(Transformed::new(computed, true, TreeNodeRecursion::Jump))
                }
                other => Ok(Transformed::no(other)),
            })?;
            let cell = match &rows {
                Some(rows) => when(rows.clone().gt(lit(0_i64)), cell.data).end()?,
                None => cell.data,
            };
            let name = match aggregates.len() {
                1 => value.name.clone(),
                _ => format!("{}_{name}", value.name),
            };
            self.columns.push(cell.alias(name));
        }
        Ok(())
    }

    /// Adds an aggregate, and returns the column that has its result.
    fn compute(&mut self, aggregate: Expr) -> Expr {
        let name = format!("__cell_{}", self.aggregates.len());
        self.aggregates.push(aggregate.alias(name.clone()));
        Expr::Column(Column::new_unqualified(name))
    }
}

/// Refuses aggregates that Spark refuses.
///
/// # Errors
/// If a column is outside of an aggregate function, or an aggregate function inside of another.
fn check_aggregate(expr: &Expr) -> Result<()> {
    let is_aggregate = |expr: &Expr| Ok(matches!(expr, Expr::AggregateFunction(_)));
    let mut bare_column = None;
    let mut is_nested = false;
    expr.apply(|part| match part {
        Expr::AggregateFunction(call) => {
            for argument in &call.params.args {
                is_nested |= argument.exists(is_aggregate)?;
            }
            Ok(TreeNodeRecursion::Jump)
        }
        Expr::Column(_) | Expr::WindowFunction(_) => {
            bare_column = Some(part.to_string());
            Ok(TreeNodeRecursion::Stop)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    if let Some(column) = bare_column {
        return plan_err!(
            "PIVOT takes aggregates such as sum(x); {column} is outside of an aggregate function"
        );
    }
    match is_nested {
        true => plan_err!(
            "[NESTED_AGGREGATE_FUNCTION] {expr}: an aggregate function cannot have another as argument"
        ),
        false => Ok(()),
    }
}

/// Plans expressions, and those of tuples one by one.
pub(super) fn plan_all(
    expressions: Vec<SqlExpr>,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<Expr>> {
    let mut planned = Vec::with_capacity(expressions.len());
    for expression in expressions {
        match expression {
            SqlExpr::Nested(expression) => {
                planned.extend(plan_all(vec![*expression], schema, context)?);
            }
            // Numbers of a tuple turn it into a struct, see `dialect::numbers`.
            SqlExpr::Tuple(parts) | SqlExpr::Struct { values: parts, .. } => {
                planned.extend(plan_all(parts, schema, context)?);
            }
            other => planned.push(context.sql_to_expr(other, schema)?),
        }
    }
    Ok(planned)
}

fn plan_value(
    value: ExprWithAlias,
    keys: &[Expr],
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<PivotValue> {
    let text = value.expr.to_string();
    let parts = plan_all(vec![value.expr], schema, context)?;
    for part in &parts {
        let is_query = part.exists(|part| {
            let is_query = matches!(part, Expr::ScalarSubquery(_) | Expr::AggregateFunction(_));
            Ok(is_query)
        })?;
        if is_query || part.is_volatile() || !columns_of(part).is_empty() {
            return plan_err!(
                "[NON_LITERAL_PIVOT_VALUES] a value of PIVOT must be a constant, not {part}"
            );
        }
    }
    let name = match value.alias {
        Some(alias) => alias.value,
        None => computed_name(&parts)?,
    };
    let parts = match keys {
        [key] => match key.get_type(schema)? {
            DataType::Struct(fields) if parts.len() > 1 && parts.len() == fields.len() => {
                vec![struct_of(&fields, parts, context)?]
            }
            _ => parts,
        },
        _ => parts,
    };
    let mismatch = || {
        plan_err!(
            "[PIVOT_VALUE_DATA_TYPE_MISMATCH] the value {text} of PIVOT does not have the type of the {} columns after FOR",
            keys.len()
        )
    };
    if parts.len() != keys.len() {
        return mismatch();
    }
    let mut condition: Option<Expr> = None;
    for (key, part) in keys.iter().zip(parts) {
        let (key_type, part_type) = (key.get_type(schema)?, part.get_type(schema)?);
        if !can_cast_types(&part_type, &key_type) {
            return mismatch();
        }
        let part = match part_type == key_type {
            true => part,
            false => cast(part, key_type),
        };
        let equal = binary_expr(key.clone(), Operator::IsNotDistinctFrom, part);
        condition = Some(match condition {
            Some(condition) => condition.and(equal),
            None => equal,
        });
    }
    match condition {
        Some(condition) => Ok(PivotValue { name, condition }),
        None => plan_err!("PIVOT needs a column after FOR"),
    }
}

/// Returns a struct with the names and types of these fields.
fn struct_of(
    fields: &Fields,
    values: Vec<Expr>,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let arguments = fields.iter().zip(values).flat_map(|(field, value)| {
        let value = cast(value, field.data_type().clone());
        [lit(field.name().clone()), value]
    });
    call("named_struct", arguments.collect(), context)
}

/// Returns the name of the column of a value whose text is not its name, such as `1 + 1`.
fn computed_name(parts: &[Expr]) -> Result<String> {
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    let schema = DFSchema::empty();
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        let typed = simplifier.coerce(part.clone(), &schema)?;
        let text = match simplifier.simplify(cast(typed, DataType::Utf8))? {
            Expr::Literal(ScalarValue::Utf8(text), _) => text,
            _ => {
                return plan_err!("the value {part} of PIVOT needs an alias, such as {part} AS x");
            }
        };
        texts.push(text.unwrap_or_else(|| "null".to_owned()).to_lowercase());
    }
    Ok(match texts.len() {
        1 => texts.concat(),
        _ => format!("{{{}}}", texts.join(", ")),
    })
}

fn columns_of(expr: &Expr) -> HashSet<Column> {
    expr.column_refs().into_iter().cloned().collect()
}
