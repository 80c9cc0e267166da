//! Finds fields of structs without regard to case, like columns: `p.idade` and `p['IDADE']` find
//! `Idade`. A field of an array of structs is the array of the fields.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue, TableReference, plan_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess};
use datafusion::prelude::Column;
use faisca_spark::operators::{array_field, item_type};

/// Plans accesses to struct fields with the spelling of the data.
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
        {
            let data_type = access.expr.get_type(schema)?;
            if let Some(item) = struct_item(&data_type)
                && let Some(field) = find_field(item, written)?
            {
                return Ok(PlannerResult::Planned(array_field(
                    access.expr,
                    field.name(),
                )));
            }
            *name = match find_field(&data_type, written)? {
                Some(field) => ScalarValue::from(field.name().as_str()),
                None => map_key(&data_type, written),
            };
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
            if let Some(item) = struct_item(&data_type)
                && let Ok(Some(field)) = find_field(item, written)
            {
                expr = array_field(expr, field.name());
                data_type = DataType::new_list(field.data_type().clone(), true);
                continue;
            }
            let (name, child) = match find_field(&data_type, written) {
                Ok(Some(field)) => (
                    ScalarValue::from(field.name().as_str()),
                    Some(field.clone()),
                ),
                Ok(None) => (map_key(&data_type, written), None),
                // DataFusion would ignore an error of a planner, and choose one of the fields. It
                // reports a name that no field has.
                Err(error) => {
                    let reason = format!("`{written}` ({})", error.strip_backtrace());
                    (ScalarValue::from(reason.as_str()), None)
                }
            };
            expr = get_field(expr, name);
            data_type = child.map_or(DataType::Null, |field| field.data_type().clone());
        }
        Ok(PlannerResult::Planned(expr))
    }
}

/// Returns the struct that the items of an array are.
fn struct_item(data_type: &DataType) -> Option<&DataType> {
    item_type(data_type).filter(|item| matches!(item, DataType::Struct(_)))
}

/// Returns a field name as a literal of the key type, in case the value is a map and not a struct:
/// DataFusion compares keys without a cast.
fn map_key(data_type: &DataType, name: &str) -> ScalarValue {
    let has_views = match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields
                .first()
                .is_some_and(|key| key.data_type() == &DataType::Utf8View),
            _ => false,
        },
        _ => false,
    };
    if has_views {
        ScalarValue::Utf8View(Some(name.to_owned()))
    } else {
        ScalarValue::from(name)
    }
}

/// Returns the field with this name in any case.
///
/// # Errors
/// Returns an error if two fields have this name. In rows of files that spell it differently, one
/// of them is null.
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
