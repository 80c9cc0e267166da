//! The only crate that may know Kubernetes.
//!
//! So far it holds what a cluster needs before there is one: the resource type. Its spec is the
//! manifest's own, so that a file that runs on a laptop is valid on a cluster.
//!
//! # Layout
//! - [`crd`] — the CustomResourceDefinition of `SparkApplication`

pub mod crd;
