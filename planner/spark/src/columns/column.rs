//! The column, its operators, and literals.

use std::fmt;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Rem, Sub};

use super::window::Window;
use super::{join_list, quote_name};

/// Name of the left side of a join.
pub const LEFT: &str = "left_side";
/// Name of the right side of a join.
pub const RIGHT: &str = "right_side";

/// An expression of Spark's SQL: a column, a literal, an operation, a call.
///
/// Wherever a column is expected, a string is the name of one; [`lit`] turns it into a value, and
/// [`expr`] into an expression.
///
/// ```
/// use faisca_spark::columns::{col, lit};
///
/// let adult = col("age").gt_eq(18) & col("name").is_not_null();
/// assert_eq!(adult.to_string(), "((`age` >= 18) AND (`name` IS NOT NULL))");
/// let per_head = (col("income") / col("heads")).alias("per_head");
/// assert_eq!(per_head.to_string(), "(`income` / `heads`) AS `per_head`");
/// assert_eq!(lit("it's").to_string(), r"'it\'s'");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    text: String,
    alias: Option<String>,
}

/// Returns the column with a name. A dot is part of the name: for a field of a struct, call
/// [`Column::get_field`].
#[must_use]
pub fn col(name: &str) -> Column {
    Column::from_text(if name == "*" {
        name.to_owned()
    } else {
        quote_name(name)
    })
}

/// Returns a column of the left side of a join.
#[must_use]
pub fn left_col(name: &str) -> Column {
    Column::from_text(format!("{LEFT}.{}", quote_name(name)))
}

/// Returns a column of the right side of a join.
#[must_use]
pub fn right_col(name: &str) -> Column {
    Column::from_text(format!("{RIGHT}.{}", quote_name(name)))
}

/// Returns an expression of Spark's SQL, such as `a + 1 AS b`.
#[must_use]
pub fn expr(sql: &str) -> Column {
    Column::from_text(sql.to_owned())
}

/// Returns a column with this value in each row.
#[must_use]
pub fn lit(value: impl Literal) -> Column {
    Column::from_text(value.to_sql())
}

/// A value that can be written as a literal of Spark's SQL, with its type.
pub trait Literal {
    /// Returns the literal.
    fn to_sql(self) -> String;
}

impl Literal for &str {
    fn to_sql(self) -> String {
        let mut text = String::from("'");
        for c in self.chars() {
            match c {
                '\\' | '\'' => text.extend(['\\', c]),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\0' => text.push_str("\\0"),
                _ => text.push(c),
            }
        }
        text.push('\'');
        text
    }
}

impl Literal for String {
    fn to_sql(self) -> String {
        self.as_str().to_sql()
    }
}

impl Literal for bool {
    fn to_sql(self) -> String {
        if self { "true" } else { "false" }.to_owned()
    }
}

impl Literal for f64 {
    fn to_sql(self) -> String {
        if self.is_finite() {
            format!("{self:?}D")
        } else {
            format!("double('{self}')")
        }
    }
}

impl Literal for f32 {
    fn to_sql(self) -> String {
        if self.is_finite() {
            format!("{self:?}F")
        } else {
            format!("float('{self}')")
        }
    }
}

impl<L: Literal> Literal for Option<L> {
    fn to_sql(self) -> String {
        self.map_or_else(|| "NULL".to_owned(), Literal::to_sql)
    }
}

macro_rules! whole_number {
    ($($number:ty: $suffix:literal),*) => {$(
        impl Literal for $number {
            fn to_sql(self) -> String {
                // The minimum has no literal: its digits without the sign do not fit the type.
                if self == <$number>::MIN {
                    format!("({}{} - 1{})", <$number>::MIN + 1, $suffix, $suffix)
                } else {
                    format!("{self}{}", $suffix)
                }
            }
        }
    )*};
}

whole_number!(i8: "Y", i16: "S", i32: "", i64: "L");

