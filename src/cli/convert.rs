//! `faisca convert OLD.yaml`.

use clap::Args;
use faisca::{Error, Result};

use super::show::print;

/// Flags of `faisca convert`.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A SparkApplication of Spark Operator (`sparkoperator.k8s.io/v1beta2`).
    old: String,
}

/// Prints the manifest, below comments about everything that has no equivalent.
pub(super) fn convert(args: &ConvertArgs) -> Result<()> {
    let text = std::fs::read_to_string(&args.old)
        .map_err(|error| Error::Plan(format!("{}: {error}", args.old)))?;
    let invalid = |error: &dyn std::fmt::Display| Error::Plan(format!("{}: {error}", args.old));
    let old = faisca_k8s::convert::read(&text).map_err(|error| invalid(&error))?;
    let converted = faisca_k8s::convert::convert(&old).map_err(|error| invalid(&error))?;
    for remark in &converted.remarks {
        print(&format!("# {remark}"));
    }
    print(
        faisca_k8s::convert::write(&converted.manifest)
            .map_err(|error| invalid(&error))?
            .trim_end(),
    );
    Ok(())
}
