//! Faísca: dataframes and SQL on ephemeral executors, in one binary, without a JVM.
//!
//! A job runs inside one process, on local processes, or on Kubernetes, unchanged. This crate is
//! the job API and the `faisca` command; the engine is in the crates below it. It exports what a
//! program needs; everything else is internal and may change in any version.
//!
//! ```no_run
//! use faisca::prelude::*;
//!
//! # async fn example() -> faisca::Result<()> {
//! let session = Session::builder().app_name("titanic").get_or_create().await?;
//! let people = session.read().option("delimiter", ";").csv("examples/titanic/titanic.csv").await?;
//! people
//!     .filter(col("Age").gt(18))?
//!     .group_by(["Sex"])
//!     .agg([avg("Survived").alias("survived")])?
//!     .write()
//!     .mode(SaveMode::Overwrite)
//!     .parquet("out/survival")
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! - [`prelude`] — what most programs import
//! - [`Session`], [`DataFrame`] — start, read, query, write
//! - [`columns`], [`functions`] — expressions of Spark's SQL
//! - [`stores`], [`tables`] — where files are, and how tables are registered
//! - [`manifest`], [`job`] — load and run a manifest from a program
//! - [`progress`] — what runs, and what ran

pub mod prelude;
mod session;

pub use faisca_driver::{
    BoxedError, DataFrame, DataFrameReader, DataFrameWriter, Error, FillValue, GroupedData,
    MissingColumns, NameKind, Outcome, PivotedData, Result, SortKey, Term, WriteSummary,
};
pub use faisca_executor::protocol::{Failure, FailureKind};
pub use faisca_planner::manifest::SaveMode;
pub use faisca_spark::columns::functions;
pub use session::{Session, SessionBuilder};

pub mod columns {
    //! Columns: names, literals, operators, windows.

    pub use faisca_spark::columns::{
        Case, Column, FrameBound, Literal, Window, col, expr, left_col, lit, right_col, when,
    };
}

pub mod stores {
    //! Settings and credentials of object stores, and counts of their requests.

    pub use faisca_executor::protocol::RequestSnapshot;
    pub use faisca_executor::storage::ObjectStores;
    pub use faisca_planner::manifest::{SecretRef, StoreCredentials, StoreSettings, Stores};
}

pub mod tables {
    //! Sources, file formats and catalog tables.

    pub use faisca_planner::manifest::{
        CatalogKind, CatalogTable, Compression, Decimal, FileFormat, OnMalformedRow,
        OnSchemaChange, PartitionOverwrite, Source, TextCompression, TextEncoding,
    };
}

pub mod manifest {
    //! The job manifest, as `faisca run` reads it.

    pub use faisca_planner::manifest::{
        AirflowSpec, ApiVersion, CheckedManifest, DriverSpec, DynamicAllocation, ExecutorScale,
        ExecutorSpec, JobSpec, Kind, Manifest, ManifestError, Metadata, PodSpecParts, Position,
        Problem, RestartPolicy, RestartPolicyType, Step, Write, json_schema,
    };
}

pub mod job {
    //! Jobs: the steps of a manifest, or the statements of a script.

    pub use faisca_driver::catalog::TableOutlook;
    pub use faisca_driver::job::plan::{Files, JobPlan, OutputPlan, StepPlan};
    pub use faisca_driver::job::{Job, StepSummary, run_script};
}

pub mod progress {
    //! Progress of a session's queries.

    pub use faisca_driver::engine::progress::{
        ExecutorTotals, Progress, QueryProgress, Snapshot, StageProgress,
    };
    pub use faisca_planner::ids::{ExecutorId, QueryId};
}
