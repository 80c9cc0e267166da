//! Spark's functions as Rust functions.
//!
//! Each one calls the SQL function of its name, which `docs/functions.md` describes. A string
//! argument is the name of a column, except where the parameter is a literal: a pattern, a format,
//! a number of digits. [`call_function`] calls every other function, and those that the session has
//! registered.
//!
//! ```
//! use faisca_spark::columns::functions::{call_function, regexp_extract, round, to_date, upper};
//! use faisca_spark::columns::{col, lit};
//!
//! assert_eq!(upper("name").to_string(), "upper(`name`)");
//! assert_eq!(round(col("a") * 2, 1).to_string(), "round((`a` * 2), 1)");
//! assert_eq!(regexp_extract("s", r"(\d+)", 1).to_string(), r"regexp_extract(`s`, '(\\d+)', 1)");
//! assert_eq!(call_function("mask", [col("card"), lit("X")]).to_string(), "mask(`card`, 'X')");
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use super::column::{Column, Literal, expr, lit};
use super::join_list;

/// Calls a function by its name: one of Spark's, or one that the session has registered.
pub fn call_function<C: Into<Column>>(
    name: &str,
    arguments: impl IntoIterator<Item = C>,
) -> Column {
    let arguments = arguments
        .into_iter()
        .map(|argument| argument.into().text().to_owned());
    expr(&format!("{name}({})", join_list(arguments)))
}

fn call(name: &str, arguments: &[Column]) -> Column {
    call_function(name, arguments)
}

/// Counts the rows in which the column is not null.
pub fn count(column: impl Into<Column>) -> Column {
    call("count", &[column.into()])
}

/// Counts the distinct values, or combinations of values, that contain no null.
pub fn count_distinct<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> Column {
    let columns = columns
        .into_iter()
        .map(|column| column.into().text().to_owned());
    expr(&format!("count(DISTINCT {})", join_list(columns)))
}

/// Sums the distinct values.
pub fn sum_distinct(column: impl Into<Column>) -> Column {
    expr(&format!("sum(DISTINCT {})", column.into().text()))
}

/// Joins texts, with a separator between them. Nulls are left out.
pub fn concat_ws<C: Into<Column>>(separator: &str, columns: impl IntoIterator<Item = C>) -> Column {
    let columns = columns.into_iter().map(Into::into);
    call_function("concat_ws", std::iter::once(lit(separator)).chain(columns))
}

/// Formats values as `printf` does.
pub fn format_string<C: Into<Column>>(
    format: &str,
    columns: impl IntoIterator<Item = C>,
) -> Column {
    let columns = columns.into_iter().map(Into::into);
    call_function("format_string", std::iter::once(lit(format)).chain(columns))
}

/// Parses a date by a pattern of Java.
pub fn to_date_with(column: impl Into<Column>, pattern: &str) -> Column {
    call("to_date", &[column.into(), lit(pattern)])
}

/// Parses an instant by a pattern of Java.
pub fn to_timestamp_with(column: impl Into<Column>, pattern: &str) -> Column {
    call("to_timestamp", &[column.into(), lit(pattern)])
}

/// Returns the number of the grouping set of a row.
pub fn grouping_id() -> Column {
    expr("grouping_id()")
}

/// Returns one row for each element of an array, or each entry of a map; none for null.
pub fn explode(column: impl Into<Column>) -> Column {
    call("explode", &[column.into()])
}

/// As [`explode`], with one row of null for null and for an empty array or map.
pub fn explode_outer(column: impl Into<Column>) -> Column {
    call("explode_outer", &[column.into()])
}

/// As [`explode`], with the position of each element before it.
pub fn posexplode(column: impl Into<Column>) -> Column {
    call("posexplode", &[column.into()])
}

/// Applies a function to each element of an array.
///
/// ```
/// use faisca_spark::columns::functions::transform;
///
/// let doubled = transform("prices", |price| price * 2);
/// assert!(doubled.to_string().starts_with("transform(`prices`, x_"));
/// ```
pub fn transform(column: impl Into<Column>, function: impl FnOnce(Column) -> Column) -> Column {
    lambda("transform", &column.into(), function)
}

/// Keeps the elements of an array for which a condition is true.
pub fn filter(column: impl Into<Column>, condition: impl FnOnce(Column) -> Column) -> Column {
    lambda("filter", &column.into(), condition)
}

/// True if a condition is true for an element of an array.
pub fn exists(column: impl Into<Column>, condition: impl FnOnce(Column) -> Column) -> Column {
    lambda("exists", &column.into(), condition)
}

/// True if a condition is true for all elements of an array.
pub fn forall(column: impl Into<Column>, condition: impl FnOnce(Column) -> Column) -> Column {
    lambda("forall", &column.into(), condition)
}

fn lambda(name: &str, column: &Column, body: impl FnOnce(Column) -> Column) -> Column {
    // Lambdas may be nested, so each has its own parameter.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let parameter = format!("x_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let body = body(expr(&parameter));
    expr(&format!(
        "{name}({}, {parameter} -> {})",
        column.text(),
        body.text()
    ))
}

