//! `faisca generate`: test data.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use faisca::{Error, Result};
use indicatif::{HumanBytes, HumanCount};

use super::show::print;

/// Flags of `faisca generate`.
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    data_set: DataSet,
}

#[derive(Debug, Subcommand)]
enum DataSet {
    /// CSV files in the layout of Brazil's ENEM, ENADE 2017 and higher education census 2019.
    Enem {
        /// Rows of the ENEM file, about 700 bytes each.
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Folder to create `landing/` in.
        #[arg(long, default_value = "data")]
        out: PathBuf,
    },
    /// The TPC-H tables as Parquet.
    Tpch {
        /// Scale factor: 1 is about 8.7 million rows.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// Folder to create one folder per table in.
        #[arg(long, default_value = "data/tpch")]
        out: PathBuf,
    },
}

pub(super) fn generate(args: GenerateArgs) -> Result<()> {
    match args.data_set {
        DataSet::Enem { rows, out } => {
            let files = faisca_generate::enem(&out, rows).map_err(cannot_write(&out))?;
            print(&format!(
                "{} rows, {} in {}",
                HumanCount(rows),
                HumanBytes(files.enem_bytes),
                files.enem.display()
            ));
        }
        DataSet::Tpch { scale, out } => {
            if !(scale > 0.0 && scale <= 1000.0) {
                return Err(Error::Usage(format!(
                    "--scale {scale}: expected a number above 0 and up to 1000"
                )));
            }
            faisca_generate::tpch(&out, scale).map_err(cannot_write(&out))?;
            print(&format!(
                "TPC-H at scale factor {scale} in {}",
                out.display()
            ));
        }
    }
    Ok(())
}

fn cannot_write(folder: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = folder.to_owned();
    |source| Error::File {
        action: "write to",
        path,
        source,
    }
}
