//! Runs Faísca on Kubernetes: the resources, the operator, and the driver's and executors' pods.
//!
//! A job is a resource whose spec is the spec of a manifest, so a file that runs on a laptop runs
//! on a cluster. The operator creates a driver pod for it, and the driver creates the executors'
//! pods. Each reports what it knows to the level above, and the resource owns everything.
//!
//! This is the only crate that talks to the Kubernetes API. The manifest's fields for pods and
//! Airflow are in `planner/src/manifest`, because every manifest may contain them; their meaning
//! is here.
//!
//! # Layout
//! - [`resource`], `schema`, [`crd`] — the resources, their schemas and definitions
//! - [`application`] — a resource, parsed and checked
//! - `pods`: builds the pods of an application; `pod_state`: interprets their status
//! - [`operator`] — creates driver pods, reports their outcome, runs schedules
//! - [`driver`], `fleet`, `history`: the driver in its pod, its executors, their stored logs
//! - [`client`] — submits, lists, follows and deletes applications
//! - [`convert`] — converts resources of Spark Operator
//! - [`error`] — errors, and explanations of errors of the API server

pub mod application;
pub mod client;
pub mod convert;
pub mod crd;
pub mod driver;
pub mod error;
mod fleet;
mod history;
pub mod operator;
mod pod_state;
mod pods;
pub mod resource;
mod schema;

pub use kube;
