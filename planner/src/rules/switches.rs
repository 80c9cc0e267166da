//! A switch for each rule: `SET faisca.semi_join_first = false`.

use datafusion::common::config::{ConfigExtension, ConfigOptions};
use datafusion::common::extensions_options;

extensions_options! {
    /// Rules of the planner, each of which can be turned off.
    pub struct Switches {
        /// Semi-joins with a filtered right side go below inner joins, to the relation that owns their keys.
        pub semi_join_first: bool, default = true
        /// Of conditions joined by AND, cheap ones on numbers and dates are tested first.
        pub conjunct_order: bool, default = true
    }
}

impl ConfigExtension for Switches {
    const PREFIX: &'static str = "faisca";
}

/// The switches of a session; all on where it has none.
pub(super) fn switches(options: &ConfigOptions) -> Switches {
    options.extensions.get::<Switches>().cloned().unwrap_or_default()
}
