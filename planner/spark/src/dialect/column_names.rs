//! Names of columns that have no alias, as Spark writes them: `count(1)`, `(a + 1)`,
//! `CAST(a AS STRING)`.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, DataType as SqlType, DateTimeField,
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Select,
    SelectItem, Subscript, UnaryOperator, Value, WindowSpec, WindowType,
};

use super::window_names::write_window;

/// Functions of one number that Spark writes in capitals.
const CAPITAL_FUNCTIONS: [&str; 29] = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "cot",
    "degrees",
    "dense_rank",
    "exp",
    "expm1",
    "floor",
    "hypot",
    "log10",
    "log1p",
    "log2",
    "percent_rank",
    "radians",
    "rank",
    "signum",
    "sin",
    "sinh",
    "sqrt",
    "tanh",
];

/// Gives every column of a select list without a name the name that Spark generates.
pub(super) fn name_columns(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(name) = generated_name(expr)
        {
            super::names::rename(item, &name);
        }
    }
}

/// Does an item of a select list get its name from its expression, rather than from a column?
fn has_generated_name(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Wildcard(_) => false,
        Expr::QualifiedWildcard(..) => false,
        Expr::Nested(inner) => has_generated_name(inner),
        _ => true,
    }
}

/// Returns the name of a column without an alias, if its expression gives it one.
#[must_use]
pub fn generated_name(expr: &Expr) -> Option<String> {
    has_generated_name(expr).then(|| name_of(expr))
}

/// Returns the name of an expression.
pub(super) fn name_of(expr: &Expr) -> String {
    let mut name = String::new();
    write(expr, &mut name);
    name
}

/// Appends the name of an expression to `out`, so that a long chain of operators takes linear time.
pub(super) fn write(expr: &Expr, out: &mut String) {
    match expr {
        Expr::Identifier(name) => out.push_str(&name.value),
        Expr::CompoundIdentifier(parts) => {
            out.push_str(parts.last().map_or("", |part| &part.value));
        }
        Expr::CompoundFieldAccess { root, access_chain } => write_access(root, access_chain, out),
        Expr::Nested(inner) => write(inner, out),
        Expr::Value(value) => write_value(&value.value, out),
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(digits) if is_number(&typed.data_type) => {
                out.push_str(digits);
            }
            value => {
                out.push_str(&typed.data_type.to_string().to_uppercase());
                out.push_str(" '");
                write_value(value, out);
                out.push('\'');
            }
        },
        Expr::UnaryOp { op, expr } => write_unary(*op, expr, out),
        Expr::BinaryOp { left, op, right } => write_binary(left, op, right, out),
        Expr::Function(function) => write_function(function, out),
        Expr::Cast {
            kind,
            expr,
            data_type,
            ..
        } => {
            out.push_str(match kind {
                CastKind::TryCast | CastKind::SafeCast => "TRY_CAST(",
                _ => "CAST(",
            });
            write(expr, out);
            out.push_str(" AS ");
            out.push_str(&type_name(data_type));
            out.push(')');
        }
        Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } => write_case(operand.as_deref(), conditions, else_result.as_deref(), out),
        Expr::Array(array) => write_call("array", &array.elem, out),
        Expr::Struct { values, .. } | Expr::Tuple(values) => write_call("struct", values, out),
        Expr::Subquery(_) => out.push_str("scalarsubquery()"),
        Expr::Exists { negated, .. } => {
            out.push_str(if *negated {
                "(NOT exists())"
            } else {
                "exists()"
            });
        }
        other => write_condition(other, out),
    }
}

