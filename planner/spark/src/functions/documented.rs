//! Tests functions against the results that Spark documents, one table for each family.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::tree_node::{TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::SessionConfig;

use super::convert::Zone;
use super::register;
use super::render::to_strings;
use crate::coercion::resolve_expr;
use crate::operators;

fn state() -> SessionState {
    let config = SessionConfig::new()
        .set_str("datafusion.execution.time_zone", "America/Los_Angeles")
        .set_str("datafusion.sql_parser.dialect", "Databricks");
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_expr_planners(operators::planners())
        .build();
    register(&mut state).unwrap();
    let options = Arc::clone(state.config_options());
    state.execution_props_mut().mark_start_execution(options);
    state
}

/// Evaluates an expression, and writes its value as Spark's cast to STRING does.
fn evaluate(state: &SessionState, sql: &str) -> Result<String> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(DFSchema::empty()))
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expression = state.create_logical_expr(sql, &DFSchema::empty())?;
    let expression = expression
        .transform_up(|expr| resolve_expr(expr, &DFSchema::empty()))
        .data()?;
    let expression = simplifier.simplify(simplifier.coerce(expression, &DFSchema::empty())?)?;
    let expression = state.create_physical_expr(expression, &DFSchema::empty())?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
    let value = expression.evaluate(&batch)?.into_array(1)?;
    let zone = Zone::of_session(state.config_options())?;
    let texts = to_strings(&value, &zone)?;
    Ok(match texts.is_null(0) {
        true => "NULL".to_owned(),
        false => texts.value(0).to_owned(),
    })
}

/// Compares all facts, and reports all that differ at once.
fn check(facts: &[(&str, &str)]) {
    let state = state();
    let differing: Vec<String> = facts
        .iter()
        .filter_map(|(sql, expected)| match evaluate(&state, sql) {
            Ok(value) if value == *expected => None,
            Ok(value) => Some(format!("{sql}: expected {expected}, got {value}")),
            Err(error) => Some(format!("{sql}: expected {expected}, got the error {error}")),
        })
        .collect();
    assert!(differing.is_empty(), "\n{}", differing.join("\n"));
}

/// Checks that each expression fails.
fn check_errors(statements: &[&str]) {
    let state = state();
    let accepted: Vec<_> = statements
        .iter()
        .filter(|sql| evaluate(&state, sql).is_ok())
        .collect();
    assert_eq!(accepted, [&""; 0]);
}

#[test]
fn dates_and_timestamps() {
    check(&[
        ("year('2024-02-29')", "2024"),
        ("quarter(to_date('2024-11-03'))", "4"),
        ("dayofweek('2024-03-03')", "1"),
        ("weekday('2024-03-03')", "6"),
        ("weekofyear('2021-01-03')", "53"),
        ("dayofyear('2024-12-31')", "366"),
        ("hour('2024-05-06 07:08:09')", "7"),
        (
            "date_part('seconds', to_timestamp('2024-05-06 07:08:09.25'))",
            "9.250000",
        ),
        ("monthname('2024-05-06')", "May"),
        ("dayname('2024-05-06')", "Mon"),
        ("date_add('2024-02-28', CAST(2 AS INT))", "2024-03-01"),
        ("date_sub('2024-03-01', CAST(1 AS INT))", "2024-02-29"),
        ("add_months('2024-01-31', 1)", "2024-02-29"),
        ("datediff('2024-03-01', '2024-02-01')", "29"),
        ("months_between('2024-03-31', '2024-02-29')", "1.0"),
        ("last_day('2023-02-10')", "2023-02-28"),
        ("next_day('2024-05-06', 'mon')", "2024-05-13"),
        ("trunc('2024-05-06', 'quarter')", "2024-04-01"),
        (
            "date_trunc('week', '2024-05-08 10:00:00')",
            "2024-05-06 00:00:00",
        ),
    ]);
}

#[test]
fn conversions_of_dates_and_timestamps() {
    check(&[
        ("to_date('07/04/2021', 'dd/MM/yyyy')", "2021-04-07"),
        ("try_to_date('x', 'yyyy')", "NULL"),
        (
            "to_timestamp('2021-04-07 01:02', 'yyyy-MM-dd HH:mm')",
            "2021-04-07 01:02:00",
        ),
        ("try_to_timestamp('never')", "NULL"),
        (
            "date_format('2021-04-07 13:02:03', 'd MMM yyyy, h:mm a')",
            "7 Apr 2021, 1:02 PM",
        ),
        ("from_unixtime(86400)", "1970-01-01 16:00:00"),
        ("unix_timestamp('1970-01-01', 'yyyy-MM-dd')", "28800"),
        ("timestamp_millis(1500)", "1969-12-31 16:00:01.5"),
        ("unix_micros(timestamp_seconds(2))", "2000000"),
        (
            "from_utc_timestamp('2021-07-01 00:00:00', 'Asia/Tokyo')",
            "2021-07-01 09:00:00",
        ),
        (
            "convert_timezone('UTC', 'Asia/Tokyo', to_timestamp_ntz('2021-07-01'))",
            "2021-07-01 09:00:00",
        ),
        ("make_date(2024, 2, 29)", "2024-02-29"),
        (
            "make_timestamp(2024, 2, 29, 1, 2, 3.5)",
            "2024-02-29 01:02:03.5",
        ),
        (
            "make_timestamp(2024, 2, 29, 1, 2, 3, 'UTC')",
            "2024-02-28 17:02:03",
        ),
        ("try_make_timestamp(2024, 13, 1, 0, 0, 0)", "NULL"),
        (
            "make_interval(1, 2, 1, 1, 1, 1, 1.5)",
            "1 years 2 months 8 days 1 hours 1 minutes 1.5 seconds",
        ),
        ("current_timezone()", "America/Los_Angeles"),
    ]);
    check_errors(&[
        "to_date('2021-02-30')",
        "to_timestamp('x', 'yyyy')",
        "date_format('2021-01-01', 'YYYY')",
        "make_date(2023, 2, 29)",
        "next_day('2021-01-01', 'someday')",
    ]);
}

