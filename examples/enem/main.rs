//! The ENEM pipeline on the job API, with a function of its own that travels to the executors.
//!
//! `cargo run --release --example enem -- [DATA FOLDER] [EXECUTORS]`

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use faisca::prelude::*;

/// Returns a function that keeps four digits of an enrolment number: `*****` + digits + `***`.
fn hidden() -> ScalarUDF {
    let hide = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let numbers = cast(&arrays[0], &DataType::Utf8)?;
        let numbers = numbers
            .as_any()
            .downcast_ref::<StringArray>()
            .into_iter()
            .flatten();
        let hidden: StringArray = numbers
            .map(|n| {
                n.map(|n| format!("*****{}***", n.chars().skip(4).take(4).collect::<String>()))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(hidden) as ArrayRef))
    };
    create_udf(
        "hidden",
        vec![DataType::Int64],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(hide),
    )
}

/// Mean age and marks of each state, with the number of men and of women.
fn summarize_states(enem: &DataFrame) -> faisca::Result<DataFrame> {
    let state = ["sg_uf_residencia"];

    let means = enem.clone().group_by(state).agg([
        avg("nu_idade").alias("med_nu_idade"),
        avg("nu_nota_mt").alias("med_mt"),
        avg("nu_nota_cn").alias("med_cn"),
        avg("nu_nota_ch").alias("med_ch"),
        avg("nu_nota_lc").alias("med_lc"),
    ])?;
    let by_sex = |sex: &str, name: &str| {
        enem.clone()
            .filter(col("tp_sexo").eq(lit(sex)))?
            .group_by(state)
            .agg([count(lit(1)).alias(name)])
    };
    means
        .join(by_sex("M", "count_m")?, &state, JoinType::Inner)?
        .join(by_sex("F", "count_f")?, &state, JoinType::Inner)
}

#[tokio::main]
async fn main() -> faisca::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments
        .next()
        .unwrap_or_else(|| "examples/enem/data".to_owned());
    let executors = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    // In an executor process this call serves tasks and never returns.
    let session = Session::builder()
        .app_name("enem")
        .executors(executors)
        .udf(hidden())
        .get_or_create()
        .await?;

    let csv = session
        .read()
        .option("delimiter", ";")
        .option("encoding", "iso-8859-1")
        .csv(&format!("{data}/landing/enem/"))
        .await?;
    csv.write()
        .mode(SaveMode::Overwrite)
        .parquet(&format!("{data}/processing/enem"))
        .await?;
    let enem = session
        .read()
        .parquet(&format!("{data}/processing/enem/"))
        .await?;
    summarize_states(&enem)?
        .write()
        .mode(SaveMode::Overwrite)
        .parquet(&format!("{data}/consumer/enem_uf"))
        .await?;

    let written = enem
        .with_column(
            "inscricao_oculta",
            call_function("hidden", ["nu_inscricao"]),
        )?
        .select_columns(&[
            "nu_inscricao",
            "inscricao_oculta",
            "nu_nota_mt",
            "sg_uf_residencia",
        ])?
        .write()
        .mode(SaveMode::Overwrite)
        .parquet(&format!("{data}/consumer/enem_anon"))
        .await?;

    session
        .read()
        .parquet(&format!("{data}/consumer/enem_uf/"))
        .await?
        .sort(["sg_uf_residencia"])?
        .limit(5)?
        .show()
        .await?;
    println!("{} rows in {}", written.rows, written.path);
    session.stop().await;
    Ok(())
}
