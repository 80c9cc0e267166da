//! Functions that return several rows or columns for one row: `explode`, `posexplode`, `inline`,
//! `stack`, `json_tuple`.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{
    Column, DFSchema, NullHandling, Result, TableReference, UnnestOptions, plan_datafusion_err,
    plan_err,
};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, TableAlias,
};

use crate::operators::ItemPositions;

/// Maximum number of rows of `stack`: the plan contains their values.
const STACK_ROWS_MAX: usize = 100_000;

/// A call of a generator: lists that are unnested side by side, and the columns that come out.
pub(super) struct Generator {
    lists: Vec<Expr>,
    columns: Vec<GeneratedColumn>,
    null_handling: NullHandling,
}

/// A column that a generator returns.
struct GeneratedColumn {
    name: String,
    /// Position of the list that it comes from.
    list: usize,
    kind: ColumnKind,
}

enum ColumnKind {
    Item,
    /// A field of an item that is a struct.
    Field(String),
}

impl Generator {
    /// Plans a call over the rows of a relation with `schema`.
    ///
    /// # Errors
    /// If it is no call of a generator, or its arguments have no type that the generator takes.
    pub(super) fn new(
        generator: SqlExpr,
        is_outer: bool,
        schema: &DFSchema,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Self> {
        let (name, arguments) = parts(generator)?;
        let arguments = arguments
            .into_iter()
            .map(|argument| context.sql_to_expr(argument, schema))
            .collect::<Result<Vec<_>>>()?;
        let base = name.strip_suffix("_outer").unwrap_or(&name);
        let mut generator = match (base, arguments.as_slice()) {
            ("explode", [argument]) => explode(argument, schema, context)?,
            ("posexplode", [argument]) => {
                let mut generator = explode(argument, schema, context)?;
                generator.add_positions(argument, schema, context)?;
                generator
            }
            ("inline", [argument]) => inline(argument, schema)?,
            ("stack", [rows, values @ ..]) => stack(rows, values, context)?,
            // One row, whose fields are columns.
            ("json_tuple", [_, _, ..]) => {
                let fields = call("json_tuple", arguments, context)?;
                inline(&call("make_array", vec![fields], context)?, schema)?
            }
            _ => {
                return plan_err!(
                    "{name} with {} arguments is no generator; LATERAL VIEW takes explode, posexplode, inline, stack or json_tuple",
                    arguments.len()
                );
            }
        };
        if is_outer || base != name {
            generator.null_handling = NullHandling::PreserveAndExpandEmpty;
        }
        Ok(generator)
    }

    fn add_positions(
        &mut self,
        argument: &Expr,
        schema: &DFSchema,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<()> {
        let list = match argument.get_type(schema)? {
            DataType::Map(..) => call("map_keys", vec![argument.clone()], context)?,
            _ => argument.clone(),
        };
        let positions = call(ItemPositions::NAME, vec![list], context)?;
        self.columns.insert(
            0,
            GeneratedColumn {
                name: "pos".to_owned(),
                list: self.lists.len(),
                kind: ColumnKind::Item,
            },
        );
        self.lists.push(positions);
        Ok(())
    }

    /// Returns each row of `input` once for each generated row, with the generated columns at its
    /// end.
    ///
    /// # Errors
    /// If `alias` has another number of columns than the generator.
    pub(super) fn apply(
        self,
        input: &LogicalPlan,
        alias: Option<TableAlias>,
    ) -> Result<LogicalPlan> {
        let qualifier = alias
            .as_ref()
            .map(|alias| TableReference::bare(alias.name.value.clone()));
        let names: Vec<String> = alias
            .map(|alias| {
                alias
                    .columns
                    .into_iter()
                    .map(|column| column.name.value)
                    .collect()
            })
            .unwrap_or_default();
        if !names.is_empty() && names.len() != self.columns.len() {
            return plan_err!(
                "the generator returns {} columns and has {} names",
                self.columns.len(),
                names.len()
            );
        }
        let columns = || {
            input
                .schema()
                .iter()
                .map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))))
        };
        let list_name = |n: usize| format!("__list_{n}");
        let lists = self.lists.iter().enumerate();
        let with_lists = columns().chain(lists.map(|(n, list)| list.clone().alias(list_name(n))));
        let unnested: Vec<Column> = (0..self.lists.len())
            .map(|n| Column::from_name(list_name(n)))
            .collect();
        let generated = self.columns.iter().enumerate().map(|(n, column)| {
            let item = Expr::Column(Column::from_name(list_name(column.list)));
            let value = match &column.kind {
                ColumnKind::Item => item,
                ColumnKind::Field(field) => {
                    datafusion::functions::core::expr_fn::get_field(item, field.as_str())
                }
            };
            let name = names.get(n).unwrap_or(&column.name);
            value.alias_qualified(qualifier.clone(), name.clone())
        });
        let projection: Vec<Expr> = columns().chain(generated).collect();
        LogicalPlanBuilder::from(input.clone())
            .project(with_lists)?
            .unnest_columns_with_options(
                unnested,
                UnnestOptions::new().with_null_handling(self.null_handling),
            )?
            .project(projection)?
            .build()
    }
}