#[test]
fn text() {
    check(&[
        ("substring('hello', -3)", "llo"),
        ("substr('hello', 0, 2)", "he"),
        ("left('hello', -1)", ""),
        ("right('hello', 2)", "lo"),
        ("lpad('7', 3, '0')", "007"),
        ("split_part('a-b-c', '-', -1)", "c"),
        ("locate('b', 'abcb', 3)", "4"),
        ("startswith('spark', 'sp')", "true"),
        ("endswith('spark', NULL)", "NULL"),
        ("concat('a', 1, true)", "a1true"),
        ("concat_ws(',', 'a', NULL, array('b', 'c'))", "a,b,c"),
        ("elt(2, 'a', 'b')", "b"),
        ("initcap('hello wORLD')", "Hello World"),
        ("translate('banana', 'an', 'x')", "bxxx"),
        ("mask('Ab-1')", "Xx-n"),
        ("levenshtein('house', 'mouse', 0)", "-1"),
        ("base64('Faisca')", "RmFpc2Nh"),
        ("decode(encode('á', 'UTF-16'), 'UTF-16')", "á"),
        ("decode(2, 1, 'one', 2, 'two', 'many')", "two"),
        ("format_number(1234567.891, 1)", "1,234,567.9"),
        ("to_char(1234, '9,999')", "1,234"),
        ("to_number('$1,234.50', '$9,999.99')", "1234.50"),
        ("conv('ff', 16, 10)", "255"),
        ("regexp_replace('a1b22', '[0-9]+', '#')", "a#b#"),
        ("regexp_extract('k=v', '(.)=(.)', 2)", "v"),
        ("regexp_extract_all('1a2b', '([0-9])([a-z])', 1)", "[1, 2]"),
        ("split('a1b2c', '[0-9]')", "[a, b, c]"),
        ("rlike('abc', '^a')", "true"),
    ]);
    check_errors(&[
        "elt(3, 'a')",
        "regexp_extract('a', 'a', 1)",
        "to_number('x', '9')",
    ]);
}

#[test]
fn arrays_and_maps() {
    check(&[
        ("concat(array(1), array(2, 3))", "[1, 2, 3]"),
        ("element_at(array(1, 2, 3), -1)", "3"),
        ("element_at(map('a', 1), 'b')", "NULL"),
        ("try_element_at(array(1), 5)", "NULL"),
        ("get(array(7, 8), 1)", "8"),
        ("array_contains(array(1, NULL), 2)", "NULL"),
        ("array_remove(array(1, 2, NULL, 2), 2)", "[1, null]"),
        ("array_sort(array('b', NULL, 'a'))", "[a, b, null]"),
        ("sort_array(array(2, NULL, 1))", "[null, 1, 2]"),
        ("sort_array(array(2, NULL, 1), false)", "[2, 1, null]"),
        ("array_append(array(1), NULL)", "[1, null]"),
        ("array_insert(array(1, 2), -1, 9)", "[1, 2, 9]"),
        ("array_insert(array(1), 4, 9)", "[1, null, null, 9]"),
        ("array_union(array(1, 2, 2), array(3, 1))", "[1, 2, 3]"),
        ("array_except(array(1, NULL, 1), array(2))", "[1, null]"),
        ("arrays_overlap(array(1, NULL), array(2))", "NULL"),
        ("arrays_zip(array(1, 2), array('a'))", "[{1, a}, {2, null}]"),
        ("array_join(array('a', NULL, 'b'), '-', '?')", "a-?-b"),
        ("slice(array(1, 2, 3, 4), -2, 1)", "[3]"),
        ("flatten(array(array(1), array(2, 3)))", "[1, 2, 3]"),
        ("array_max(array(1, NULL, 3))", "3"),
        ("size(array(1, 2))", "2"),
        ("size(NULL)", "NULL"),
        ("sequence(5, 1, -2)", "[5, 3, 1]"),
        (
            "sequence(to_date('2024-01-30'), to_date('2024-02-01'))",
            "[2024-01-30, 2024-01-31, 2024-02-01]",
        ),
        ("reverse(array(1, 2))", "[2, 1]"),
        ("map_concat(map('a', 1), map('b', 2))", "{a -> 1, b -> 2}"),
        ("map_contains_key(map('a', 1), 'a')", "true"),
        ("map_contains_key(NULL, 'a')", "NULL"),
    ]);
    check_errors(&[
        "element_at(array(1), 0)",
        "element_at(array(1), 2)",
        "sequence(1, 5, -1)",
    ]);
}

