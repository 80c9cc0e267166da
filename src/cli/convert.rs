//! `faisca convert OLD.yaml`: converts a SparkApplication of Spark Operator into a manifest.

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
    let text = std::fs::read_to_string(&args.old).map_err(Error::input(&args.old))?;
    let old = faisca_k8s::convert::read(&text).map_err(Error::input(&args.old))?;
    let converted = faisca_k8s::convert::convert(&old).map_err(Error::input(&args.old))?;
    for remark in &converted.remarks {
        print(&format!("# {remark}"));
    }
    print(
        faisca_k8s::convert::write(&converted.manifest)
            .map_err(Error::input(&args.old))?
            .trim_end(),
    );
    Ok(())
}
