//! `Session::builder()`: the same on a laptop and in a driver's pod.

use faisca_driver::{Session, SessionBuilder};

/// Starts sessions that find out where they run.
pub trait NewSession {
    /// Starts to build one. In the pod that the operator made for an application, the application says how many
    /// executors there are and of which size, whatever the program asks for.
    #[must_use]
    fn builder() -> SessionBuilder;
}

impl NewSession for Session {
    fn builder() -> SessionBuilder {
        SessionBuilder::default().platform(faisca_k8s::driver::find)
    }
}
