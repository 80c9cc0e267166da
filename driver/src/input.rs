//! What queries read: files, registered tables, tables of catalogs, and rows that several of them share.

mod catalog_tables;
mod partitioned;
mod shared_scans;
pub(crate) mod source;
mod tables;

pub(crate) use catalog_tables::register_catalogs;
pub(crate) use shared_scans::{Group, SharedView, share_scans};
pub(crate) use tables::{TableFiles, Tables};