/// Writes conditions with words for operators.
fn write_condition(expr: &Expr, out: &mut String) {
    match expr {
        Expr::IsNull(value) => write_suffixed(value, " IS NULL)", out),
        Expr::IsNotNull(value) => write_suffixed(value, " IS NOT NULL)", out),
        Expr::IsTrue(value) => write_suffixed(value, " IS TRUE)", out),
        Expr::IsNotTrue(value) => write_suffixed(value, " IS NOT TRUE)", out),
        Expr::IsFalse(value) => write_suffixed(value, " IS FALSE)", out),
        Expr::IsNotFalse(value) => write_suffixed(value, " IS NOT FALSE)", out),
        Expr::IsNotDistinctFrom(left, right) => write_infix(left, "<=>", right, out),
        Expr::IsDistinctFrom(left, right) => {
            write_negated(true, out, |out| write_infix(left, "<=>", right, out));
        }
        Expr::InList {
            expr,
            list,
            negated: is_negated,
        } => write_negated(*is_negated, out, |out| {
            out.push('(');
            write(expr, out);
            out.push_str(" IN (");
            write_list(list, out);
            out.push_str("))");
        }),
        Expr::InSubquery {
            expr,
            negated: is_negated,
            ..
        } => write_negated(*is_negated, out, |out| {
            out.push('(');
            write(expr, out);
            out.push_str(" IN (listquery()))");
        }),
        Expr::Between {
            expr,
            negated: is_negated,
            low,
            high,
        } => write_negated(*is_negated, out, |out| {
            write_parts("between(", &[expr, low, high], out);
        }),
        Expr::Like {
            negated: is_negated,
            expr,
            pattern,
            ..
        } => write_negated(*is_negated, out, |out| {
            write(expr, out);
            out.push_str(" LIKE ");
            write(pattern, out);
        }),
        Expr::ILike {
            negated: is_negated,
            expr,
            pattern,
            ..
        } => write_negated(*is_negated, out, |out| {
            write_parts("ilike(", &[expr, pattern], out);
        }),
        Expr::RLike {
            negated: is_negated,
            expr,
            pattern,
            ..
        } => write_negated(*is_negated, out, |out| {
            write_parts("RLIKE(", &[expr, pattern], out);
        }),
        other => write_special_form(other, out),
    }
}

/// Writes functions that have a syntax of their own.
fn write_special_form(expr: &Expr, out: &mut String) {
    match expr {
        Expr::Extract { field, expr, .. } => {
            out.push_str("extract(");
            match field {
                DateTimeField::Custom(name) => out.push_str(&name.value),
                field => out.push_str(&field.to_string().to_lowercase()),
            }
            out.push_str(" FROM ");
            write(expr, out);
            out.push(')');
        }
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            out.push_str("substring(");
            write(expr, out);
            for (part, default) in [(substring_from, "1"), (substring_for, "2147483647")] {
                out.push_str(", ");
                match part {
                    Some(part) => write(part, out),
                    None => out.push_str(default),
                }
            }
            out.push(')');
        }
        Expr::Position { expr, r#in } => {
            out.push_str("locate(");
            write(expr, out);
            out.push_str(", ");
            write(r#in, out);
            out.push_str(", 1)");
        }
        Expr::Ceil { expr, .. } => write_parts("CEIL(", &[expr], out),
        Expr::Floor { expr, .. } => write_parts("FLOOR(", &[expr], out),
        Expr::Trim {
            expr,
            trim_where,
            trim_what,
            ..
        } => match (trim_where, trim_what) {
            (None, None) => write_parts("trim(", &[expr], out),
            (side, characters) => {
                let side = side.map_or_else(|| "BOTH".to_owned(), |side| side.to_string());
                out.push_str(&format!("TRIM({side} "));
                if let Some(characters) = characters {
                    write(characters, out);
                    out.push(' ');
                }
                out.push_str("FROM ");
                write(expr, out);
                out.push(')');
            }
        },
        other => out.push_str(&other.to_string()),
    }
}

fn write_suffixed(value: &Expr, suffix: &str, out: &mut String) {
    out.push('(');
    write(value, out);
    out.push_str(suffix);
}

fn write_parts(start: &str, parts: &[&Expr], out: &mut String) {
    out.push_str(start);
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        write(part, out);
    }
    out.push(')');
}

fn write_negated(is_negated: bool, out: &mut String, condition: impl FnOnce(&mut String)) {
    if is_negated {
        out.push_str("(NOT ");
    }
    condition(out);
    if is_negated {
        out.push(')');
    }
}

