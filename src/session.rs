//! The session of a program: the same on a laptop and in a driver's pod.
//!
//! The driver's crate does not know Kubernetes, and the crate for Kubernetes is above it. Only this
//! crate knows both, so the type that programs start from is here.

use std::fmt;
use std::ops::Deref;

/// An open session, the entry to everything, as in Spark. Cheap to clone.
///
/// [`Session::builder`] starts one; reading, SQL and tables are methods of the engine's session,
/// which this type dereferences to.
///
/// ```no_run
/// use faisca::prelude::*;
///
/// # async fn example() -> faisca::Result<()> {
/// let session = Session::builder().app_name("sales").executors(2).get_or_create().await?;
/// session
///     .sql("CREATE EXTERNAL TABLE sales STORED AS PARQUET LOCATION 'sales/'")
///     .await?;
/// session.sql("SELECT state, sum(amount) FROM sales GROUP BY state").await?.show().await?;
/// session.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(faisca_driver::Session);

impl Session {
    /// Returns a builder with default settings.
    ///
    /// In a pod that the operator created for an application, the number and the sizes of executors
    /// are those of the application, and the program's own settings of them are ignored.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default().platform(faisca_k8s::driver::find_platform)
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
        self.0.fmt(f)
    }
}

/// Configures a session; `get_or_create` starts it. Every setting has a default.
pub type SessionBuilder = faisca_driver::SessionBuilder<Session>;

impl From<faisca_driver::Session> for Session {
    fn from(session: faisca_driver::Session) -> Self {
        Self(session)
    }
}
