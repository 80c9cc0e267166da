//! The switches of planner rules, and of `share_stages` and `adaptive` in [`crate::stages`], for
//! example `SET faisca.semi_join_first = false`.

use datafusion::common::config::{ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::extensions_options;

extensions_options! {
    /// The rules that a session may turn off.
    pub struct Switches {
        /// Move semi joins with a filtered right side below inner joins, to the relation that owns
        /// their keys.
        pub semi_join_first: bool, default = true
        /// Turn outer joins whose matched rows are dropped into anti joins.
        pub anti_join: bool, default = true
        /// Move inner joins that drop rows below outer and anti joins.
        pub inner_join_first: bool, default = true
        /// Order inner joins by estimated cost.
        pub join_order: bool, default = true
        /// Choose each join's build side and distribution by estimated cost.
        pub build_side: bool, default = true
        /// Run equal stages once, for all of their readers.
        pub share_stages: bool, default = true
        /// Drop rows before an aggregation whose groups a join above drops anyway.
        pub reduce_first: bool, default = true
        /// Drop rows without a match from the large side of a join before they are shuffled, by a
        /// semi join with the small side.
        pub keys_before_shuffle: bool, default = true
        /// Filter the large side of a join where it is scanned, by the keys of the small side.
        pub key_filter: bool, default = true
        /// Plan the rest of a query again when a finished stage deviates from its estimate.
        pub adaptive: bool, default = true
        /// Test cheap predicates on numbers and dates before other predicates joined by AND.
        pub conjunct_order: bool, default = true
    }
}

impl ConfigExtension for Switches {
    const PREFIX: &'static str = "faisca";
}

impl Switches {
    /// Returns the names of all switches, without the prefix.
    #[must_use]
    pub fn names() -> Vec<String> {
        let entries = Self::default().entries();
        entries
            .into_iter()
            .filter_map(|entry| Some(entry.key.rsplit('.').next()?.to_owned()))
            .collect()
    }
}

/// Returns the switches of a session; all are on if it has none.
#[must_use]
pub fn switches(options: &ConfigOptions) -> Switches {
    options
        .extensions
        .get::<Switches>()
        .cloned()
        .unwrap_or_default()
}