pub(super) fn write_list(values: &[Expr], out: &mut String) {
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        write(value, out);
    }
}

fn write_call(name: &str, arguments: &[Expr], out: &mut String) {
    out.push_str(name);
    out.push('(');
    write_list(arguments, out);
    out.push(')');
}

fn write_access(root: &Expr, chain: &[AccessExpr], out: &mut String) {
    // The names before the first index are a path, and the value has the last of them.
    let path = chain
        .iter()
        .take_while(|access| matches!(access, AccessExpr::Dot(Expr::Identifier(_))))
        .count();
    let is_path = matches!(root, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let start = match is_path && path == chain.len() {
        true => path - 1,
        false => {
            write(root, out);
            0
        }
    };
    for (n, access) in chain[start..].iter().enumerate() {
        match access {
            AccessExpr::Dot(field) => {
                if n > 0 || start == 0 {
                    out.push('.');
                }
                write(field, out);
            }
            AccessExpr::Subscript(Subscript::Index { index }) => {
                out.push('[');
                write(index, out);
                out.push(']');
            }
            AccessExpr::Subscript(slice) => out.push_str(&slice.to_string()),
        }
    }
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Number(digits, _) => out.push_str(digits),
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => out.push_str(text),
        Value::Null => out.push_str("NULL"),
        other => out.push_str(&other.to_string()),
    }
}

fn write_unary(op: UnaryOperator, operand: &Expr, out: &mut String) {
    match (op, operand) {
        (UnaryOperator::Minus, Expr::Value(_) | Expr::TypedString(_)) => {
            out.push('-');
            write(operand, out);
        }
        (UnaryOperator::Not | UnaryOperator::BangNot, _) => {
            write_negated(true, out, |out| write(operand, out));
        }
        (UnaryOperator::BitwiseNot, _) => {
            out.push('~');
            write(operand, out);
        }
        (op, _) => {
            out.push_str(&format!("({op} "));
            write(operand, out);
            out.push(')');
        }
    }
}

fn write_infix(left: &Expr, sign: &str, right: &Expr, out: &mut String) {
    out.push('(');
    write(left, out);
    out.push(' ');
    out.push_str(sign);
    out.push(' ');
    write(right, out);
    out.push(')');
}

fn write_binary(left: &Expr, op: &BinaryOperator, right: &Expr, out: &mut String) {
    match op {
        BinaryOperator::NotEq => write_negated(true, out, |out| write_infix(left, "=", right, out)),
        BinaryOperator::StringConcat => {
            out.push_str("concat(");
            write(left, out);
            out.push_str(", ");
            write(right, out);
            out.push(')');
        }
        BinaryOperator::MyIntegerDivide => write_infix(left, "div", right, out),
        BinaryOperator::Spaceship => write_infix(left, "<=>", right, out),
        op => write_infix(left, &op.to_string(), right, out),
    }
}

fn write_case(
    operand: Option<&Expr>,
    conditions: &[CaseWhen],
    else_result: Option<&Expr>,
    out: &mut String,
) {
    out.push_str("CASE");
    for CaseWhen { condition, result } in conditions {
        out.push_str(" WHEN ");
        match operand {
            Some(operand) => write_infix(operand, "=", condition, out),
            None => write(condition, out),
        }
        out.push_str(" THEN ");
        write(result, out);
    }
    if let Some(value) = else_result {
        out.push_str(" ELSE ");
        write(value, out);
    }
    out.push_str(" END");
}

fn write_function(function: &Function, out: &mut String) {
    let name = function.name.to_string().to_lowercase();
    let is_if = name == "if";
    out.push_str(if is_if { "(" } else { "" });
    match CAPITAL_FUNCTIONS.contains(&name.as_str()) || is_if || name == "rlike" {
        true => out.push_str(&name.to_uppercase()),
        false => out.push_str(&name),
    }
    out.push('(');
    if let FunctionArguments::List(list) = &function.args {
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            out.push_str("DISTINCT ");
        }
        for (n, argument) in list.args.iter().enumerate() {
            if n > 0 {
                out.push_str(", ");
            }
            write_argument(argument, out);
        }
    }
    out.push_str(if is_if { "))" } else { ")" });
    if let Some(condition) = &function.filter {
        out.push_str(" FILTER (WHERE ");
        write(condition, out);
        out.push(')');
    }
    match &function.over {
        Some(WindowType::WindowSpec(window)) => write_over(&name, window, out),
        Some(WindowType::NamedWindow(window)) => {
            out.push_str(" OVER ");
            out.push_str(&window.value);
        }
        None => {}
    }
}

