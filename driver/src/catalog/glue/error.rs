//! Converts errors of Glue to errors for users: the request, its object, the reason, and what may
//! be missing.

use aws_sdk_glue::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_glue::types::ErrorDetail;

use crate::error::Error;

/// Codes of failures after which a later retry may succeed.
const TEMPORARY: [&str; 6] = [
    "ConcurrentModificationException",
    "InternalServiceException",
    "InternalFailure",
    "OperationTimeoutException",
    "ServiceUnavailable",
    "ThrottlingException",
];
/// Text in place of an error code that Glue does not report.
const UNKNOWN: &str = "unknown error";

/// Converts the error of the request `action`, whose object is `object`.
pub(super) fn request_failed<E>(action: &str, object: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (reason, is_temporary) = match error.as_service_error() {
        Some(service) => {
            let code = service.code().unwrap_or(UNKNOWN);
            (
                reason(action, code, service.message()),
                TEMPORARY.contains(&code),
            )
        }
        // The request did not arrive, or no response did.
        None => (DisplayErrorContext(&error).to_string(), true),
    };
    Error::Catalog {
        request: format!("glue:{action} of {object}"),
        reason,
        is_temporary,
        source: Some(Box::new(error)),
    }
}

/// Converts the error of one item of a batch: a partition, named by its values, or a column. The
/// request succeeded as a whole.
pub(super) fn item_failed(
    action: &str,
    object: &str,
    item: &[String],
    detail: Option<&ErrorDetail>,
) -> Error {
    let code = item_code(detail);
    Error::Catalog {
        request: format!("glue:{action} of {object} [{}]", item.join(", ")),
        reason: reason(action, code, detail.and_then(|d| d.error_message())),
        is_temporary: TEMPORARY.contains(&code),
        source: None,
    }
}

/// Returns the error code of one item of a batch.
pub(super) fn item_code(detail: Option<&ErrorDetail>) -> &str {
    detail.and_then(|d| d.error_code()).unwrap_or(UNKNOWN)
}

fn reason(action: &str, code: &str, message: Option<&str>) -> String {
    let help = match code {
        "AccessDeniedException" => format!("; the driver's role needs glue:{action}"),
        "ExpiredTokenException" | "ExpiredToken" => {
            "; the session's credentials have expired: get new ones".to_owned()
        }
        _ => String::new(),
    };
    format!("{code}: {}{help}", message.unwrap_or_default())
}

/// Converts the error of a request that lacks a field which Glue requires.
pub(super) fn incomplete(error: BuildError) -> Error {
    Error::Catalog {
        request: "a request to Glue".to_owned(),
        reason: error.to_string(),
        is_temporary: false,
        source: Some(Box::new(error)),
    }
}

/// Returns true if Glue itself returned this error code. `false` for errors of the connection.
pub(super) fn has_code<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    let service = error.as_service_error();
    service.and_then(ProvideErrorMetadata::code) == Some(code)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use aws_sdk_glue::operation::get_table::GetTableError;

    use super::*;

    #[test]
    fn an_error_of_glue_keeps_its_source_and_says_whether_to_retry() {
        let timeout = SdkError::<GetTableError>::timeout_error("30 s");
        let error = request_failed("GetTable", "d.t", timeout);
        assert!(
            error
                .to_string()
                .starts_with("catalog: glue:GetTable of d.t: ")
        );
        let source = error
            .source()
            .and_then(|s| s.downcast_ref::<SdkError<GetTableError>>());
        assert!(matches!(source, Some(SdkError::TimeoutError(_))));
        assert_eq!(error.exit_code(), 3);
        let code = |code: &str| ErrorDetail::builder().error_code(code).build();
        let values = ["SP".to_owned()];
        let denied = code("AccessDeniedException");
        let denied = item_failed("BatchCreatePartition", "d.t", &values, Some(&denied));
        let text = denied.to_string();
        assert!(
            text.contains("[SP]") && text.contains("needs glue:BatchCreatePartition"),
            "{text}"
        );
        assert_eq!(denied.exit_code(), Error::EXIT_CODE_INVALID);
    }
}
