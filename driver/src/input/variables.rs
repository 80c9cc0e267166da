//! The variables of a session: `DECLARE x INT DEFAULT 1`.
//!
//! A plan refers to the variable `x` as `@x`; its value is read when the plan becomes physical.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::variable::VarProvider;
use parking_lot::RwLock;

/// A variable.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) value: ScalarValue,
    /// Type in SQL.
    pub(crate) sql_type: String,
    /// Expression of its first value, in SQL.
    pub(crate) default: String,
}

/// The variables of a session, by name in lower case.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    values: RwLock<HashMap<String, Variable>>,
}

impl Variables {
    /// Returns a variable.
    pub(crate) fn get(&self, name: &str) -> Option<Variable> {
        self.values.read().get(name).cloned()
    }

    /// Creates a variable, or changes it.
    pub(crate) fn set(&self, name: &str, variable: Variable) {
        self.values.write().insert(name.to_owned(), variable);
    }

    /// Removes a variable, and returns whether there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.values.write().remove(name).is_some()
    }
}

impl VarProvider for Variables {
    fn get_value(&self, names: Vec<String>) -> DfResult<ScalarValue> {
        let name = names.concat();
        match self.get(name.trim_start_matches('@')) {
            Some(variable) => Ok(variable.value),
            None => Err(DataFusionError::Plan(format!(
                "[UNRESOLVED_VARIABLE] the variable {name} was dropped"
            ))),
        }
    }

    fn get_type(&self, names: &[String]) -> Option<DataType> {
        let name = names.concat();
        let variable = self.get(name.trim_start_matches('@'));
        variable.map(|variable| variable.value.data_type())
    }
}