fn write_over(function: &str, window: &WindowSpec, out: &mut String) {
    out.push_str(" OVER (");
    write_window(function, window, out);
    out.push(')');
}

fn write_argument(argument: &FunctionArg, out: &mut String) {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => write(expr, out),
        // `count(*)` is called `count(1)`.
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => out.push('1'),
        other => out.push_str(&other.to_string()),
    }
}

fn is_number(data_type: &SqlType) -> bool {
    matches!(
        data_type,
        SqlType::TinyInt(_)
            | SqlType::SmallInt(_)
            | SqlType::BigInt(_)
            | SqlType::Float(_)
            | SqlType::Double(_)
            | SqlType::Decimal(_)
    )
}

/// Returns Spark's name of a type in a cast.
fn type_name(data_type: &SqlType) -> String {
    let name = data_type.to_string().to_uppercase().replace(", ", ",");
    match name.as_str() {
        "INTEGER" => "INT".to_owned(),
        "LONG" => "BIGINT".to_owned(),
        "SHORT" => "SMALLINT".to_owned(),
        "BYTE" => "TINYINT".to_owned(),
        "REAL" => "FLOAT".to_owned(),
        "BOOL" => "BOOLEAN".to_owned(),
        "DECIMAL" | "DEC" | "NUMERIC" => "DECIMAL(10,0)".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{SparkDialect, tokenize};
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn columns_are_named_as_in_spark() {
        for (sql, expected) in [
            ("count(*)", "count(1)"),
            ("SUM(DISTINCT t.a)", "sum(DISTINCT a)"),
            ("a + 1", "(a + 1)"),
            ("-a * -1", "((- a) * -1)"),
            ("a <> 'x'", "(NOT (a = x))"),
            ("a || b", "concat(a, b)"),
            ("7 DIV 2L", "(7 div 2)"),
            ("CAST(a AS decimal(5, 2))", "CAST(a AS DECIMAL(5,2))"),
            ("try_cast(a AS long)", "TRY_CAST(a AS BIGINT)"),
            (
                "CASE WHEN a > 1 THEN b ELSE NULL END",
                "CASE WHEN (a > 1) THEN b ELSE NULL END",
            ),
            ("CASE a WHEN 1 THEN b END", "CASE WHEN (a = 1) THEN b END"),
            ("NOT a IN (1, 2)", "(NOT (a IN (1, 2)))"),
            ("a IS NOT NULL", "(a IS NOT NULL)"),
            ("extract(YEAR FROM d)", "extract(year FROM d)"),
            ("if(a = 1, 2, 3)", "(IF((a = 1), 2, 3))"),
            ("sqrt(a)", "SQRT(a)"),
            ("date'2020-01-01'", "DATE '2020-01-01'"),
            ("f(a).b[0]", "f(a).b[0]"),
            ("(a)", "a"),
            (
                "sum(a) OVER (PARTITION BY b ORDER BY c DESC)",
                "sum(a) OVER (PARTITION BY b ORDER BY c DESC NULLS LAST RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT \
                 ROW)",
            ),
            (
                "rank() OVER (ORDER BY c)",
                "RANK() OVER (ORDER BY c ASC NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
            ),
            (
                "count(*) FILTER (WHERE a > 1) OVER ()",
                "count(1) FILTER (WHERE (a > 1)) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
            ),
        ] {
            let expr = Parser::new(&SparkDialect)
                .with_tokens_with_locations(tokenize(sql).unwrap())
                .parse_expr()
                .unwrap();
            assert_eq!(name_of(&expr), expected, "{sql}");
        }
    }
}