fn explode(
    argument: &Expr,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<Generator> {
    let column = |name: &str, list: usize| GeneratedColumn {
        name: name.to_owned(),
        list,
        kind: ColumnKind::Item,
    };
    match argument.get_type(schema)? {
        DataType::List(_) | DataType::LargeList(_) => Ok(Generator {
            lists: vec![argument.clone()],
            columns: vec![column("col", 0)],
            null_handling: NullHandling::Drop,
        }),
        DataType::Map(..) => Ok(Generator {
            lists: vec![
                call("map_keys", vec![argument.clone()], context)?,
                call("map_values", vec![argument.clone()], context)?,
            ],
            columns: vec![column("key", 0), column("value", 1)],
            null_handling: NullHandling::Drop,
        }),
        other => plan_err!("explode takes an array or a map, not {other}"),
    }
}

fn inline(argument: &Expr, schema: &DFSchema) -> Result<Generator> {
    let data_type = argument.get_type(schema)?;
    let (DataType::List(item) | DataType::LargeList(item)) = &data_type else {
        return plan_err!("inline takes an array of structs, not {data_type}");
    };
    let DataType::Struct(fields) = item.data_type() else {
        return plan_err!("inline takes an array of structs, not {data_type}");
    };
    Ok(Generator {
        lists: vec![argument.clone()],
        columns: fields
            .iter()
            .map(|field| GeneratedColumn {
                name: field.name().clone(),
                list: 0,
                kind: ColumnKind::Field(field.name().clone()),
            })
            .collect(),
        null_handling: NullHandling::Drop,
    })
}

/// `stack(n, v1, …)`: the values in `n` rows, one after the other.
fn stack(
    rows: &Expr,
    values: &[Expr],
    context: &mut dyn RelationPlannerContext,
) -> Result<Generator> {
    let rows = match rows {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(rows)) => usize::try_from(rows).ok(),
            _ => None,
        },
        _ => None,
    }
    .filter(|rows| (1..=STACK_ROWS_MAX).contains(rows))
    .ok_or_else(|| {
        plan_datafusion_err!("the first argument of stack is a number from 1 to {STACK_ROWS_MAX}")
    })?;
    let width = values.len().div_ceil(rows);
    let lists = (0..width)
        .map(|column| {
            let items = (0..rows)
                .map(|row| values.get(row * width + column).cloned())
                .map(|value| value.unwrap_or_else(|| lit(ScalarValue::Null)))
                .collect();
            call("make_array", items, context)
        })
        .collect::<Result<Vec<_>>>()?;
    let columns = (0..width)
        .map(|list| GeneratedColumn {
            name: format!("col{list}"),
            list,
            kind: ColumnKind::Item,
        })
        .collect();
    Ok(Generator {
        lists,
        columns,
        null_handling: NullHandling::Drop,
    })
}

/// Returns a call of a registered function.
pub(super) fn call(
    name: &str,
    arguments: Vec<Expr>,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    context
        .context_provider()
        .get_function_meta(name)
        .map(|function| function.call(arguments))
        .ok_or_else(|| plan_datafusion_err!("the function {name} is not registered"))
}

/// The name of a called function in lower case, and its arguments.
fn parts(call: SqlExpr) -> Result<(String, Vec<SqlExpr>)> {
    let SqlExpr::Function(function) = call else {
        return plan_err!("LATERAL VIEW takes a generator such as explode, not `{call}`");
    };
    let name = function.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = function.args else {
        return plan_err!("{name} needs arguments in parentheses");
    };
    let arguments = list
        .args
        .into_iter()
        .map(|argument| match argument {
            // A generator has one parameter, or as many as it likes: a name says nothing more.
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named {
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => Ok(expr),
            other => plan_err!("{name}: `{other}` is no expression"),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok((name, arguments))
}
