//! Client of the resources for use outside the cluster: submit, list, follow, delete.
//!
//! It uses only the Kubernetes API, so `kubectl` can do the same.

use std::fmt;
use std::time::Duration;

use faisca_planner::manifest::{Manifest, did_you_mean};
use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, ResourceExt};

use crate::error::ClientError;
use crate::pods::{DRIVER_CONTAINER, driver_name};
use crate::resource::{ApplicationSpec, ApplicationStatus, SparkApplication};

/// Interval between two attempts to open the log of a driver that has not started.
const LOG_RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// Which lines of a driver's log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRange {
    /// The lines so far.
    SoFar,
    /// All lines until the driver ends; waits for it to start.
    UntilEnd,
}

/// Client for the applications of one namespace, with the permissions of a kubeconfig or of a pod's
/// service account.
pub struct Applications {
    client: Client,
    /// Namespace of all requests.
    pub namespace: String,
    api: Api<SparkApplication>,
}

impl fmt::Debug for Applications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applications")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Applications {
    /// Creates a client. `None` selects the namespace of the kubeconfig's context.
    ///
    /// # Errors
    /// If there is neither a kubeconfig nor a service account.
    pub async fn connect(namespace: Option<&str>) -> Result<Self, ClientError> {
        let config = Config::infer()
            .await
            .map_err(|error| ClientError::NoCluster {
                source: Box::new(error),
            })?;
        let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
        let client = Client::try_from(config).map_err(|error| ClientError::NoCluster {
            source: Box::new(error),
        })?;
        let api = Api::namespaced(client.clone(), &namespace);
        Ok(Self {
            client,
            namespace,
            api,
        })
    }

    /// Creates the resource of a manifest.
    ///
    /// # Errors
    /// If an application of that name exists, or the cluster rejects the resource.
    pub async fn submit(&self, manifest: &Manifest) -> Result<SparkApplication, ClientError> {
        let spec = serde_json::to_value(&manifest.spec).map_err(ClientError::Encode)?;
        let mut resource = SparkApplication::new(&manifest.metadata.name, ApplicationSpec(spec));
        resource.metadata.labels =
            Some(manifest.metadata.labels.clone()).filter(|labels| !labels.is_empty());
        resource.metadata.annotations = Some(manifest.metadata.annotations.clone())
            .filter(|annotations| !annotations.is_empty());
        match self.api.create(&PostParams::default(), &resource).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(ClientError::AlreadyExists {
                    namespace: self.namespace.clone(),
                    name: manifest.metadata.name.clone(),
                })
            }
            created => Ok(created?),
        }
    }

    /// Returns an application.
    ///
    /// # Errors
    /// If there is none of that name; the error suggests the nearest name.
    pub async fn get(&self, name: &str) -> Result<SparkApplication, ClientError> {
        match self.api.get_opt(name).await? {
            Some(application) => Ok(application),
            None => {
                let names: Vec<String> = self
                    .list()
                    .await?
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect();
                let help = did_you_mean(name, names.iter().map(String::as_str), || {
                    "`faisca list` shows the existing ones".to_owned()
                });
                Err(ClientError::NotFound {
                    namespace: self.namespace.clone(),
                    name: name.to_owned(),
                    help,
                })
            }
        }
    }

    /// Returns all applications, the newest first.
    ///
    /// # Errors
    /// If the API server rejects the request.
    pub async fn list(&self) -> Result<Vec<SparkApplication>, ClientError> {
        let mut applications = self.api.list(&ListParams::default()).await?.items;
        applications.sort_by_key(|application| {
            std::cmp::Reverse(application.creation_timestamp().map(|time| time.0))
        });
        Ok(applications)
    }

    /// Deletes an application; Kubernetes then deletes its pods and its secret.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn kill(&self, name: &str) -> Result<(), ClientError> {
        self.get(name).await?;
        self.api.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Waits for the end of an application, and calls `on_change` with every new status.
    ///
    /// # Errors
    /// If the application is deleted before its end.
    pub async fn wait(
        &self,
        name: &str,
        mut on_change: impl FnMut(&ApplicationStatus),
    ) -> Result<ApplicationStatus, ClientError> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut changes = std::pin::pin!(watcher(self.api.clone(), config).default_backoff());
        let mut exists = false;
        while let Some(event) = changes.next().await {
            match event {
                Ok(watcher::Event::Apply(application) | watcher::Event::InitApply(application)) => {
                    exists = true;
                    let status = application.status.unwrap_or_default();
                    on_change(&status);
                    if status.application_state.state.is_terminal() {
                        return Ok(status);
                    }
                }
                Ok(watcher::Event::InitDone) if exists => {}
                Ok(watcher::Event::Delete(_) | watcher::Event::InitDone) => break,
                Ok(watcher::Event::Init) => {}
                // The watch reconnects by itself.
                Err(error) => tracing::debug!("watching {name}: {error}"),
            }
        }
        Err(ClientError::Deleted {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        })
    }

    /// Reads the driver's log and calls `on_line` with each line.
    ///
    /// # Errors
    /// If there is no driver, or its log cannot be read.
    pub async fn logs(
        &self,
        name: &str,
        range: LogRange,
        mut on_line: impl FnMut(&str),
    ) -> Result<(), ClientError> {
        self.get(name).await?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let params = LogParams {
            container: Some(DRIVER_CONTAINER.to_owned()),
            follow: range == LogRange::UntilEnd,
            ..LogParams::default()
        };
        let log = loop {
            match pods.log_stream(&driver_name(name), &params).await {
                Ok(log) => break log,
                // 404: the pod does not exist yet. 400: its container has not started.
                Err(kube::Error::Api(status))
                    if params.follow && [400, 404].contains(&status.code) =>
                {
                    self.check_log_expected(name).await?;
                    tokio::time::sleep(LOG_RETRY_INTERVAL).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        for_each_line(log, &mut on_line)
            .await
            .map_err(|source| ClientError::ReadLog {
                name: name.to_owned(),
                source,
            })
    }

    /// Fails if the application has ended, so that its driver will never have a log.
    async fn check_log_expected(&self, name: &str) -> Result<(), ClientError> {
        let status = self.get(name).await?.status.unwrap_or_default();
        let state = status.application_state;
        if !state.state.is_terminal() {
            return Ok(());
        }
        Err(ClientError::NoLog {
            name: name.to_owned(),
            reason: state
                .error_message
                .unwrap_or_else(|| "its driver pod was deleted".to_owned()),
        })
    }
}

async fn for_each_line(
    log: impl AsyncBufRead,
    on_line: &mut impl FnMut(&str),
) -> std::io::Result<()> {
    let mut lines = std::pin::pin!(log.lines());
    while let Some(line) = lines.try_next().await? {
        on_line(&line);
    }
    Ok(())
}