macro_rules! from_values {
    ($($value:ty),*) => {$(
        impl From<$value> for Column {
            fn from(value: $value) -> Self {
                lit(value)
            }
        }
    )*};
}

from_values!(bool, i8, i16, i32, i64, f32, f64);

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        col(name)
    }
}

impl From<&String> for Column {
    fn from(name: &String) -> Self {
        col(name)
    }
}

impl From<String> for Column {
    fn from(name: String) -> Self {
        col(&name)
    }
}

impl From<&Self> for Column {
    fn from(column: &Self) -> Self {
        column.clone()
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{} AS {}", self.text, quote_name(alias)),
            None => f.write_str(&self.text),
        }
    }
}

impl Column {
    pub(super) fn from_text(text: String) -> Self {
        Self { text, alias: None }
    }

    /// Returns the expression without its alias, which has no meaning inside another expression.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the name that [`Self::alias`] set.
    #[must_use]
    pub fn alias_name(&self) -> Option<&str> {
        self.alias.as_deref()
    }

    /// Names the column of the result.
    #[must_use]
    pub fn alias(self, name: &str) -> Self {
        Self {
            alias: Some(name.to_owned()),
            ..self
        }
    }

    fn binary(self, operator: &str, other: impl Into<Self>) -> Self {
        Self::from_text(format!("({} {operator} {})", self.text, other.into().text))
    }

    fn postfix(self, operator: &str) -> Self {
        Self::from_text(format!("({} {operator})", self.text))
    }

    fn text_operator(self, operator: &str, pattern: &str) -> Self {
        Self::from_text(format!("({} {operator} {})", self.text, pattern.to_sql()))
    }

    fn call(self, function: &str, arguments: &str) -> Self {
        Self::from_text(format!("{function}({}{arguments})", self.text))
    }

    /// Casts to a type of Spark's SQL, such as `int` or `decimal(10, 2)`. A value that does not fit
    /// is an error.
    #[must_use]
    pub fn cast(self, sql_type: &str) -> Self {
        Self::from_text(format!("CAST({} AS {sql_type})", self.text))
    }

    /// Casts to a type of Spark's SQL. A value that does not fit becomes null.
    #[must_use]
    pub fn try_cast(self, sql_type: &str) -> Self {
        Self::from_text(format!("TRY_CAST({} AS {sql_type})", self.text))
    }

    /// True if the value is null.
    #[must_use]
    pub fn is_null(self) -> Self {
        self.postfix("IS NULL")
    }

    /// True if the value is not null.
    #[must_use]
    pub fn is_not_null(self) -> Self {
        self.postfix("IS NOT NULL")
    }

    /// True if the value is not a number.
    #[must_use]
    pub fn is_nan(self) -> Self {
        self.call("isnan", "")
    }

    /// True if the value equals one of these; false for an empty list.
    #[must_use]
    pub fn is_in<C: Into<Self>>(self, values: impl IntoIterator<Item = C>) -> Self {
        let list = join_list(values.into_iter().map(|value| value.into().text));
        if list.is_empty() {
            return lit(false);
        }
        Self::from_text(format!("({} IN ({list}))", self.text))
    }

    /// True if the value lies between the bounds, both included.
    #[must_use]
    pub fn between(self, low: impl Into<Self>, high: impl Into<Self>) -> Self {
        let (low, high) = (low.into().text, high.into().text);
        Self::from_text(format!("({} BETWEEN {low} AND {high})", self.text))
    }

    /// True if the text matches a pattern with `%` and `_`.
    #[must_use]
    pub fn like(self, pattern: &str) -> Self {
        self.text_operator("LIKE", pattern)
    }

    /// As [`Self::like`], without regard to case.
    #[must_use]
    pub fn ilike(self, pattern: &str) -> Self {
        self.text_operator("ILIKE", pattern)
    }

    /// True if the regular expression matches somewhere in the text.
    #[must_use]
    pub fn rlike(self, pattern: &str) -> Self {
        self.text_operator("RLIKE", pattern)
    }

