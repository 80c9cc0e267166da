//! Rewrites `TABLESAMPLE`, which returns some of the rows of a table.
//!
//! ```text
//! FROM t TABLESAMPLE (10 PERCENT) REPEATABLE (7) x ──▶ FROM (SELECT * FROM t WHERE rand(7) < 0.1) x
//! FROM t TABLESAMPLE (10 ROWS)                     ──▶ FROM (SELECT * FROM t LIMIT 10) t
//! ```

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectNamePart, SetExpr, TableAlias, TableFactor, TableSample, TableSampleKind,
    TableSampleUnit, Value,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::syntax::SparkDialect;

/// Replaces a table with a sample by a subquery.
///
/// # Errors
/// If Spark does not have this kind of sample, or its size is out of range.
pub(super) fn expand(table: &mut TableFactor) -> Result<()> {
    let (TableFactor::Table { sample, .. } | TableFactor::Derived { sample, .. }) = table else {
        return Ok(());
    };
    let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) =
        sample.take()
    else {
        return Ok(());
    };
    let alias = match table {
        TableFactor::Table { name, alias, .. } => alias.take().or_else(|| {
            let last = name.0.last().and_then(ObjectNamePart::as_ident)?;
            Some(table_alias(last.clone()))
        }),
        TableFactor::Derived { alias, .. } => alias.take(),
        _ => None,
    };
    let text = format!("SELECT * FROM sampled {}", sample_clause(&sample)?);
    let mut query = Parser::new(&SparkDialect)
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        std::mem::swap(&mut from.relation, table);
        *table = TableFactor::Derived {
            lateral: false,
            subquery: query,
            alias,
            sample: None,
        };
    }
    Ok(())
}

fn table_alias(name: Ident) -> TableAlias {
    TableAlias {
        explicit: true,
        name,
        columns: Vec::new(),
        at: None,
    }
}

/// Returns the clause that selects the rows of a sample.
fn sample_clause(sample: &TableSample) -> Result<String> {
    let seed = sample.seed.as_ref();
    let random = seed.map_or_else(
        || "rand()".to_owned(),
        |seed| format!("rand({})", seed.value),
    );
    if sample.name.is_some() || sample.offset.is_some() {
        return plan_err!(
            "{sample}: a sample is TABLESAMPLE (n PERCENT), (n ROWS) or (BUCKET x OUT OF y)"
        );
    }
    if let Some(bucket) = &sample.bucket {
        if bucket.on.is_some() {
            return plan_err!("{sample}: buckets of a column are not supported; leave ON out");
        }
        let (Some(part), Some(all)) = (
            parse_number(&bucket.bucket.value),
            parse_number(&bucket.total.value),
        ) else {
            return plan_err!("{sample}: BUCKET x OUT OF y takes two numbers");
        };
        return fraction_clause(sample, part / all, &random);
    }
    let Some(quantity) = &sample.quantity else {
        return plan_err!("{sample}: a sample needs a size, such as (10 PERCENT)");
    };
    match &quantity.unit {
        Some(TableSampleUnit::Rows) => Ok(format!("LIMIT {}", quantity.value)),
        Some(TableSampleUnit::Percent) => match literal_number(&quantity.value) {
            Some(percent) => fraction_clause(sample, percent / 100.0, &random),
            None => plan_err!("{sample}: the percentage must be a number"),
        },
        None => plan_err!("{sample}: samples by bytes are not supported; write PERCENT or ROWS"),
    }
}

fn fraction_clause(sample: &TableSample, fraction: f64, random: &str) -> Result<String> {
    if !(0.0..=1.0).contains(&fraction) {
        return plan_err!("{sample}: the fraction {fraction} is not from 0 to 1");
    }
    Ok(format!("WHERE {random} < {fraction:e}"))
}

fn literal_number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(value) => parse_number(&value.value),
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn parse_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number, _) => number.parse().ok(),
        _ => None,
    }
}
