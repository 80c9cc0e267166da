//! Spark's clauses and operators that DataFusion plans in another form, as rewrites of the syntax tree.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, GroupByWithModifier, Ident, ObjectName, OrderBy, OrderByExpr,
    OrderByKind, OrderByOptions, Query, Select, SelectItem, SetExpr, SetOperator, Statement,
    UnaryOperator, Values, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::generators;
use super::syntax::SparkDialect;

/// Rewrites what the parser read as Spark's SQL into what DataFusion plans.
///
/// # Errors
/// If a clause has no meaning in Spark, such as `WITH TOTALS`.
pub fn translate(tree: &mut impl VisitMut) -> Result<()> {
    match tree.visit(&mut Translation::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

#[derive(Default)]
struct Translation {
    /// Whether each query around the current node is the source of an INSERT, whose columns the table names.
    insert_sources: Vec<bool>,
    next_is_insert_source: bool,
}

impl VisitorMut for Translation {
    type Break = DataFusionError;

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Self::Break> {
        self.next_is_insert_source = matches!(statement, Statement::Insert(_));
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.insert_sources
            .push(std::mem::take(&mut self.next_is_insert_source));
        order_by_of_select(query);
        except_for_minus(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if self.insert_sources.pop() != Some(true)
            && let Err(error) = name_values(query)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        lower_text_aliases(select);
        match grouping_sets(&mut select.group_by).and_then(|()| generators::move_to_from(select)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::RLike { .. } => regexp_like(expr),
            Expr::UnaryOp { .. } => {
                not_for_bang(expr);
                negative_literal(expr);
            }
            Expr::Function(function) => {
                count_of_several(function);
                higher_order(function);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Writes aliases that are given as text, such as `AS "Total"`, in lower case like every other name.
fn lower_text_aliases(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item
            && matches!(alias.quote_style, Some('\'' | '"'))
        {
            alias.value = alias.value.to_lowercase();
        }
    }
}

/// `GROUP BY a, b WITH ROLLUP` and `GROUP BY a, b GROUPING SETS (…)`, in the form of the SQL standard.
fn grouping_sets(group_by: &mut GroupByExpr) -> Result<()> {
    let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
        return Ok(());
    };
    if modifiers.is_empty() {
        return Ok(());
    }
    if modifiers.len() > 1 {
        return Err(plan_datafusion_err!(
            "GROUP BY takes one of WITH ROLLUP, WITH CUBE and GROUPING SETS"
        ));
    }
    let keys = || expressions.iter().map(|key| vec![key.clone()]).collect();
    let sets = match modifiers.remove(0) {
        GroupByWithModifier::Rollup => Expr::Rollup(keys()),
        GroupByWithModifier::Cube => Expr::Cube(keys()),
        // The sets name the keys again, so that the list before them says nothing more.
        GroupByWithModifier::GroupingSets(sets) => sets,
        GroupByWithModifier::Totals => {
            return Err(plan_datafusion_err!(
                "GROUP BY … WITH TOTALS is not Spark's SQL; use WITH ROLLUP"
            ));
        }
    };
    *expressions = vec![sets];
    Ok(())
}

/// `SORT BY` and `CLUSTER BY` sort the result; where rows are distributed to is the planner's choice.
///
/// Spark sorts each partition by itself. A sorted whole is one of the orders that it allows.
fn order_by_of_select(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    select.distribute_by.clear();
    let mut keys = std::mem::take(&mut select.sort_by);
    keys.extend(select.cluster_by.drain(..).map(|expr| OrderByExpr {
        expr,
        options: OrderByOptions {
            asc: None,
            nulls_first: None,
        },
        with_fill: None,
    }));
    if query.order_by.is_none() && !keys.is_empty() {
        query.order_by = Some(OrderBy {
            kind: OrderByKind::Expressions(keys),
            interpolate: None,
        });
    }
}

fn except_for_minus(body: &mut SetExpr) {
    if let SetExpr::SetOperation {
        op, left, right, ..
    } = body
    {
        if *op == SetOperator::Minus {
            *op = SetOperator::Except;
        }
        except_for_minus(left);
        except_for_minus(right);
    }
}

/// Names the columns of a list of values `col1`, `col2`, …, as Spark does.
fn name_values(query: &mut Query) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_mut() else {
        return Ok(());
    };
    let Some(width) = values.rows.first().map(|row| row.content.len()) else {
        return Ok(());
    };
    let columns: Vec<String> = (1..=width)
        .map(|n| format!("column{n} AS col{n}"))
        .collect();
    let text = format!("SELECT {} FROM (VALUES (1))", columns.join(", "));
    let mut named = Parser::new(&SparkDialect)
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
    if let SetExpr::Select(select) = named.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let datafusion::sql::sqlparser::ast::TableFactor::Derived { subquery, .. } =
            &mut table.relation
        && let SetExpr::Values(inner) = subquery.body.as_mut()
    {
        std::mem::swap::<Values>(inner, values);
        query.body = named.body;
    }
    Ok(())
}

/// `a RLIKE p` and `a REGEXP p`.
fn regexp_like(expr: &mut Expr) {
    let Expr::RLike {
        negated,
        expr: text,
        pattern,
        ..
    } = expr
    else {
        return;
    };
    let arguments = vec![text.as_ref().clone(), pattern.as_ref().clone()];
    let matches = call("regexp_like", arguments);
    *expr = if *negated {
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(matches),
        }
    } else {
        matches
    };
}

fn not_for_bang(expr: &mut Expr) {
    if let Expr::UnaryOp { op, .. } = expr
        && *op == UnaryOperator::BangNot
    {
        *op = UnaryOperator::Not;
    }
}

/// `-128Y` is one literal, since 128 is no TINYINT.
fn negative_literal(expr: &mut Expr) {
    use datafusion::sql::sqlparser::ast::Value;
    if let Expr::UnaryOp {
        op: UnaryOperator::Minus,
        expr: operand,
    } = expr
        && let Expr::TypedString(typed) = operand.as_mut()
        && let Value::SingleQuotedString(digits) = &mut typed.value.value
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && !digits.contains(['-', ':'])
    {
        digits.insert(0, '-');
        *expr = operand.as_ref().clone();
    }
}

/// `COUNT(DISTINCT a, b)` counts the different pairs that have no null.
fn count_of_several(function: &mut Function) {
    let name = function.name.to_string();
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    if !name.eq_ignore_ascii_case("count") || list.args.len() < 2 {
        return;
    }
    let arguments: Option<Vec<Expr>> = list
        .args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let Some(arguments) = arguments else { return };
    let without_null = arguments
        .iter()
        .map(|argument| Expr::IsNotNull(Box::new(argument.clone())))
        .reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        });
    let Some(condition) = without_null else {
        return;
    };
    let result = if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        call("struct", arguments)
    } else {
        Expr::value(datafusion::sql::sqlparser::ast::Value::Boolean(true))
    };
    let counted = Expr::Case {
        case_token: datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty(
        ),
        end_token: datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: None,
    };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(counted))];
}

/// Spark's higher-order functions by the names that DataFusion's have.
fn higher_order(function: &mut Function) {
    let FunctionArguments::List(list) = &function.args else {
        return;
    };
    let has_lambda = list.args.iter().any(|argument| {
        matches!(
            argument,
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_)))
        )
    });
    if !has_lambda {
        return;
    }
    let name = match function.name.to_string().to_lowercase().as_str() {
        "transform" => "array_transform",
        "filter" => "array_filter",
        "exists" => "array_any_match",
        _ => return,
    };
    function.name = ObjectName::from(vec![Ident::new(name)]);
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    use datafusion::sql::sqlparser::ast::FunctionArgumentList;
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(Span::empty(), name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments
                .into_iter()
                .map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)))
                .collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
