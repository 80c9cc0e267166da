//! Texts of object store errors for users: what to do about each.

/// Remedies by S3 error code. A code that ends with a dot is a prefix.
const ADVICE: [(&str, &str); 13] = [
    (
        "KMS.",
        "the KMS key of the bucket, or of `kmsKeyId`, cannot be used: check that it is enabled, and the role's kms: permissions",
    ),
    (
        "NoSuchBucket",
        "the bucket does not exist: check its name, and the endpoint if one is set",
    ),
    (
        "NoSuchKey",
        "the object no longer exists: it was removed after it was listed; run the job again",
    ),
    (
        "AccessDenied",
        "access denied: check the role's policy, the bucket's policy and its KMS key",
    ),
    (
        "InvalidAccessKeyId",
        "the access key is unknown to the store",
    ),
    ("SignatureDoesNotMatch", "the secret access key is wrong"),
    (
        "ExpiredToken",
        "the session's credentials have expired: get new ones",
    ),
    (
        "TokenRefreshRequired",
        "the session's credentials have expired: get new ones",
    ),
    (
        "InvalidToken",
        "the session token is not valid: get new credentials",
    ),
    (
        "RequestTimeTooSkewed",
        "this machine's clock differs from the store's: set it by NTP",
    ),
    (
        "PermanentRedirect",
        "the bucket is in another region: set stores.\"s3://BUCKET\".region",
    ),
    (
        "AuthorizationHeaderMalformed",
        "the bucket is in another region: set stores.\"s3://BUCKET\".region",
    ),
    ("InvalidBucketName", "not a valid bucket name"),
];

/// Returns the S3 error code in a text, and its remedy.
pub(crate) fn advice(text: &str) -> Option<(&str, &'static str)> {
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let known = ADVICE
        .into_iter()
        .find(|(known, _)| code == *known || (known.ends_with('.') && code.starts_with(known)));
    known.map(|(_, help)| (code, help))
}

/// Returns the text of a store's error for users: without XML, with a remedy if there is one.
#[must_use]
pub fn store_message(error: &object_store::Error) -> String {
    let text = error.to_string();
    if let Some((code, help)) = advice(&text) {
        return match path_of(error) {
            Some(path) => format!("{path}: {code}: {help}"),
            None => format!("{code}: {help}"),
        };
    }
    match error {
        object_store::Error::NotFound { path, .. } => {
            format!("{path}: not found; if it existed a moment ago, it was removed")
        }
        object_store::Error::PermissionDenied { path, .. } => {
            format!("{path}: permission denied: check the role's policy and the bucket's policy")
        }
        object_store::Error::Unauthenticated { source, .. } => source.to_string(),
        // Cuts off a server's page of XML or HTML.
        _ => text
            .split('<')
            .next()
            .unwrap_or_default()
            .trim_end_matches([':', ' '])
            .to_owned(),
    }
}

fn path_of(error: &object_store::Error) -> Option<&str> {
    match error {
        object_store::Error::NotFound { path, .. }
        | object_store::Error::PermissionDenied { path, .. }
        | object_store::Error::Unauthenticated { path, .. } => Some(path),
        _ => None,
    }
}
