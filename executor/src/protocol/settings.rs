//! Step 1: the environment variables that make a process an executor, written and read here.

use std::env::{var, var_os};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use faisca_planner::ids::ExecutorId;
use faisca_planner::manifest::Stores;
use serde::{Deserialize, Serialize};

/// Time from SIGTERM to the end unless [`env::GRACE`] is set. Kubernetes sends SIGKILL after 30 s
/// by default.
const GRACE_DEFAULT: Duration = Duration::from_secs(25);

/// Names of the environment variables that make a process an executor.
pub mod env {
    /// URL of the driver; its presence makes the process an executor.
    pub const DRIVER: &str = "FAISCA_DRIVER";
    /// Number of the executor.
    pub const EXECUTOR: &str = "FAISCA_EXECUTOR_ID";
    /// The job's token.
    pub const TOKEN: &str = "FAISCA_TOKEN";
    /// Number of tasks at once.
    pub const SLOTS: &str = "FAISCA_SLOTS";
    /// Memory limit in bytes.
    pub(crate) const MEMORY: &str = "FAISCA_MEMORY_BYTES";
    /// Folder to spill to.
    pub(crate) const SPILL: &str = "FAISCA_SPILL_FOLDER";
    /// Object store settings: the manifest's `stores`, as JSON.
    pub(crate) const STORES: &str = "FAISCA_STORES";
    /// Settings of the durable exchange, as JSON.
    pub(crate) const DURABLE: &str = "FAISCA_DURABLE_EXCHANGE";
    /// Address of this process that peers can reach.
    pub const HOST: &str = "FAISCA_HOST";
    /// Seconds from SIGTERM to the end.
    pub const GRACE: &str = "FAISCA_GRACE_SECONDS";
}

/// Resource limits and storage settings of one process.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Bytes that operators and the exchange may hold; `None` for no limit.
    pub memory_bytes: Option<u64>,
    /// Number of tasks at once, which share that memory.
    pub slots: u32,
    /// Folder to spill to; `None` for the system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
    /// Object store settings, keyed by `s3://bucket` or by scheme.
    pub stores: Stores,
    /// Where blocks get durable copies, if anywhere.
    pub durable: Option<DurableExchange>,
}

impl Limits {
    /// Returns the environment variables of an executor with these limits, without
    /// [`env::EXECUTOR`] and those that only its platform knows.
    ///
    /// # Errors
    /// Only if a value cannot be serialized, which would be a bug.
    pub fn variables(
        &self,
        driver: &str,
        token: &str,
    ) -> Result<Vec<(&'static str, String)>, InvalidVariable> {
        let mut variables = vec![
            (env::DRIVER, driver.to_owned()),
            (env::TOKEN, token.to_owned()),
            (env::SLOTS, self.slots.to_string()),
        ];
        if let Some(bytes) = self.memory_bytes {
            variables.push((env::MEMORY, bytes.to_string()));
        }
        if let Some(folder) = &self.spill_folder {
            variables.push((env::SPILL, folder.display().to_string()));
        }
        if !self.stores.is_empty() {
            let json = serde_json::to_string(&self.stores).map_err(invalid(env::STORES))?;
            variables.push((env::STORES, json));
        }
        if let Some(durable) = &self.durable {
            let json = serde_json::to_string(durable).map_err(invalid(env::DURABLE))?;
            variables.push((env::DURABLE, json));
        }
        Ok(variables)
    }

    fn from_env() -> Result<Self, InvalidVariable> {
        Ok(Self {
            memory_bytes: optional(env::MEMORY)?,
            slots: require(env::SLOTS)?,
            spill_folder: var_os(env::SPILL).map(Into::into),
            stores: json(env::STORES)?.unwrap_or_default(),
            durable: json(env::DURABLE)?,
        })
    }
}

/// Where blocks get durable copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableExchange {
    /// URL of a folder in an object store.
    pub folder: String,
    /// Unique part of every key, so that jobs never share an object.
    pub run: String,
}

/// What a process needs to know to serve as an executor.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Identity of the executor.
    pub executor: ExecutorId,
    /// URL of the driver.
    pub driver: String,
    /// The job's token.
    pub token: String,
    /// Resource limits and storage settings.
    pub limits: Limits,
    /// Address of this process that peers can reach.
    pub host: IpAddr,
    /// Time from SIGTERM to the end, even if work is left then.
    pub grace: Duration,
}

impl ExecutorConfig {
    /// Reads the environment; `None` where [`env::DRIVER`] is not set, because then this process is
    /// not an executor.
    ///
    /// # Errors
    /// Names the variable that is missing or malformed.
    pub fn from_env() -> Result<Option<Self>, InvalidVariable> {
        let Ok(driver) = var(env::DRIVER) else {
            return Ok(None);
        };
        let grace = optional(env::GRACE)?.map_or(GRACE_DEFAULT, Duration::from_secs);
        Ok(Some(Self {
            executor: ExecutorId(require(env::EXECUTOR)?),
            driver,
            token: require(env::TOKEN)?,
            limits: Limits::from_env()?,
            host: optional(env::HOST)?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            grace,
        }))
    }
}

/// An environment variable of an executor that is missing or malformed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidVariable {
    /// The variable is not set.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The value of the variable is malformed.
    #[error("{name}: {source}")]
    Malformed {
        /// Name of the variable.
        name: &'static str,
        /// What is wrong with its value.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn invalid<E: Error + Send + Sync + 'static>(
    name: &'static str,
) -> impl FnOnce(E) -> InvalidVariable {
    move |error| InvalidVariable::Malformed {
        name,
        source: Box::new(error),
    }
}

fn optional<T: FromStr<Err: Error + Send + Sync + 'static>>(
    name: &'static str,
) -> Result<Option<T>, InvalidVariable> {
    let text = var(name).ok();
    text.map(|text| text.parse().map_err(invalid(name)))
        .transpose()
}

fn require<T: FromStr<Err: Error + Send + Sync + 'static>>(
    name: &'static str,
) -> Result<T, InvalidVariable> {
    optional(name)?.ok_or(InvalidVariable::Missing(name))
}

fn json<T: for<'de> Deserialize<'de>>(name: &'static str) -> Result<Option<T>, InvalidVariable> {
    let text = var(name).ok();
    text.map(|text| serde_json::from_str(&text).map_err(invalid(name)))
        .transpose()
}
