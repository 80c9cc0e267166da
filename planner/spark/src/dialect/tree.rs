//! Rewrites the syntax tree where DataFusion plans a clause or operator of Spark in another form.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, JoinConstraint, JoinOperator, ObjectName,
    OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, Select, SelectItem, SetExpr,
    SetOperator, Statement, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
    UnaryOperator, Value, Values, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::names::CteScopes;
use super::syntax::SparkDialect;
use super::{
    calls, cast_names, clauses, column_names, field_names, generator_tables, generators, grouping,
    having, intervals, joins, lambda_fields, literals, named_windows, names, numbers,
    older_meanings, order_by, patterns, pivots, random_numbers, row_values, samples, windows,
};
use crate::legacy::Legacy;

/// Rewrites a tree of Spark's SQL into one that DataFusion plans.
///
/// # Errors
/// If Spark does not have a clause, such as `WITH TOTALS`.
pub fn translate(tree: &mut impl VisitMut, legacy: &Legacy) -> Result<()> {
    let mut translation = Translation {
        legacy: legacy.clone(),
        ..Translation::default()
    };
    if let ControlFlow::Break(error) = tree.visit(&mut translation) {
        return Err(error);
    }
    numbers::type_literals(tree);
    Ok(())
}

/// Number of arguments of `range` that DataFusion takes: start, end and step.
const RANGE_ARGUMENTS: usize = 3;

#[derive(Default)]
struct Translation {
    legacy: Legacy,
    /// Whether each query around the current node is the source of an INSERT, whose columns the
    /// table names.
    insert_sources: Vec<bool>,
    next_is_insert_source: bool,
    cte_scopes: CteScopes,
    named_subqueries: usize,
}

impl Translation {
    fn translate_query(&mut self, query: &mut Query) -> Result<()> {
        clauses::check_query(query)?;
        named_windows::expand(query)?;
        grouping::complete_ids(query)?;
        order_by_sort_keys(query);
        replace_minus(&mut query.body);
        nest_set_operation(query);
        self.cte_scopes.enter(query);
        joins::merge_keys(query)?;
        order_by::bind(query)
    }

    fn translate_select(&mut self, select: &mut Select) -> Result<()> {
        clauses::check_select(select)?;
        lower_text_aliases(select);
        windows::move_to_from(select);
        having::resolve_aliases(select);
        names::mark_duplicates(&mut select.projection);
        field_names::resolve_fields(select);
        select.from.iter_mut().for_each(add_missing_join_conditions);
        self.name_subqueries(select);
        grouping::expand(&mut select.group_by)?;
        generator_tables::rewrite(&mut select.from)?;
        generators::move_to_from(select)?;
        column_names::name_columns(select);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                calls::rewrite_tuple(expr);
            }
        }
        Ok(())
    }

    /// Names the subqueries of a join that have no alias, so that their columns differ from those
    /// of other tables. Under HAVING and QUALIFY, they also differ from aliases of the select list.
    fn name_subqueries(&mut self, select: &mut Select) {
        let tables = select.from.iter().map(|table| 1 + table.joins.len());
        let must_be_named =
            tables.sum::<usize>() > 1 || select.having.is_some() || select.qualify.is_some();
        let tables = select.from.iter_mut().flat_map(|table| {
            let joined = table.joins.iter_mut().map(|join| &mut join.relation);
            std::iter::once(&mut table.relation).chain(joined)
        });
        for table in tables {
            if let TableFactor::Derived {
                subquery,
                alias: alias @ None,
                ..
            } = table
                && (must_be_named || joins::repeats_keys(subquery))
            {
                self.named_subqueries += 1;
                *alias = Some(TableAlias {
                    explicit: true,
                    name: Ident::new(format!("__subquery_{}", self.named_subqueries)),
                    columns: Vec::new(),
                    at: None,
                });
            }
        }
    }
}