#[test]
fn lambdas() {
    check(&[
        ("transform(array(1, 2), x -> x * 10)", "[10, 20]"),
        ("transform(array(5, 5), (x, i) -> x + i)", "[5, 6]"),
        ("filter(array(1, 2, NULL), x -> x > 1)", "[2]"),
        ("exists(array(1, NULL), x -> x > 1)", "NULL"),
        ("forall(array(2, 3), x -> x > 1)", "true"),
        ("aggregate(array(1, 2, 3), 10, (acc, x) -> acc + x)", "16"),
        (
            "reduce(array(1, 2), 0, (acc, x) -> acc + x, acc -> acc * 2)",
            "6",
        ),
        (
            "zip_with(array(1, 2), array(10), (x, y) -> coalesce(x, 0) + coalesce(y, 0))",
            "[11, 2]",
        ),
        (
            "map_filter(map('a', 1, 'b', 2), (k, v) -> v > 1)",
            "{b -> 2}",
        ),
        ("transform_values(map('a', 1), (k, v) -> v + 1)", "{a -> 2}"),
        (
            "map_zip_with(map('a', 1, 'b', 2), map('b', 5, 'c', 6), (k, x, y) -> coalesce(x, 0) + coalesce(y, 0))",
            "{a -> 1, b -> 7, c -> 6}",
        ),
    ]);
}

#[test]
fn json() {
    check(&[
        (
            r#"get_json_object('{"a":[{"b":1.50}]}', '$.a[0].b')"#,
            "1.50",
        ),
        ("json_array_length('[1, [2, 3]]')", "2"),
        (r#"json_object_keys('{"z":1,"a":2}')"#, "[z, a]"),
        (
            r#"from_json('{"a":1,"b":"x"}', 'a INT, b STRING')"#,
            "{1, x}",
        ),
        (r#"from_json('{"a":"x"}', 'a INT')"#, "{null}"),
        ("from_json('[1,null,2]', 'ARRAY<INT>')", "[1, null, 2]"),
        (r#"from_json('[1,"x"]', 'ARRAY<INT>')"#, "NULL"),
        (r#"from_json('{"a":1}', 'ARRAY<STRUCT<a: INT>>')"#, "[{1}]"),
        (
            "to_json(named_struct('a', 1, 'b', array('x')))",
            r#"{"a":1,"b":["x"]}"#,
        ),
        ("to_json(map('k', 1.5))", r#"{"k":1.5}"#),
        (r#"schema_of_json('{"a":[1]}')"#, "STRUCT<a: ARRAY<BIGINT>>"),
    ]);
}

#[test]
fn csv() {
    check(&[
        ("from_csv('1, 0.8', 'a INT, b DOUBLE')", "{1, 0.8}"),
        (
            "from_csv('26/08/2015', 'time Timestamp', map('timestampFormat', 'dd/MM/yyyy'))",
            "{2015-08-26 00:00:00}",
        ),
        (
            "from_csv('x;', 'a INT, b STRING, c STRING', map('sep', ';'))",
            "{null, null, null}",
        ),
        ("schema_of_csv('1,abc')", "STRUCT<_c0: INT, _c1: STRING>"),
        (
            "to_csv(named_struct('a', 1, 'b', 'x,y', 'c', null))",
            "1,\"x,y\",",
        ),
        (
            "to_csv(named_struct('time', to_timestamp('2015-08-26', 'yyyy-MM-dd')), map('timestampFormat', 'dd/MM/yyyy'))",
            "26/08/2015",
        ),
    ]);
}

#[test]
fn numbers_and_conditions() {
    check(&[
        ("factorial(5)", "120"),
        ("factorial(21)", "NULL"),
        ("log(2, 8)", "3.0"),
        ("ln(0)", "NULL"),
        ("bround(2.5, 0)", "2.0"),
        ("bround(35, -1)", "40"),
        ("sign(-3)", "-1.0"),
        ("div(7, 2)", "3"),
        ("try_divide(1, 0)", "NULL"),
        ("try_add(9223372036854775807, 1)", "NULL"),
        ("try_mod(7, 4)", "3"),
        ("int('12')", "12"),
        ("double('1e2')", "100.0"),
        ("string(1e10)", "1.0E10"),
        ("boolean('yes')", "true"),
        ("isnull(NULL)", "true"),
        ("equal_null(NULL, NULL)", "true"),
        ("nullifzero(0)", "NULL"),
        ("zeroifnull(NULL)", "0.0"),
        ("nvl(NULL, 3)", "3"),
        ("typeof(array(1.5))", "array<double>"),
    ]);
    check_errors(&[
        "int('x')",
        "int(3e10)",
        "div(1, 0)",
        "raise_error('stop')",
        "assert_true(1 > 2)",
    ]);
}
