//! Filters are pushed down only where names are unique.
//!
//! DataFusion's physical `FilterPushdown` finds a filter's columns in an operator's input by their
//! names. Where two columns have one name, as both keys of a join do, it takes the first of them:
//! `r.id > 2` becomes `l.id > 2`. The logical optimizer has pushed filters by qualified names
//! before, so skipping the rule above such operators costs little.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::physical::replace_children;
use crate::stack::recurse;

type Plan = Arc<dyn ExecutionPlan>;

/// DataFusion's `FilterPushdown`, applied only to subtrees whose operators have unique column
/// names.
#[derive(Debug)]
pub(super) struct UniqueNamePushdown {
    pub(super) rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for UniqueNamePushdown {
    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        let uniqueness = Uniqueness::analyze(&plan);
        self.optimize_unique(plan, &uniqueness, config)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

impl UniqueNamePushdown {
    /// Applies the rule to the largest subtrees in which no operator returns two columns of one
    /// name.
    fn optimize_unique(
        &self,
        plan: Plan,
        uniqueness: &Uniqueness,
        config: &ConfigOptions,
    ) -> Result<Plan> {
        if uniqueness.is_unique {
            return self.rule.optimize(plan, config);
        }
        let children = plan.children().into_iter().zip(&uniqueness.children);
        let children = children
            .map(|(child, uniqueness)| {
                recurse(|| self.optimize_unique(Arc::clone(child), uniqueness, config))
            })
            .collect::<Result<Vec<_>>>()?;
        if children.is_empty() {
            Ok(plan)
        } else {
            replace_children(plan, children)
        }
    }
}

/// Whether all operators of a subtree return columns of different names; the same for its inputs.
///
/// Computed once for the whole plan: a check at each operator would visit deep plans quadratically.
struct Uniqueness {
    is_unique: bool,
    children: Vec<Self>,
}

impl Uniqueness {
    fn analyze(plan: &Plan) -> Self {
        let children: Vec<Self> = plan
            .children()
            .into_iter()
            .map(|child| recurse(|| Self::analyze(child)))
            .collect();
        let schema = plan.schema();
        let mut names = HashSet::with_capacity(schema.fields().len());
        let is_unique = schema
            .fields()
            .iter()
            .all(|field| names.insert(field.name().as_str()))
            && children.iter().all(|child| child.is_unique);
        Self {
            is_unique,
            children,
        }
    }
}