/// Stops a visitor at an error.
fn to_control_flow(result: Result<()>) -> ControlFlow<DataFusionError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Translation {
    type Break = DataFusionError;

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Self::Break> {
        move_with_into_insert(statement);
        self.next_is_insert_source = matches!(statement, Statement::Insert(_));
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.insert_sources
            .push(std::mem::take(&mut self.next_is_insert_source));
        to_control_flow(self.translate_query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.cte_scopes.leave();
        cast_names::label_casts(query);
        if let Err(error) = random_numbers::check(query) {
            return ControlFlow::Break(error);
        }
        if self.insert_sources.pop() != Some(true)
            && let Err(error) = name_values(query)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        to_control_flow(self.translate_select(select))
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Self::Break> {
        name_range_column(table);
        pivots::complete(table);
        to_control_flow(clauses::check_table(table).and_then(|()| samples::expand(table)))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Err(error) = row_values::rewrite(expr) {
            return ControlFlow::Break(error);
        }
        match expr {
            Expr::RLike { .. } => rewrite_rlike(expr),
            Expr::Like { .. } | Expr::ILike { .. } => {
                if let Err(error) = patterns::escape_by_backslash(expr) {
                    return ControlFlow::Break(error);
                }
            }
            Expr::TypedString(literal) => {
                if let Err(error) = literals::check_typed(literal) {
                    return ControlFlow::Break(error);
                }
            }
            Expr::UnaryOp { .. } => {
                replace_bang(expr);
                intervals::negate(expr);
                call_bitwise_not(expr);
            }
            Expr::Subquery(subquery)
            | Expr::Exists { subquery, .. }
            | Expr::InSubquery { subquery, .. } => joins::qualify_keys(subquery),
            Expr::Struct { .. } => calls::rewrite_struct(expr),
            Expr::Cast { .. } => intervals::read_cast(expr),
            Expr::Lambda(lambda) => {
                lambda_fields::rewrite(lambda);
                calls::rewrite_tuple(&mut lambda.body);
            }
            Expr::Ceil { .. } | Expr::Floor { .. } => calls::rewrite_rounding_to_scale(expr),
            Expr::CompoundFieldAccess { root, access_chain } => {
                quote_fields(root, access_chain);
            }
            Expr::Function(function) => {
                let checked = clauses::check_call(function)
                    .and_then(|()| older_meanings::rewrite_call(function, &self.legacy))
                    .and_then(|()| check_count_arguments(function))
                    .and_then(|()| quote_unit(function));
                if let Err(error) = checked {
                    return ControlFlow::Break(error);
                }
                rewrite_count_of_columns(function);
                calls::name_fields_of_tuples(function);
                calls::rewrite(function);
                calls::rewrite_nanvl(expr);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.legacy.null_in_empty_list {
            older_meanings::null_in_empty_list(expr);
        }
        ControlFlow::Continue(())
    }
}

/// Rewrites `~a` as `bitwise_not(a)`: the planner does not know the operator.
fn call_bitwise_not(expr: &mut Expr) {
    if let Expr::UnaryOp {
        op: UnaryOperator::BitwiseNot,
        expr: operand,
    } = expr
    {
        let operand = std::mem::replace(operand.as_mut(), Expr::value(Value::Null));
        *expr = call("bitwise_not", vec![operand]);
    }
}

/// Rewrites `WITH t AS (…) INSERT INTO x SELECT …` as `INSERT INTO x WITH t AS (…) SELECT …`.
fn move_with_into_insert(statement: &mut Statement) {
    let Statement::Query(query) = statement else {
        return;
    };
    let Some(mut with) = query.with.take() else {
        return;
    };
    if let SetExpr::Insert(insert) = query.body.as_mut()
        && let Statement::Insert(target) = insert
        && let Some(source) = &mut target.source
    {
        // Tables of the source hide those of the same name before it.
        if let Some(source_with) = source.with.take() {
            with.recursive |= source_with.recursive;
            with.cte_tables.extend(source_with.cte_tables);
        }
        source.with = Some(with);
        let insert = Statement::Insert(target.clone());
        *statement = insert;
    } else {
        query.with = Some(with);
    }
}

/// Changes aliases that are strings, such as `AS "Total"`, to lower case like every other name.
fn lower_text_aliases(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item
            && matches!(alias.quote_style, Some('\'' | '"'))
        {
            alias.value = alias.value.to_lowercase();
        }
    }
}

/// Rewrites `SORT BY` and `CLUSTER BY` as ORDER BY, and drops `DISTRIBUTE BY`: partitions are the
/// planner's choice.
///
/// Spark sorts each partition separately, which a total order satisfies too.
fn order_by_sort_keys(query: &mut Query) {
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

/// Replaces MINUS by its synonym EXCEPT.
fn replace_minus(body: &mut SetExpr) {
    if let SetExpr::SetOperation {
        op, left, right, ..
    } = body
    {
        if *op == SetOperator::Minus {
            *op = SetOperator::Except;
        }
        replace_minus(left);
        replace_minus(right);
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
        && let TableFactor::Derived { subquery, .. } = &mut table.relation
        && let SetExpr::Values(inner) = subquery.body.as_mut()
    {
        std::mem::swap::<Values>(inner, values);
        query.body = named.body;
    }
    Ok(())
}

/// Rewrites `a RLIKE p` and `a REGEXP p` as a call.
fn rewrite_rlike(expr: &mut Expr) {
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

/// Nests a set operation with `ORDER BY ALL` in a SELECT, where DataFusion sorts by all columns.
fn nest_set_operation(query: &mut Query) {
    let is_all = query
        .order_by
        .as_ref()
        .is_some_and(|order_by| matches!(order_by.kind, OrderByKind::All(_)));
    if !is_all || matches!(query.body.as_ref(), SetExpr::Select(_)) {
        return;
    }
    let Ok(mut outer) = Parser::new(&SparkDialect)
        .try_with_sql("SELECT * FROM (SELECT 1)")
        .and_then(|mut parser| parser.parse_query())
    else {
        return;
    };
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let TableFactor::Derived { subquery, .. } = &mut table.relation
    {
        std::mem::swap(&mut subquery.body, &mut query.body);
        query.body = outer.body;
    }
}

/// Adds `ON true` to outer, semi and anti joins without a condition: each row joins every other.
fn add_missing_join_conditions(table: &mut TableWithJoins) {
    for join in &mut table.joins {
        if let JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint) = &mut join.join_operator
            && *constraint == JoinConstraint::None
        {
            *constraint = JoinConstraint::On(Expr::value(Value::Boolean(true)));
        }
    }
}

/// Names the column of `range(10)` `id`. Drops its number of partitions: the planner chooses one.
fn name_range_column(table: &mut TableFactor) {
    let TableFactor::Table {
        name,
        alias,
        args: Some(arguments),
        ..
    } = table
    else {
        return;
    };
    if !name.to_string().eq_ignore_ascii_case("range") {
        return;
    }
    arguments.args.truncate(RANGE_ARGUMENTS);
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new("range"),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef {
            name: Ident::new("id"),
            data_type: None,
        });
    }
}

/// Rewrites `count()` as `count(NULL)`, which counts no rows.
///
/// # Errors
/// If the argument is `t.*`: Spark counts the rows without a null.
fn check_count_arguments(function: &mut Function) -> Result<()> {
    if !function.name.to_string().eq_ignore_ascii_case("count") {
        return Ok(());
    }
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(());
    };
    if list.args.is_empty() {
        let null = Expr::value(Value::Null);
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(null))];
    }
    let is_wildcard = matches!(
        list.args.as_slice(),
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]
    );
    if is_wildcard && list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        return Err(plan_datafusion_err!(
            "count(DISTINCT *) is not supported; write count(DISTINCT a, b) with the columns"
        ));
    }
    if let [FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(table))] = list.args.as_slice()
    {
        return Err(plan_datafusion_err!(
            "count({table}.*) counts rows without a null and is not supported; write count(*), or count(a, b) with the \
             columns"
        ));
    }
    Ok(())
}