/// Expands to the Rust type of a parameter, or, with its name, to the column that is passed to
/// Spark's function.
macro_rules! argument {
    (column) => { impl Into<Column> };
    (literal) => { impl Literal };
    (column $value:ident) => { $value.into() };
    (literal $value:ident) => { lit($value) };
}

macro_rules! functions {
    ($($name:ident($($argument:ident: $kind:ident),*)),* $(,)?) => {$(
        #[doc = concat!("Calls `", stringify!($name), "` of Spark's SQL.")]
        pub fn $name($($argument: argument!($kind)),*) -> Column {
            call(stringify!($name), &[$(argument!($kind $argument)),*])
        }
    )*};
}

macro_rules! variadic {
    ($($name:ident $function:literal),* $(,)?) => {$(
        #[doc = concat!("Calls `", $function, "` of Spark's SQL.")]
        pub fn $name<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> Column {
            call_function($function, columns)
        }
    )*};
}

variadic! {
    array "array",
    arrays_zip "arrays_zip",
    coalesce "coalesce",
    concat "concat",
    greatest "greatest",
    hash "hash",
    least "least",
    map "map",
    struct_ "struct",
    xxhash64 "xxhash64",
}

// Aggregates
functions! {
    any_value(a: column),
    approx_count_distinct(a: column),
    array_agg(a: column),
    avg(a: column),
    bit_and(a: column),
    bit_or(a: column),
    bit_xor(a: column),
    bool_and(a: column),
    bool_or(a: column),
    collect_list(a: column),
    collect_set(a: column),
    corr(a: column, b: column),
    count_if(a: column),
    covar_pop(a: column, b: column),
    covar_samp(a: column, b: column),
    every(a: column),
    first(a: column),
    grouping(a: column),
    kurtosis(a: column),
    last(a: column),
    max(a: column),
    max_by(a: column, b: column),
    mean(a: column),
    median(a: column),
    min(a: column),
    min_by(a: column, b: column),
    mode(a: column),
    percentile(a: column, b: literal),
    percentile_approx(a: column, b: literal),
    regr_avgx(a: column, b: column),
    regr_avgy(a: column, b: column),
    regr_count(a: column, b: column),
    regr_intercept(a: column, b: column),
    regr_r2(a: column, b: column),
    regr_slope(a: column, b: column),
    regr_sxx(a: column, b: column),
    regr_sxy(a: column, b: column),
    regr_syy(a: column, b: column),
    skewness(a: column),
    some(a: column),
    stddev(a: column),
    stddev_pop(a: column),
    stddev_samp(a: column),
    sum(a: column),
    try_avg(a: column),
    try_sum(a: column),
    var_pop(a: column),
    var_samp(a: column),
    variance(a: column),
}

// Arrays
functions! {
    array_append(a: column, b: column),
    array_compact(a: column),
    array_contains(a: column, b: column),
    array_distinct(a: column),
    array_except(a: column, b: column),
    array_insert(a: column, b: column, c: column),
    array_intersect(a: column, b: column),
    array_join(a: column, b: literal),
    array_max(a: column),
    array_min(a: column),
    array_position(a: column, b: column),
    array_prepend(a: column, b: column),
    array_remove(a: column, b: column),
    array_repeat(a: column, b: column),
    array_size(a: column),
    array_sort(a: column),
    array_union(a: column, b: column),
    arrays_overlap(a: column, b: column),
    cardinality(a: column),
    element_at(a: column, b: column),
    flatten(a: column),
    get(a: column, b: column),
    reverse(a: column),
    sequence(a: column, b: column),
    shuffle(a: column),
    size(a: column),
    slice(a: column, b: column, c: column),
    sort_array(a: column),
    try_element_at(a: column, b: column),
}

// Bits
functions! {
    bit_count(a: column),
    bit_get(a: column, b: column),
    shiftleft(a: column, b: column),
    shiftright(a: column, b: column),
    shiftrightunsigned(a: column, b: column),
}

// Conditions
functions! {
    equal_null(a: column, b: column),
    ifnull(a: column, b: column),
    isnotnull(a: column),
    isnull(a: column),
    isnan(a: column),
    nanvl(a: column, b: column),
    nullif(a: column, b: column),
    nullifzero(a: column),
    nvl(a: column, b: column),
    nvl2(a: column, b: column, c: column),
    zeroifnull(a: column),
}

// CSV and JSON
functions! {
    from_csv(a: column, b: literal),
    to_csv(a: column),
    from_json(a: column, b: literal),
    get_json_object(a: column, b: literal),
    json_array_length(a: column),
    json_object_keys(a: column),
    schema_of_json(a: column),
    to_json(a: column),
}

