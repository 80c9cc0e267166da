//! The engine end to end: real files, real processes, an oracle that is not ours.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests fail by panicking, and no crate links them"
)]

mod adaptive;
mod api;
mod bad_input;
mod conformance;
mod csv;
mod dataframes;
mod drift;
mod duckdb;
mod encryption;
mod exit_codes;
mod explain;
mod exports;
mod functions;
mod generated;
mod glue_server;
mod journal;
mod lake;
mod listing;
mod live_page;
mod names;
mod ndjson;
mod partitions;
mod pipeline;
mod recovery;
mod resume;
mod right_results;
mod round_trip;
mod s3_server;
mod sharing;
mod slt;
mod spark_commands;
mod spark_tables;
mod sql_command;
mod sql_parts;
mod strangers;
mod support;
mod tpch;
mod writes;