/// Changes the unit of `dateadd(MONTH, 1, d)` from a word to text, which the function takes.
///
/// # Errors
/// If the unit is text already, which Spark refuses.
fn quote_unit(function: &mut Function) -> Result<()> {
    let name = function.name.to_string().to_lowercase();
    let takes_unit = matches!(
        name.as_str(),
        "dateadd"
            | "date_add"
            | "datediff"
            | "date_diff"
            | "timediff"
            | "timestampadd"
            | "timestampdiff"
    );
    if let FunctionArguments::List(list) = &mut function.args
        && takes_unit
        && list.args.len() == 3
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(unit))) = list.args.first_mut()
    {
        match unit {
            Expr::Identifier(word) => {
                *unit = Expr::value(Value::SingleQuotedString(word.value.clone()));
            }
            Expr::Value(text) => {
                return Err(plan_datafusion_err!(
                    "[INVALID_PARAMETER_VALUE.DATETIME_UNIT] {name} takes a word such as MONTH, not the text {text}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Changes the fields of `f(x).a` from names to text, which DataFusion's planner takes. In
/// `t.a.b[0].c`, the names before the index stay: they may be those of a table and its column.
fn quote_fields(root: &Expr, chain: &mut [AccessExpr]) {
    let is_name = |access: &AccessExpr| matches!(access, AccessExpr::Dot(Expr::Identifier(_)));
    let names = match root {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            chain.iter().take_while(|access| is_name(access)).count()
        }
        _ => 0,
    };
    for access in &mut chain[names..] {
        if let AccessExpr::Dot(Expr::Identifier(name)) = access {
            let text = Value::SingleQuotedString(std::mem::take(&mut name.value));
            *access = AccessExpr::Dot(Expr::value(text));
        }
    }
}

/// Replaces `!a` by `NOT a`.
fn replace_bang(expr: &mut Expr) {
    if let Expr::UnaryOp { op, .. } = expr
        && *op == UnaryOperator::BangNot
    {
        *op = UnaryOperator::Not;
    }
}

/// Rewrites `COUNT(DISTINCT a, b)`, which counts distinct pairs without null, to count structs.
fn rewrite_count_of_columns(function: &mut Function) {
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
        Expr::value(Value::Boolean(true))
    };
    let counted = calls::case(condition, result, None);
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(counted))];
}

/// Returns a call of a function.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let name = ObjectName::from(vec![Ident::with_span(Span::empty(), name)]);
    let arguments = arguments.into_iter();
    let arguments = arguments.map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    call_with(name, arguments.collect())
}

/// Returns a call of a function with arguments that may have names.
pub(super) fn call_with(name: ObjectName, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
