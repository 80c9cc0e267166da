//! Finds fields of structs without regard to case, as columns: `p.idade` and `p['IDADE']` find `Idade`.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue, TableReference, plan_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess};
use datafusion::prelude::Column;

/// Plans accesses to fields of structs with the spelling that the data has.
#[derive(Debug)]
pub(super) struct StructFields;

impl ExprPlanner for StructFields {
    fn plan_field_access(
        &self,
        mut access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::NamedStructField { name } = &mut access.field_access
            && let Some(written) = name.try_as_str().flatten()
            && let Some(field) = find_field(&access.expr.get_type(schema)?, written)?
        {
            *name = ScalarValue::from(field.name().as_str());
        }
        // `Original` lets DataFusion plan the access, now with the spelling of the data.
        Ok(PlannerResult::Original(access))
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut expr = Expr::Column(Column::from((qualifier, field)));
        let mut data_type = field.data_type().clone();
        for written in nested_names {
            let child = find_field(&data_type, written)?.cloned();
            let name = child.as_ref().map_or(written, Field::name);
            expr = get_field(expr, name.as_str());
            data_type = child.map_or(DataType::Null, |field| field.data_type().clone());
        }
        Ok(PlannerResult::Planned(expr))
    }
}

/// Returns the field with this name in any case.
///
/// # Errors
/// If two fields have this name. In rows of files that spell it differently, one of them is null.
fn find_field<'a>(data_type: &'a DataType, name: &str) -> Result<Option<&'a Field>> {
    let DataType::Struct(fields) = data_type else {
        return Ok(None);
    };
    let lower = name.to_lowercase();
    let mut spellings = fields
        .iter()
        .filter(|field| field.name().to_lowercase() == lower);
    match (spellings.next(), spellings.next()) {
        (Some(first), Some(second)) => plan_err!(
            "the field `{name}` is both `{}` and `{}` in the data; rename one",
            first.name(),
            second.name()
        ),
        (only, _) => Ok(only.map(AsRef::as_ref)),
    }
}
