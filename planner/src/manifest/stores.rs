//! How buckets are reached. Secrets stand here by reference only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings by URL: `s3://bucket` for one bucket, `s3://` for all of them.
pub type Stores = BTreeMap<String, StoreSettings>;

/// How to reach a bucket. Whatever is absent comes from the environment, as every AWS tool reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreSettings {
    /// Region, say `sa-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// URL of a server that speaks S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket stands in the path, not in the host name. Default: true with an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// We pay for the requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requester_pays: bool,
    /// Encryption by a key of KMS: its ARN or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Profile of the AWS configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Requests are not signed: for public buckets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// Where a key is kept, if not in AWS' usual places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<StoreCredentials>,
    /// Requests at once, of each process. Default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_max: Option<usize>,
}

/// A key, by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreCredentials {
    /// The access key's id.
    pub access_key_id: SecretRef,
    /// The secret access key.
    pub secret_access_key: SecretRef,
    /// Token of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
}

/// Where a secret is kept: one of the two. Not an enum, since a resource definition knows no `oneOf` of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of a variable of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// A file, say of a mounted Kubernetes secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Settings for a bucket: those of its own URL, else those of its scheme.
#[must_use]
pub fn settings_for(stores: &Stores, scheme: &str, bucket: &str) -> StoreSettings {
    let scheme = if scheme == "s3a" { "s3" } else { scheme };
    let bucket_settings = stores.get(&format!("{scheme}://{bucket}"));
    bucket_settings
        .or_else(|| stores.get(&format!("{scheme}://")))
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buckets_own_settings_win_over_those_of_its_scheme() {
        let named = |region: &str| StoreSettings {
            region: Some(region.to_owned()),
            ..StoreSettings::default()
        };
        let stores = Stores::from([
            ("s3://".to_owned(), named("a")),
            ("s3://lake".to_owned(), named("b")),
        ]);
        assert_eq!(settings_for(&stores, "s3a", "lake"), named("b"));
        assert_eq!(settings_for(&stores, "s3", "other"), named("a"));
        assert_eq!(
            settings_for(&stores, "gs", "lake"),
            StoreSettings::default()
        );
    }
}
