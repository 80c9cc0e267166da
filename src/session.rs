//! The session of a program: the same on a laptop and in a driver's pod.
//!
//! The driver's crate does not know Kubernetes, and the crate for Kubernetes is above it. Only this
//! crate knows both, so the type that programs start from is here.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use faisca_driver::Result;

use crate::stores::Stores;

/// An open session, the entry to everything, as in Spark. Cheap to clone.
///
/// [`Session::builder`] starts one; reading, SQL and tables are methods of the engine's session,
/// which this type dereferences to.
#[derive(Clone)]
pub struct Session(faisca_driver::Session);

impl Session {
    /// Returns a builder with default settings.
    ///
    /// In a pod that the operator created for an application, the application decides the number
    /// of executors and their size; what the program sets is ignored there.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder(
            faisca_driver::SessionBuilder::default().platform(faisca_k8s::driver::find_platform),
        )
    }
}

impl Deref for Session {
    type Target = faisca_driver::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Settings of a session before it starts.
#[derive(Debug, Clone)]
pub struct SessionBuilder(faisca_driver::SessionBuilder);

impl SessionBuilder {
    /// Sets the name of the job, for logs.
    #[must_use]
    pub fn app_name(self, name: impl Into<String>) -> Self {
        Self(self.0.app_name(name))
    }

    /// Sets the number of executors, each a process of its own. Default: 0, which runs tasks in
    /// this process.
    #[must_use]
    pub fn executors(self, count: u32) -> Self {
        Self(self.0.executors(count))
    }

    /// Sets the task slots of each executor. Default: this machine's cores, shared between executors.
    #[must_use]
    pub fn executor_cores(self, cores: u32) -> Self {
        Self(self.0.executor_cores(cores))
    }

    /// Sets the memory of each executor in bytes. Default: no limit.
    #[must_use]
    pub fn memory_bytes(self, bytes: u64) -> Self {
        Self(self.0.memory_bytes(bytes))
    }

    /// Sets the number of partitions of scans and exchanges. Default: 2 for each slot, 4 with a
    /// memory limit.
    #[must_use]
    pub fn partitions(self, partitions: usize) -> Self {
        Self(self.0.partitions(partitions))
    }

    /// Sets the folder to spill to. Default: the system's folder for temporary files.
    #[must_use]
    pub fn spill_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self(self.0.spill_folder(folder))
    }

    /// Sets how buckets are reached, by `s3://bucket`, or by `s3://` for all others. Settings that
    /// are absent come from the environment.
    #[must_use]
    pub fn stores(self, stores: Stores) -> Self {
        Self(self.0.stores(stores))
    }

    /// Sets the binary of the executors. Default: this program, which knows the functions below.
    #[must_use]
    pub fn executor_binary(self, binary: impl Into<PathBuf>) -> Self {
        Self(self.0.executor_binary(binary))
    }

    /// Sets `faisca.smallQueryBytes` or another of `faisca.*`, or any of DataFusion's `datafusion.*`.
    #[must_use]
    pub fn config(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.config(key, value))
    }

    /// Adds a scalar function of the program, for SQL and expressions. Executors run it too.
    #[must_use]
    pub fn udf(self, udf: ScalarUDF) -> Self {
        Self(self.0.udf(udf))
    }

    /// Adds an aggregate function of the program.
    #[must_use]
    pub fn udaf(self, udaf: AggregateUDF) -> Self {
        Self(self.0.udaf(udaf))
    }

    /// Adds a window function of the program.
    #[must_use]
    pub fn udwf(self, udwf: WindowUDF) -> Self {
        Self(self.0.udwf(udwf))
    }

    /// Starts the session.
    ///
    /// In a process that was started as an executor of this program, this call never returns: it
    /// serves tasks, with the functions given here, and exits. So the rest of `main` runs in the
    /// driver only.
    ///
    /// # Errors
    /// If a setting is unknown, or if the executors cannot be started.
    pub async fn get_or_create(self) -> Result<Session> {
        self.0.get_or_create().await.map(Session)
    }
}
