//! Settings of object stores. They contain references to secrets, never secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Settings by URL: `s3://bucket` for one bucket, `s3://` for all of them.
pub type Stores = BTreeMap<String, StoreSettings>;

/// Settings of a bucket. Missing ones are read from the environment, as by every AWS
/// tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreSettings {
    /// AWS region, for example `sa-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// URL of a server with the API of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether requests name the bucket in the path instead of the host name. Default: true
    /// if an endpoint is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Whether this account, and not the owner of the bucket, pays for the requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requester_pays: bool,
    /// ARN or id of the KMS key that encrypts written objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Name of a profile in the AWS configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether requests are not signed, for public buckets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// References to the parts of an access key. Default: the sources that every AWS tool
    /// uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<StoreCredentials>,
    /// Maximum number of concurrent requests of each process. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_max: Option<usize>,
}

/// References to the parts of an access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreCredentials {
    /// Id of the access key.
    pub access_key_id: SecretRef,
    /// The secret access key.
    pub secret_access_key: SecretRef,
    /// Session token, for temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
}

/// Where a process finds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SecretFields", into = "SecretFields")]
pub enum SecretRef {
    /// In the environment variable with this name.
    Env(String),
    /// In the file with this path, for example of a mounted Kubernetes secret.
    File(String),
}

impl TryFrom<SecretFields> for SecretRef {
    type Error = &'static str;

    fn try_from(fields: SecretFields) -> Result<Self, Self::Error> {
        match (fields.env, fields.file) {
            (Some(name), None) => Ok(Self::Env(name)),
            (None, Some(path)) => Ok(Self::File(path)),
            _ => Err("a secret needs one of `env` and `file`"),
        }
    }
}

impl From<SecretRef> for SecretFields {
    fn from(reference: SecretRef) -> Self {
        match reference {
            SecretRef::Env(name) => Self {
                env: Some(name),
                file: None,
            },
            SecretRef::File(path) => Self {
                env: None,
                file: Some(path),
            },
        }
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        SecretFields::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SecretFields::json_schema(generator)
    }
}

/// Where a process finds a secret: set either `env` or `file`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SecretRef")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecretFields {
    /// Name of an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    /// Path of a file, for example of a mounted Kubernetes secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// Replaces Hadoop's `s3a://` by `s3://`, its own name in every other system; returns other paths
/// unchanged.
#[must_use]
pub fn known_scheme(path: &str) -> String {
    path.strip_prefix("s3a://")
        .map_or_else(|| path.to_owned(), |rest| format!("s3://{rest}"))
}

/// Returns the settings of a bucket: those of its own URL, or else those of its scheme.
#[must_use]
pub fn settings_for(stores: &Stores, scheme: &str, bucket: &str) -> StoreSettings {
    let all_buckets = known_scheme(&format!("{scheme}://"));
    let bucket_settings = stores.get(&format!("{all_buckets}{bucket}"));
    bucket_settings
        .or_else(|| stores.get(&all_buckets))
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
