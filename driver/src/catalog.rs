//! Catalogs: where tables are known by name, and which files are theirs.
//!
//! Written tables are registered after their files are visible, in one step of the commit; readers
//! by name see the old table or the new one. Glue is what Athena reads; the local catalog is the
//! same for a machine without one.

mod catalogs;
mod changes;
mod definition;
mod glue;
mod local;
mod registration;

pub use catalogs::Catalogs;
pub use changes::TableOutlook;
pub(crate) use changes::{PlannedTable, compatible, outlook};
pub use definition::{
    Catalog, Changed, ColumnStatistics, TableColumn, TableDefinition, TablePartition, TableVersion,
};
pub(crate) use definition::{checked_name, file_parameters};
pub use faisca_executor::sink::Values as ColumnValues;
pub use glue::{GlueSettings, arrow_type, hive_type, storage_type};
pub(crate) use registration::{PartitionChange, Registration};
