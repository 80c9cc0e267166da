//! What a person does from a laptop: submit, look, follow, stop. `kubectl` alone can do all of it too.

use std::time::Duration;

use faisca_planner::manifest::Manifest;
use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, ResourceExt};

use crate::operator::explained;
use crate::pods::{DRIVER_CONTAINER, driver_name};
use crate::resource::{ApplicationSpec, ApplicationStatus, SparkApplication};

/// Between two looks at a driver that has no log yet.
const LOOK: Duration = Duration::from_millis(300);

/// Why a request to the cluster failed; told with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(pub String);

impl From<kube::Error> for ClientError {
    fn from(error: kube::Error) -> Self {
        Self(explained(&error))
    }
}

/// Applications of one namespace, as a kubeconfig or a pod's service account allows.
pub struct Applications {
    client: Client,
    /// The namespace.
    pub namespace: String,
    api: Api<SparkApplication>,
}

impl Applications {
    /// Connects. Without a namespace, that of the kubeconfig's context.
    ///
    /// # Errors
    /// If there is no configuration.
    pub async fn connect(namespace: Option<&str>) -> Result<Self, ClientError> {
        let missing = |error: &dyn std::fmt::Display| {
            ClientError(format!(
                "no cluster: {error}; set KUBECONFIG, or run in a pod"
            ))
        };
        let config = Config::infer().await.map_err(|e| missing(&e))?;
        let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
        let client = Client::try_from(config).map_err(|e| missing(&e))?;
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
    /// If there is one of that name, or the cluster refuses it.
    pub async fn submit(&self, manifest: &Manifest) -> Result<SparkApplication, ClientError> {
        let spec =
            serde_json::to_value(&manifest.spec).map_err(|error| ClientError(error.to_string()))?;
        let mut resource = SparkApplication::new(&manifest.metadata.name, ApplicationSpec(spec));
        resource.metadata.labels =
            Some(manifest.metadata.labels.clone()).filter(|labels| !labels.is_empty());
        resource.metadata.annotations = Some(manifest.metadata.annotations.clone())
            .filter(|annotations| !annotations.is_empty());
        match self.api.create(&PostParams::default(), &resource).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let name = &manifest.metadata.name;
                Err(ClientError(format!(
                    "{}/{name} is there already: `faisca kill {name}` removes it, `--name` gives this run another name",
                    self.namespace
                )))
            }
            created => Ok(created?),
        }
    }

    /// One application.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn get(&self, name: &str) -> Result<SparkApplication, ClientError> {
        match self.api.get_opt(name).await? {
            Some(found) => Ok(found),
            None => {
                let known: Vec<String> = self
                    .list()
                    .await?
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect();
                let near =
                    faisca_planner::manifest::nearest(name, known.iter().map(String::as_str));
                let help = near.map_or_else(
                    || "`faisca list` shows those there are".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                Err(ClientError(format!(
                    "there is no application {}/{name}: {help}",
                    self.namespace
                )))
            }
        }
    }

    /// All of them, the newest first.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub async fn list(&self) -> Result<Vec<SparkApplication>, ClientError> {
        let mut all = self.api.list(&ListParams::default()).await?.items;
        all.sort_by_key(|application| {
            std::cmp::Reverse(application.creation_timestamp().map(|time| time.0))
        });
        Ok(all)
    }

    /// Removes one, with all that belongs to it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn kill(&self, name: &str) -> Result<(), ClientError> {
        self.get(name).await?;
        self.api.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Follows an application to its end. `told` hears of every change.
    ///
    /// # Errors
    /// If it is deleted meanwhile.
    pub async fn wait(
        &self,
        name: &str,
        mut told: impl FnMut(&ApplicationStatus),
    ) -> Result<ApplicationStatus, ClientError> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut changes = std::pin::pin!(watcher(self.api.clone(), config).default_backoff());
        let mut seen = false;
        while let Some(event) = changes.next().await {
            match event {
                Ok(watcher::Event::Apply(found) | watcher::Event::InitApply(found)) => {
                    seen = true;
                    let status = found.status.unwrap_or_default();
                    told(&status);
                    if status.application_state.state.is_terminal() {
                        return Ok(status);
                    }
                }
                Ok(watcher::Event::InitDone) if seen => {}
                Ok(watcher::Event::Delete(_) | watcher::Event::InitDone) => break,
                Ok(watcher::Event::Init) => {}
                Err(error) => tracing::debug!("watching {name}: {error}"),
            }
        }
        Err(ClientError(format!(
            "{}/{name} was deleted",
            self.namespace
        )))
    }

    /// The driver's log, line by line; with `follow`, from before it starts to its end.
    ///
    /// # Errors
    /// If there is no driver, or its log cannot be read.
    pub async fn logs(
        &self,
        name: &str,
        follow: bool,
        mut line: impl FnMut(&str),
    ) -> Result<(), ClientError> {
        self.get(name).await?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let params = LogParams {
            container: Some(DRIVER_CONTAINER.to_owned()),
            follow,
            ..LogParams::default()
        };
        let log = loop {
            match pods.log_stream(&driver_name(name), &params).await {
                Ok(log) => break log,
                Err(kube::Error::Api(status)) if follow && [400, 404].contains(&status.code) => {
                    let state = self
                        .get(name)
                        .await?
                        .status
                        .unwrap_or_default()
                        .application_state;
                    if state.state.is_terminal() {
                        return Err(ClientError(format!(
                            "{name} has no log: {}",
                            state
                                .error_message
                                .unwrap_or_else(|| "its driver is gone".to_owned())
                        )));
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        lines(log, &mut line)
            .await
            .map_err(|error| ClientError(format!("log of {name}: {error}")))
    }
}

async fn lines(log: impl AsyncBufRead, line: &mut impl FnMut(&str)) -> std::io::Result<()> {
    let mut log = std::pin::pin!(log.lines());
    while let Some(text) = log.try_next().await? {
        line(&text);
    }
    Ok(())
}
