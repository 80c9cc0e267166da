//! Joins on column names and on conditions, and cross joins.

use datafusion::common::{Column as DfColumn, DFSchema, JoinType};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::Expr;
use faisca_spark::columns::{Column, LEFT, RIGHT};

use super::DataFrame;
use crate::error::{Error, Result};
use crate::session::columns::unknown_column;

impl DataFrame {
    /// Joins two queries on equality of the columns `on`, which must exist on both sides.
    ///
    /// The result contains the columns of the left side, then the remaining columns of the right
    /// side. Each join column appears once, as in Spark. A semi or anti join returns the columns of
    /// one side only.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use datafusion::common::JoinType;
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let with_states = people.join(others, &["city"], JoinType::Left)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn join(self, right: Self, on: &[&str], how: JoinType) -> Result<Self> {
        let unknown = |frame: &Self, name: &str| unknown_column(name, &[frame.frame.schema()]);
        let mut left_keys = vec![];
        let mut right_keys = vec![];
        for name in on {
            left_keys.push(self.find(name).ok_or_else(|| unknown(&self, name))?);
            right_keys.push(right.find(name).ok_or_else(|| unknown(&right, name))?);
        }
        // Both sides may read the same table; the aliases keep their columns apart.
        let right_frame = right.frame.alias("__right")?;
        let equal = |(left, right): (&String, &String)| {
            let column =
                |table: &str, name: &String| Expr::Column(DfColumn::new(Some(table), name));
            column("__left", left).eq(column("__right", right))
        };
        let on: Vec<Expr> = left_keys.iter().zip(&right_keys).map(equal).collect();
        let returns_one_side = matches!(
            how,
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti
        );
        let joined = self.frame.alias("__left")?.join_on(right_frame, how, on)?;
        let frame = if returns_one_side {
            joined
        } else {
            let columns = joined_columns(joined.schema(), &left_keys, &right_keys, how);
            joined.select(columns)?
        };
        Ok(Self {
            services: self.services,
            frame,
        })
    }

    /// Joins two queries on a condition, in which [`left_col`] and [`right_col`] refer to the
    /// columns of each side. The result contains the columns of both sides; a semi or anti join
    /// returns those of the left side only.
    ///
    /// ```no_run
    /// use datafusion::common::JoinType;
    /// use faisca_driver::DataFrame;
    /// use faisca_spark::columns::{left_col, right_col};
    ///
    /// # fn example(orders: DataFrame, prices: DataFrame) -> faisca_driver::Result<DataFrame> {
    /// let in_force = left_col("day").between(right_col("from_day"), right_col("to_day"));
    /// orders.join_on(&prices, in_force & left_col("item").eq(right_col("item_id")), JoinType::Left)
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`]. Semi and anti joins that keep the right side are errors, too: swap
    /// the sides.
    ///
    /// [`left_col`]: faisca_spark::columns::left_col
    /// [`right_col`]: faisca_spark::columns::right_col
    pub fn join_on(
        self,
        right: &Self,
        condition: impl Into<Column>,
        how: JoinType,
    ) -> Result<Self> {
        let join = match how {
            JoinType::Inner => "INNER",
            JoinType::Left => "LEFT OUTER",
            JoinType::Right => "RIGHT OUTER",
            JoinType::Full => "FULL OUTER",
            JoinType::LeftSemi => "LEFT SEMI",
            JoinType::LeftAnti => "LEFT ANTI",
            other => {
                return Err(Error::Plan(format!(
                    "a join of type {other} is not one of Inner, Left, Right, Full, LeftSemi, LeftAnti"
                )));
            }
        };
        let condition = condition.into();
        let condition = condition.text();
        self.query_with(right, |this, other| {
            format!("SELECT * FROM {this} AS {LEFT} {join} JOIN {other} AS {RIGHT} ON {condition}")
        })
    }

    /// Combines each row with each row of `right`.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let pairs = people.cross_join(&others)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if DataFusion rejects the plan.
    pub fn cross_join(self, right: &Self) -> Result<Self> {
        self.query_with(right, |this, other| {
            format!("SELECT * FROM {this} AS {LEFT} CROSS JOIN {other} AS {RIGHT}")
        })
    }
}

/// Returns the columns of a join on equal keys: those of the left side, then the remaining ones of
/// the right side. `left_keys` and `right_keys` name the join columns as each side spells them.
fn joined_columns(
    joined: &DFSchema,
    left_keys: &[String],
    right_keys: &[String],
    how: JoinType,
) -> Vec<Expr> {
    let names: Vec<&String> = joined.fields().iter().map(|f| f.name()).collect();
    let is_unique = |name: &String| names.iter().filter(|n| **n == name).count() == 1;
    let position_in = |keys: &[String], name: &String| keys.iter().position(|key| key == name);
    let mut columns = vec![];
    for (qualifier, field) in joined.iter() {
        let column = Expr::Column(DfColumn::new(qualifier.cloned(), field.name()));
        let name = field.name();
        if qualifier.is_some_and(|q| q.table() == "__right") {
            match position_in(right_keys, name) {
                // The left side already yields the join column.
                Some(_) => {}
                None if is_unique(name) => columns.push(column.alias(name)),
                None => columns.push(column),
            }
            continue;
        }
        columns.push(match position_in(left_keys, name) {
            // A row without a match on the left has its key on the right side only.
            Some(index) if matches!(how, JoinType::Right | JoinType::Full) => {
                let right_key = Expr::Column(DfColumn::new(Some("__right"), &right_keys[index]));
                coalesce(vec![column, right_key]).alias(name)
            }
            Some(_) => column.alias(name),
            None if is_unique(name) => column.alias(name),
            // Columns that share a name keep their qualifier, so that both stay addressable.
            None => column,
        });
    }
    columns
}
