//! Catalogs map the names of tables to the files that hold their rows.
//!
//! A write registers its table in one step of the commit, after its files are visible. A reader
//! that uses the name therefore sees either the old table or the new one. The Glue catalog is the
//! one that Athena reads. The local catalog does the same for a machine without Glue.

mod catalogs;
mod changes;
mod definition;
mod difference;
mod glue;
mod local;
mod registration;

pub use catalogs::Catalogs;
pub use changes::TableOutlook;
pub(crate) use changes::{PartitionLookup, PlannedTable, outlook};
pub use definition::{
    Catalog, ChangeOutcome, ColumnStatistics, OldVersion, TableColumn, TableDefinition,
    TablePartition, TableVersion,
};
pub(crate) use definition::{checked_name, file_parameters};
pub(crate) use difference::{OldFiles, check_compatible};
pub use faisca_executor::sink::Values as ColumnValues;
pub use glue::{GlueSettings, HiveTypeError, arrow_type, hive_type, storage_type};
pub(crate) use glue::{check_template, has_unsigned_32};
pub(crate) use registration::{PartitionChange, Registration, newest_overwrite};