// Dates
functions! {
    add_months(a: column, b: column),
    convert_timezone(a: column, b: column, c: column),
    date_add(a: column, b: column),
    date_diff(a: column, b: column),
    date_format(a: column, b: literal),
    date_from_unix_date(a: column),
    date_sub(a: column, b: column),
    date_trunc(a: literal, b: column),
    datediff(a: column, b: column),
    day(a: column),
    dayname(a: column),
    dayofmonth(a: column),
    dayofweek(a: column),
    dayofyear(a: column),
    from_unixtime(a: column),
    from_utc_timestamp(a: column, b: literal),
    hour(a: column),
    last_day(a: column),
    make_date(a: column, b: column, c: column),
    make_timestamp(a: column, b: column, c: column, d: column, e: column, f: column),
    minute(a: column),
    month(a: column),
    monthname(a: column),
    months_between(a: column, b: column),
    next_day(a: column, b: literal),
    quarter(a: column),
    second(a: column),
    timestamp_micros(a: column),
    timestamp_millis(a: column),
    timestamp_seconds(a: column),
    to_date(a: column),
    to_timestamp(a: column),
    to_utc_timestamp(a: column, b: literal),
    trunc(a: column, b: literal),
    try_to_date(a: column),
    try_to_timestamp(a: column),
    unix_date(a: column),
    unix_micros(a: column),
    unix_millis(a: column),
    unix_seconds(a: column),
    unix_timestamp(a: column),
    weekday(a: column),
    weekofyear(a: column),
    year(a: column),
}

// Hashes
functions! {
    crc32(a: column),
    md5(a: column),
    sha1(a: column),
    sha2(a: column, b: literal),
}

// Maps
functions! {
    map_concat(a: column, b: column),
    map_contains_key(a: column, b: column),
    map_entries(a: column),
    map_from_arrays(a: column, b: column),
    map_from_entries(a: column),
    map_keys(a: column),
    map_values(a: column),
    str_to_map(a: column),
}

// Numbers
functions! {
    abs(a: column),
    acos(a: column),
    acosh(a: column),
    asin(a: column),
    asinh(a: column),
    atan(a: column),
    atan2(a: column, b: column),
    atanh(a: column),
    bin(a: column),
    bround(a: column, b: literal),
    cbrt(a: column),
    ceil(a: column),
    conv(a: column, b: column, c: column),
    cos(a: column),
    cosh(a: column),
    cot(a: column),
    csc(a: column),
    degrees(a: column),
    exp(a: column),
    expm1(a: column),
    factorial(a: column),
    floor(a: column),
    hex(a: column),
    hypot(a: column, b: column),
    ln(a: column),
    log10(a: column),
    log1p(a: column),
    log2(a: column),
    negative(a: column),
    pmod(a: column, b: column),
    positive(a: column),
    pow(a: column, b: column),
    radians(a: column),
    rint(a: column),
    round(a: column, b: literal),
    sec(a: column),
    signum(a: column),
    sin(a: column),
    sinh(a: column),
    sqrt(a: column),
    tan(a: column),
    tanh(a: column),
    try_add(a: column, b: column),
    try_divide(a: column, b: column),
    try_multiply(a: column, b: column),
    try_subtract(a: column, b: column),
    unhex(a: column),
    width_bucket(a: column, b: column, c: column, d: column),
}

// Text
functions! {
    ascii(a: column),
    base64(a: column),
    bit_length(a: column),
    btrim(a: column),
    char_length(a: column),
    chr(a: column),
    decode(a: column, b: literal),
    encode(a: column, b: literal),
    find_in_set(a: column, b: column),
    format_number(a: column, b: literal),
    initcap(a: column),
    instr(a: column, b: column),
    left(a: column, b: column),
    length(a: column),
    levenshtein(a: column, b: column),
    locate(a: column, b: column),
    lower(a: column),
    lpad(a: column, b: literal, c: literal),
    ltrim(a: column),
    octet_length(a: column),
    overlay(a: column, b: column, c: column),
    regexp_count(a: column, b: column),
    regexp_extract(a: column, b: literal, c: literal),
    regexp_extract_all(a: column, b: literal, c: literal),
    regexp_instr(a: column, b: column),
    regexp_like(a: column, b: column),
    regexp_replace(a: column, b: literal, c: literal),
    regexp_substr(a: column, b: column),
    repeat(a: column, b: column),
    replace(a: column, b: column, c: column),
    right(a: column, b: column),
    rpad(a: column, b: literal, c: literal),
    rtrim(a: column),
    soundex(a: column),
    split(a: column, b: literal),
    split_part(a: column, b: column, c: column),
    substring(a: column, b: column, c: column),
    substring_index(a: column, b: literal, c: literal),
    to_binary(a: column),
    to_char(a: column, b: literal),
    to_number(a: column, b: literal),
    translate(a: column, b: literal, c: literal),
    trim(a: column),
    try_to_number(a: column, b: literal),
    unbase64(a: column),
    upper(a: column),
    url_decode(a: column),
    url_encode(a: column),
}

// URLs
functions! {
    parse_url(a: column, b: literal),
}

// Windows
functions! {
    lag(a: column, b: literal),
    lead(a: column, b: literal),
    nth_value(a: column, b: literal),
    ntile(a: literal),
}

// Without arguments
functions! {
    current_date(),
    current_timestamp(),
    now(),
    e(),
    pi(),
    rand(),
    uuid(),
    cume_dist(),
    dense_rank(),
    percent_rank(),
    rank(),
    row_number(),
}
