//! The only crate that knows Kubernetes.
//!
//! A job is a resource whose spec is the manifest's own: a file that runs on a laptop is valid on a
//! cluster. The operator makes a driver's pod of it; the driver makes executors' pods; each tells
//! what it knows, and everything belongs to the resource.
//!
//! # Layout
//! - [`resource`], [`crd`] — the resources, their definitions
//! - [`application`] — a resource, read and checked
//! - [`pods`] — the pods of an application, made from its spec
//! - [`operator`] — makes drivers, tells what becomes of them, runs schedules
//! - [`driver`], [`fleet`] — the driver in its pod, executors as pods
//! - `history` — logs that outlive their pods
//! - [`client`] — submit, look, follow, stop
//! - [`convert`] — from Spark Operator's resource to ours
//! - [`loss`] — why a pod ended

pub mod application;
pub mod client;
pub mod convert;
pub mod crd;
pub mod driver;
pub mod fleet;
mod history;
pub mod loss;
pub mod operator;
pub mod pods;
pub mod resource;
mod stuck;

pub use kube;
