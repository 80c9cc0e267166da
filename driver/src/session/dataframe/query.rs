//! Plans Spark's SQL over dataframes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame as DfDataFrame;
use faisca_planner::names::aliases;
use faisca_planner::statement::{on_stack_for, parse};
use futures::FutureExt;

use super::DataFrame;
use crate::error::{Error, Result};
use crate::services::Services;
use crate::session::lateral_aliases::plan_with_aliases;
use crate::session::unknown_names::with_nearest_name;

/// Temporary table names of dataframes, for the planning of one statement. Dropping it removes
/// them.
struct FrameNames {
    services: Arc<Services>,
    names: Vec<String>,
}

impl FrameNames {
    /// Registers each frame under a unique name.
    ///
    /// # Errors
    /// Returns an error if two columns of a frame differ only by case.
    fn register(services: &Arc<Services>, frames: &[&DfDataFrame]) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut registered = Self {
            services: Arc::clone(services),
            names: vec![],
        };
        for frame in frames {
            let name = format!("faisca_frame_{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let view = (*frame).clone().into_view();
            services.register_table(&name, view, None)?;
            registered.names.push(name);
        }
        Ok(registered)
    }
}

impl Drop for FrameNames {
    fn drop(&mut self) {
        for name in &self.names {
            self.services.tables.remove(name);
            // The name was registered above, so this cannot fail. Plans hold the view itself, not
            // its name.
            let _ = (self.services.context).deregister_table(TableReference::bare(name.as_str()));
        }
    }
}

impl DataFrame {
    /// Plans a query over this frame. `sql` receives the frame's table name and returns the query.
    ///
    /// # Errors
    /// Returns an error if the statement cannot be planned.
    pub(super) fn query(&self, sql: impl FnOnce(&str) -> String) -> Result<Self> {
        let names = FrameNames::register(&self.services, &[&self.frame])?;
        plan(&self.services, &sql(&names.names[0]), &[self])
    }

    /// Plans a query over this frame and another one. `sql` receives the table names of both.
    ///
    /// # Errors
    /// Returns an error if the statement cannot be planned.
    pub(super) fn query_with(
        &self,
        other: &Self,
        sql: impl FnOnce(&str, &str) -> String,
    ) -> Result<Self> {
        let names = FrameNames::register(&self.services, &[&self.frame, &other.frame])?;
        let sql = sql(&names.names[0], &names.names[1]);
        plan(&self.services, &sql, &[self, other])
    }
}

/// Plans a query over frames. Columns keep the spelling of the first frame that has them, unless
/// the query gives them an alias.
fn plan(services: &Arc<Services>, sql: &str, frames: &[&DataFrame]) -> Result<DataFrame> {
    let mut spelling: HashMap<String, String> = HashMap::new();
    for name in frames.iter().flat_map(|frame| frame.columns()) {
        spelling.entry(name.to_lowercase()).or_insert(name);
    }
    spelling.extend(on_stack_for(sql, || aliases(sql)));
    let mut state = services.context.state();
    // A frame that was sorted stays sorted when columns of it are selected.
    let options = state.config_mut().options_mut();
    options.sql_parser.enable_subquery_sort_elimination = false;
    let parsed = parse(sql, &state.config_options().sql_parser).map_err(Error::from)?;
    // The frames are in memory, so nothing is awaited; only a subquery could name another table.
    let Some(planned) = plan_with_aliases(&state, parsed).now_or_never() else {
        return Err(Error::Plan(
            "an expression of a dataframe reads a table of a catalog: use `Session::sql`"
                .to_owned(),
        ));
    };
    let planned = planned.map_err(|e| with_nearest_name(services, &state, e.into()))?;
    let frame = services.tables.restore(
        DfDataFrame::new(services.context.state(), planned),
        &spelling,
    )?;
    Ok(DataFrame::new(Arc::clone(services), frame))
}
