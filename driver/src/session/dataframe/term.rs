//! Arguments of the methods of a dataframe: columns of Spark's SQL, or expressions of DataFusion.

use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::prelude::ident;
use faisca_spark::columns::{Case, Column};

use crate::error::{Error, Result};

/// A column of Spark's SQL, or an expression of DataFusion. Methods convert their arguments to it;
/// a string is the name of a column.
#[derive(Debug, Clone)]
pub enum Term {
    /// A column of Spark's SQL, planned as a statement.
    Column(Column),
    /// The name of a column, accepted beside either kind.
    Name(String),
    /// An expression of DataFusion, passed on unchanged.
    Expr(Box<Expr>),
}

/// A sort key of [`DataFrame::sort`](super::DataFrame::sort).
#[derive(Debug, Clone)]
pub enum SortKey {
    /// A column, ascending with nulls first unless [`Column::desc`] or a similar method was called.
    Term(Term),
    /// A sort expression of DataFusion, passed on unchanged.
    Expr(SortExpr),
}

macro_rules! from_columns {
    ($($value:ty),*) => {$(
        impl From<$value> for Term {
            fn from(value: $value) -> Self {
                Self::Column(Column::from(value))
            }
        }

        impl From<$value> for SortKey {
            fn from(value: $value) -> Self {
                Self::Term(Term::from(value))
            }
        }
    )*};
}

from_columns!(Column, &Column, Case);

macro_rules! from_names {
    ($($name:ty),*) => {$(
        impl From<$name> for Term {
            fn from(name: $name) -> Self {
                Self::Name(name.to_string())
            }
        }

        impl From<$name> for SortKey {
            fn from(name: $name) -> Self {
                Self::Term(Term::from(name))
            }
        }
    )*};
}

from_names!(&str, &&str, String, &String);

impl From<Expr> for Term {
    fn from(expr: Expr) -> Self {
        Self::Expr(Box::new(expr))
    }
}

impl From<SortExpr> for SortKey {
    fn from(key: SortExpr) -> Self {
        Self::Expr(key)
    }
}

/// The terms of one call, all of one kind.
pub(super) enum Terms {
    Columns(Vec<Column>),
    Exprs(Vec<Expr>),
}

impl Terms {
    /// Collects terms. If all terms are names, they are columns.
    ///
    /// # Errors
    /// Returns an error if both kinds occur: neither can be converted to the other.
    pub(super) fn collect<T: Into<Term>>(terms: impl IntoIterator<Item = T>) -> Result<Self> {
        let terms: Vec<Term> = terms.into_iter().map(Into::into).collect();
        if terms.iter().any(|term| matches!(term, Term::Expr(_))) {
            let exprs = terms.into_iter().map(|term| match term {
                Term::Expr(expr) => Ok(*expr),
                Term::Name(name) => Ok(ident(name)),
                Term::Column(column) => Err(mixed_terms(&column)),
            });
            return Ok(Self::Exprs(exprs.collect::<Result<_>>()?));
        }
        let columns = terms.into_iter().map(|term| match term {
            Term::Column(column) => Ok(column),
            Term::Name(name) => Ok(Column::from(name)),
            Term::Expr(expr) => Err(Error::Plan(format!(
                "{expr} is an expression of DataFusion"
            ))),
        });
        Ok(Self::Columns(columns.collect::<Result<_>>()?))
    }
}

/// The keys of one sort, all of one kind.
pub(super) enum SortKeys {
    Columns(Vec<Column>),
    Exprs(Vec<SortExpr>),
}

impl SortKeys {
    /// Collects keys. An expression without a direction sorts as a column does.
    ///
    /// # Errors
    /// Same as [`Terms::collect`].
    pub(super) fn collect<K: Into<SortKey>>(keys: impl IntoIterator<Item = K>) -> Result<Self> {
        let keys: Vec<SortKey> = keys.into_iter().map(Into::into).collect();
        if keys.iter().all(|key| matches!(key, SortKey::Expr(_))) {
            let keys = keys.into_iter().filter_map(|key| match key {
                SortKey::Expr(key) => Some(key),
                SortKey::Term(_) => None,
            });
            return Ok(Self::Exprs(keys.collect()));
        }
        let terms = keys.into_iter().map(|key| match key {
            SortKey::Term(term) => Ok(term),
            SortKey::Expr(key) => Err(Error::Plan(format!(
                "{key} is a sort key of DataFusion and appears beside a column: use one kind in a call"
            ))),
        });
        Ok(match Terms::collect(terms.collect::<Result<Vec<_>>>()?)? {
            Terms::Columns(columns) => Self::Columns(columns),
            Terms::Exprs(exprs) => Self::Exprs(
                exprs
                    .into_iter()
                    .map(|expr| expr.sort(true, true))
                    .collect(),
            ),
        })
    }
}

fn mixed_terms(column: &Column) -> Error {
    Error::Plan(format!(
        "{column} is a column of Spark's SQL and appears beside an expression of DataFusion: use \
         one kind in a call. `call_function` calls a function of the session by its name"
    ))
}
