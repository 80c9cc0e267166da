//! A switch for each rule: `SET faisca.semi_join_first = false`.

use datafusion::common::config::{ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::extensions_options;

extensions_options! {
    /// Rules of the planner, each of which can be turned off.
    pub struct Switches {
        /// Semi-joins with a filtered right side go below inner joins, to the relation that owns their keys.
        pub semi_join_first: bool, default = true
        /// Inner joins are made in the order that is cheapest by the rows that are expected.
        pub join_order: bool, default = true
        /// Joins build the side, and move rows in the way, that is cheapest by the rows that are expected.
        pub build_side: bool, default = true
        /// Equal stages are made once, for all of their readers.
        pub share_stages: bool, default = true
        /// Rows whose groups nobody will ask for are kept from aggregates.
        pub reduce_first: bool, default = true
        /// Rows that a join will not match are left out before they are moved to it, by the keys of its small side.
        pub keys_before_shuffle: bool, default = true
        /// The large side of a partitioned join is filtered, where it is scanned, by the keys of the small one.
        pub key_filter: bool, default = true
        /// What is left of a statement is planned again when a finished stage was not what was expected.
        pub adaptive: bool, default = true
        /// Of conditions joined by AND, cheap ones on numbers and dates are tested first.
        pub conjunct_order: bool, default = true
    }
}

impl ConfigExtension for Switches {
    const PREFIX: &'static str = "faisca";
}

impl Switches {
    /// Names of all of them, without the prefix.
    #[must_use]
    pub fn names() -> Vec<String> {
        let entries = Self::default().entries();
        entries
            .into_iter()
            .filter_map(|entry| Some(entry.key.rsplit('.').next()?.to_owned()))
            .collect()
    }
}

/// The switches of a session; all on where it has none.
#[must_use]
pub fn switches(options: &ConfigOptions) -> Switches {
    options
        .extensions
        .get::<Switches>()
        .cloned()
        .unwrap_or_default()
}
