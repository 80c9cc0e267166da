//! Catches panics of statements: a defect in one must not end a shell, whose tables would be lost.

use std::panic::AssertUnwindSafe;

use faisca::{Error, Result};
use faisca_executor::error::panic_text;
use faisca_executor::protocol::{Failure, FailureKind};
use futures::FutureExt;

/// Runs a statement, and reports a panic as an error.
///
/// # Errors
/// Returns the error of the statement.
pub(super) async fn guard<T>(statement: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = AssertUnwindSafe(statement).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        Err(Error::Run(Failure {
            kind: FailureKind::Bug,
            message: format!("the statement panicked: {}", panic_text(panic.as_ref())),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_statement() {
        let error = guard(async { panic!("no such item") as Result<()> }).await;
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "the statement panicked: no such item");
        assert_eq!(error.exit_code(), 4);
        assert_eq!(guard(async { Ok(1) }).await.unwrap(), 1);
    }
}