    /// True if the text contains another one.
    #[must_use]
    pub fn contains(self, part: &str) -> Self {
        let part = format!(", {}", part.to_sql());
        self.call("contains", &part)
    }

    /// True if the text starts with another one.
    #[must_use]
    pub fn starts_with(self, part: &str) -> Self {
        let part = format!(", {}", part.to_sql());
        self.call("startswith", &part)
    }

    /// True if the text ends with another one.
    #[must_use]
    pub fn ends_with(self, part: &str) -> Self {
        let part = format!(", {}", part.to_sql());
        self.call("endswith", &part)
    }

    /// Returns `length` characters of the text from `start`, which counts from 1.
    #[must_use]
    pub fn substr(self, start: i32, length: i32) -> Self {
        let range = format!(", {start}, {length}");
        self.call("substring", &range)
    }

    /// Returns an element of an array, counted from 0, or the value of a key of a map.
    #[must_use]
    pub fn get_item(self, key: impl Literal) -> Self {
        Self::from_text(format!("{}[{}]", self.text, key.to_sql()))
    }

    /// Returns a field of a struct.
    #[must_use]
    pub fn get_field(self, name: &str) -> Self {
        Self::from_text(format!("{}.{}", self.text, quote_name(name)))
    }

    /// Computes an aggregate or a window function over the rows of a window.
    #[must_use]
    pub fn over(self, window: &Window) -> Self {
        Self::from_text(format!("{} OVER ({window})", self.text))
    }

    /// Sorts ascending, nulls first.
    #[must_use]
    pub fn asc(self) -> Self {
        Self::from_text(format!("{} ASC NULLS FIRST", self.text))
    }

    /// Sorts ascending, nulls last.
    #[must_use]
    pub fn asc_nulls_last(self) -> Self {
        Self::from_text(format!("{} ASC NULLS LAST", self.text))
    }

    /// Sorts descending, nulls last.
    #[must_use]
    pub fn desc(self) -> Self {
        Self::from_text(format!("{} DESC NULLS LAST", self.text))
    }

    /// Sorts descending, nulls first.
    #[must_use]
    pub fn desc_nulls_first(self) -> Self {
        Self::from_text(format!("{} DESC NULLS FIRST", self.text))
    }
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident: $operator:literal),* $(,)?) => {
        impl Column {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(self, other: impl Into<Self>) -> Self {
                self.binary($operator, other)
            }
        )*}
    };
}

binary_methods! {
    /// Equal; null if a side is null.
    eq: "=",
    /// Not equal; null if a side is null.
    not_eq: "<>",
    /// Equal, where two nulls are equal.
    eq_null_safe: "<=>",
    /// Less.
    lt: "<",
    /// Less or equal.
    lt_eq: "<=",
    /// Greater.
    gt: ">",
    /// Greater or equal.
    gt_eq: ">=",
    /// True if both are true.
    and: "AND",
    /// True if at least one is true.
    or: "OR",
    /// Bitwise AND.
    bitwise_and: "&",
    /// Bitwise OR.
    bitwise_or: "|",
    /// Bitwise XOR.
    bitwise_xor: "^",
    /// The quotient without fraction.
    div_whole: "DIV",
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:literal),* $(,)?) => {$(
        impl<C: Into<Self>> $trait<C> for Column {
            type Output = Self;

            fn $method(self, other: C) -> Self {
                self.binary($operator, other)
            }
        }
    )*};
}

operators! {
    Add add "+",
    Sub sub "-",
    Mul mul "*",
    Div div "/",
    Rem rem "%",
    BitAnd bitand "AND",
    BitOr bitor "OR",
}

impl Not for Column {
    type Output = Self;

    fn not(self) -> Self {
        Self::from_text(format!("(NOT {})", self.text))
    }
}

impl Neg for Column {
    type Output = Self;

    fn neg(self) -> Self {
        Self::from_text(format!("(- {})", self.text))
    }
}
