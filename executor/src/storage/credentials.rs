//! AWS credentials: from the manifest, or by AWS's default chain (environment, profile, SSO, web
//! identity (IRSA), pod identity, instance metadata).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use faisca_planner::manifest::{SecretRef, StoreCredentials};
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, StaticCredentialProvider};
use tokio::sync::Mutex;

/// Time for one attempt of a request by the AWS SDK, from connecting to the end of the response.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a request by the AWS SDK with all of its attempts, and for the credentials of a
/// request.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(150);
/// Credentials are renewed this long before they expire, so that no request in flight outlives
/// them.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// Loads the credentials, region and endpoint that AWS's tools would use on this machine.
///
/// Requests have timeouts: without them, a server that accepts a connection and does not respond
/// would stop a job forever. The environment and the profile files have precedence. The region
/// never comes from the instance metadata service; credentials do if no other source has any.
pub async fn sdk_config(profile: Option<&str>) -> aws_config::SdkConfig {
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut profile_region = ProfileFileRegionProvider::builder();
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(client)
        .timeout_config(timeouts);
    if let Some(profile) = profile {
        profile_region = profile_region.profile_name(profile);
        loader = loader.profile_name(profile);
    }
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile_region.build());
    loader.region(region).load().await
}

/// AWS's default chain as a credential provider of `object_store`. Caches until renewal.
#[derive(Debug)]
pub(super) struct Chain {
    provider: SharedCredentialsProvider,
    /// Time for the provider to return credentials.
    timeout: Duration,
    cached: Mutex<Option<(Arc<AwsCredential>, Option<SystemTime>)>>,
}

impl Chain {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            timeout: OPERATION_TIMEOUT,
            cached: Mutex::default(),
        }
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        if let Some((credential, expiry)) = cached.as_ref()
            && expiry.is_none_or(|time| SystemTime::now() + RENEW_BEFORE < time)
        {
            return Ok(Arc::clone(credential));
        }
        // The SDK sets no timeout for STS and for metadata services.
        let credentials = tokio::time::timeout(self.timeout, self.provider.provide_credentials())
            .await
            .map_err(|_| CredentialsError::provider_timed_out(self.timeout))
            .flatten()
            .map_err(|e| no_credentials(&e))?;
        let credential = Arc::new(AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        });
        *cached = Some((Arc::clone(&credential), credentials.expiry()));
        Ok(credential)
    }
}

fn no_credentials(error: &CredentialsError) -> object_store::Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        text = format!("{text}: {current}");
        cause = current.source();
    }
    let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the pod's service account a role";
    let source = format!("no AWS credentials were found ({text}); {help}");
    object_store::Error::Unauthenticated {
        path: "credentials".to_owned(),
        source: source.into(),
    }
}

/// Resolves the access key that the manifest refers to.
pub(super) fn resolve(
    credentials: &StoreCredentials,
) -> object_store::Result<Arc<dyn CredentialProvider<Credential = AwsCredential>>> {
    let token = credentials.session_token.as_ref().map(secret).transpose()?;
    let credential = AwsCredential {
        key_id: secret(&credentials.access_key_id)?,
        secret_key: secret(&credentials.secret_access_key)?,
        token,
    };
    Ok(Arc::new(StaticCredentialProvider::new(credential)))
}

/// A secret that a manifest refers to cannot be read.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error("the variable {name}, which `stores` refers to, is not set")]
    Variable {
        name: String,
        source: std::env::VarError,
    },
    #[error("the file {path}, which `stores` refers to: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
}

fn secret(reference: &SecretRef) -> object_store::Result<String> {
    let missing = |error: SecretError| object_store::Error::Unauthenticated {
        path: "credentials".to_owned(),
        source: error.into(),
    };
    match reference {
        SecretRef::Env(name) => std::env::var(name).map_err(|source| {
            missing(SecretError::Variable {
                name: name.clone(),
                source,
            })
        }),
        SecretRef::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| {
                missing(SecretError::File {
                    path: path.clone(),
                    source,
                })
            })?;
            Ok(text.trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::future::ProvideCredentials as Provided;

    use super::*;

    /// A service that accepts requests and does not respond.
    #[derive(Debug)]
    struct Silent;

    impl ProvideCredentials for Silent {
        fn provide_credentials<'a>(&'a self) -> Provided<'a>
        where
            Self: 'a,
        {
            Provided::new(std::future::pending())
        }
    }

    #[tokio::test]
    async fn credentials_that_do_not_arrive_are_an_error() {
        let chain = Chain {
            timeout: Duration::from_millis(10),
            ..Chain::new(SharedCredentialsProvider::new(Silent))
        };
        let error = chain.get_credential().await.unwrap_err().to_string();
        assert!(error.contains("no AWS credentials were found"), "{error}");
    }

    #[tokio::test]
    async fn requests_of_the_sdk_have_timeouts() {
        let config = sdk_config(None).await;
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        assert_eq!(timeouts.operation_timeout(), Some(OPERATION_TIMEOUT));
    }
}
