//! Functions that give floating-point numbers one zero and one NaN.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, make_array};
use arrow::datatypes::{DataType, Field, FieldRef, Float16Type, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::holds_floats;

static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

/// Returns its argument with the positive NaN in place of every NaN, also inside arrays, maps and
/// structs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::workarounds) enum CanonicalFloat {
    /// And 0.0 in place of -0.0: for keys, and for both sides of a comparison.
    Key,
    /// -0.0 keeps its sign: for functions that return one of their arguments.
    Value,
}

impl CanonicalFloat {
    pub(in crate::workarounds) const ALL: [Self; 2] = [Self::Key, Self::Value];

    /// Returns the canonical form of a constant.
    pub(super) fn of_constant(self, value: &ScalarValue) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.of_array(&value.to_array()?)?, 0)
    }

    fn of_array(self, array: &ArrayRef) -> Result<ArrayRef> {
        let keeps_sign = self == Self::Value;
        Ok(match array.data_type() {
            DataType::Float16 => {
                type Half = <Float16Type as ArrowPrimitiveType>::Native;
                let unify = |x: Half| match (x.is_nan(), keeps_sign) {
                    (true, _) => Half::NAN,
                    (false, true) => x,
                    (false, false) => x + Half::ZERO,
                };
                let numbers = array.as_primitive::<Float16Type>();
                Arc::new(numbers.unary::<_, Float16Type>(unify))
            }
            DataType::Float32 => {
                // -0.0 + 0.0 is 0.0, and -0.0 + -0.0 is -0.0; other numbers stay as they are.
                let zero = if keeps_sign { -0.0 } else { 0.0 };
                let unify = |x: f32| if x.is_nan() { f32::NAN } else { x + zero };
                let numbers = array.as_primitive::<Float32Type>();
                Arc::new(numbers.unary::<_, Float32Type>(unify))
            }
            DataType::Float64 => {
                let zero = if keeps_sign { -0.0 } else { 0.0 };
                let unify = |x: f64| if x.is_nan() { f64::NAN } else { x + zero };
                let numbers = array.as_primitive::<Float64Type>();
                Arc::new(numbers.unary::<_, Float64Type>(unify))
            }
            nested if holds_floats(nested) => {
                let data = array.to_data();
                let children = data.child_data().iter().map(|child| {
                    let child = self.of_array(&make_array(child.clone()))?;
                    Ok(child.to_data())
                });
                let children = children.collect::<Result<Vec<_>>>()?;
                make_array(data.into_builder().child_data(children).build()?)
            }
            _ => Arc::clone(array),
        })
    }
}

impl ScalarUDFImpl for CanonicalFloat {
    fn name(&self) -> &'static str {
        match self {
            Self::Key => "canonical_float",
            Self::Value => "canonical_nan",
        }
    }

    fn signature(&self) -> &Signature {
        &SIGNATURE
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [field] = args.arg_fields else {
            return internal_err!("{} takes one argument", self.name());
        };
        let data_type = field.data_type().clone();
        Ok(Field::new(self.name(), data_type, field.is_nullable()).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(array)] => self.of_array(array).map(ColumnarValue::Array),
            [ColumnarValue::Scalar(value)] => self.of_constant(value).map(ColumnarValue::Scalar),
            _ => internal_err!("{} takes one argument", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeListArray, Float32Array, Float64Array, StructArray};

    use super::*;

    fn values() -> [f64; 6] {
        [0.0, -0.0, f64::NAN, -f64::NAN, f64::NEG_INFINITY, -1.5]
    }

    fn bits(array: &ArrayRef) -> Vec<u64> {
        let numbers = array.as_primitive::<Float64Type>().values();
        numbers.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn zeros_and_nans_have_one_form_each() {
        let array: ArrayRef = Arc::new(Float64Array::from(values().to_vec()));
        let key = [0.0, 0.0, f64::NAN, f64::NAN, f64::NEG_INFINITY, -1.5];
        let value = [0.0, -0.0, f64::NAN, f64::NAN, f64::NEG_INFINITY, -1.5];
        for (canonical, expected) in [(CanonicalFloat::Key, key), (CanonicalFloat::Value, value)] {
            let actual = bits(&canonical.of_array(&array).unwrap());
            assert_eq!(actual, expected.map(f64::to_bits), "{canonical:?}");
        }
    }

    #[test]
    fn numbers_inside_sliced_arrays_and_structs_have_one_form_too() {
        let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0, -0.0, -f32::NAN, 2.0]));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let pairs: ArrayRef =
            Arc::new(FixedSizeListArray::try_new(Arc::clone(&item), 2, numbers, None).unwrap());
        let field = Arc::new(Field::new("pair", pairs.data_type().clone(), true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, pairs)]));
        let actual = CanonicalFloat::Key.of_array(&structs.slice(1, 1)).unwrap();
        let pair = actual.as_struct().column(0).as_fixed_size_list().value(0);
        let actual = pair.as_primitive::<Float32Type>().values().to_vec();
        assert_eq!(actual[0].to_bits(), f32::NAN.to_bits());
        assert_eq!(actual[1].to_bits(), 2.0_f32.to_bits());
    }
}
