//! Fields of a lambda's parameters: `x -> x.a` reads the field `a` of the item.
//!
//! DataFusion takes `x.a` for a column `a` of a table `x`. A parameter hides tables and columns of
//! its name, as in Spark.
//!
//! ```text
//! transform(items, x -> x.a.b)  ──▶  transform(items, x -> x['a']['b'])
//! ```

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, LambdaFunction, OneOrManyWithParens, Subscript, Value, VisitMut,
    VisitorMut,
};

/// Rewrites the fields of a lambda's parameters in its body.
pub(super) fn rewrite(lambda: &mut LambdaFunction) {
    let parameters = match &lambda.params {
        OneOrManyWithParens::One(parameter) => std::slice::from_ref(parameter),
        OneOrManyWithParens::Many(parameters) => parameters,
    };
    let mut fields = Fields {
        parameters: parameters
            .iter()
            .map(|parameter| parameter.name.value.to_lowercase())
            .collect(),
    };
    // The visitor never breaks off.
    let _ = lambda.body.visit(&mut fields);
}

struct Fields {
    /// Names of the parameters in lower case.
    parameters: Vec<String>,
}

impl Fields {
    fn is_parameter(&self, name: &Ident) -> bool {
        self.parameters.contains(&name.value.to_lowercase())
    }
}

impl VisitorMut for Fields {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [first, fields @ ..] = parts.as_slice()
                    && self.is_parameter(first)
                {
                    *expr = Expr::CompoundFieldAccess {
                        root: Box::new(Expr::Identifier(first.clone())),
                        access_chain: fields.iter().map(field).collect(),
                    };
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => match root.as_ref() {
                Expr::Identifier(name) if self.is_parameter(name) => {
                    access_chain.iter_mut().for_each(index_by_name);
                }
                Expr::CompoundIdentifier(parts) => {
                    if let [first, fields @ ..] = parts.as_slice()
                        && self.is_parameter(first)
                    {
                        access_chain.iter_mut().for_each(index_by_name);
                        access_chain.splice(0..0, fields.iter().map(field));
                        **root = Expr::Identifier(first.clone());
                    }
                }
                _ => {}
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Returns the access to a field by its name.
fn field(name: &Ident) -> AccessExpr {
    AccessExpr::Subscript(Subscript::Index {
        index: Expr::value(Value::SingleQuotedString(name.value.clone())),
    })
}

/// Replaces `.a` by `['a']`.
fn index_by_name(access: &mut AccessExpr) {
    if let AccessExpr::Dot(Expr::Identifier(name)) = access {
        *access = field(name);
    }
}
