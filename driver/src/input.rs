//! The inputs of queries: files, registered tables, catalog tables, and rows that queries share.

mod catalog_schema;
mod catalog_tables;
pub(crate) mod columns;
pub(crate) mod drift;
mod file_scan;
mod folder_table;
pub(crate) mod formats;
pub(crate) mod listing;
mod nesting;
mod partition_keys;
mod partitioned;
mod shared_scans;
pub(crate) mod source;
mod table_lookup;
mod tables;
mod unpartitioned;
mod variables;

pub(crate) use catalog_tables::register_catalogs;
pub(crate) use shared_scans::{Group, SharedView, share_scans};
pub(crate) use tables::{
    Ownership, TableDetails, TableFiles, Tables, lower_case_view, reorder_columns,
};
pub(crate) use variables::{Variable, Variables};
