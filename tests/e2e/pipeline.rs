//! The main job: the ENEM pipeline, against DataFusion in one process on the same rows.

use std::path::Path;

use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use faisca_generate::enem;

use crate::support::{command, files_below, oracle_rows, rows, scratch, sorted};

const ROWS: u64 = 20_000;

/// Expected rows of each output, by SQL over the CSV converted to UTF-8 with nothing of ours.
async fn expected(data: &Path) -> Vec<(&'static str, Vec<String>)> {
    let context = SessionContext::new_with_config(
        datafusion::prelude::SessionConfig::new()
            .set_bool("datafusion.sql_parser.enable_ident_normalization", false),
    );
    let utf8 = data.join("utf8");
    std::fs::create_dir_all(&utf8).unwrap();
    for (name, path, delimiter) in [
        ("enem", "landing/enem/MICRODADOS_ENEM.csv", b';'),
        ("enade", "landing/enade2017/MICRODADOS_ENADE_2017.csv", b';'),
        ("aluno", "landing/edsup2019/SUP_ALUNO_2019.csv", b'|'),
    ] {
        let bytes = std::fs::read(data.join(path)).unwrap();
        let mut text: String = bytes.iter().map(|b| char::from(*b)).collect();
        if name == "enade" {
            text = text.replace(',', ".");
        }
        let file = utf8.join(format!("{name}.csv"));
        std::fs::write(&file, text).unwrap();
        let options = CsvReadOptions::new()
            .delimiter(delimiter)
            .schema_infer_max_records(10_000);
        context
            .register_csv(name, file.to_str().unwrap(), options)
            .await
            .unwrap();
    }
    let mut all = vec![];
    for (output, sql) in [
        ("processing/enem", "SELECT * FROM enem"),
        ("processing/intermediarias/uf_idade", "SELECT SG_UF_RESIDENCIA, avg(NU_IDADE) FROM enem GROUP BY 1"),
        (
            "processing/intermediarias/uf_notas",
            "SELECT SG_UF_RESIDENCIA, avg(NU_NOTA_MT), avg(NU_NOTA_CN), avg(NU_NOTA_CH), avg(NU_NOTA_LC) FROM enem GROUP BY 1",
        ),
        (
            "processing/intermediarias/uf_sexo",
            "SELECT SG_UF_RESIDENCIA, count(*) FILTER (WHERE TP_SEXO = 'M'), count(*) FILTER (WHERE TP_SEXO = 'F') FROM enem GROUP BY 1",
        ),
        (
            "consumer/enem_uf",
            "SELECT SG_UF_RESIDENCIA, avg(NU_IDADE), avg(NU_NOTA_MT), avg(NU_NOTA_CN), avg(NU_NOTA_CH), avg(NU_NOTA_LC),
             count(*) FILTER (WHERE TP_SEXO = 'M'), count(*) FILTER (WHERE TP_SEXO = 'F') FROM enem GROUP BY 1",
        ),
        (
            "consumer/enem_anon",
            "SELECT NU_INSCRICAO, '*****' || substr(CAST(NU_INSCRICAO AS VARCHAR), 5, 4) || '***', NU_NOTA_MT, SG_UF_RESIDENCIA FROM enem",
        ),
        ("processing/enade2017", "SELECT * FROM enade"),
        (
            "processing/edsup2019/aluno",
            "SELECT NU_ANO_CENSO, CO_IES, ID, NO_MUNICIPIO, SG_UF, CASE TP_SEXO WHEN 1 THEN 'Feminino' ELSE 'Masculino' END,
             CASE TP_COR_RACA WHEN 1 THEN 'Branca' WHEN 2 THEN 'Preta' WHEN 3 THEN 'Parda' WHEN 4 THEN 'Amarela'
             WHEN 5 THEN 'Indígena' ELSE 'Não declarada' END, NU_IDADE FROM aluno",
        ),
    ] {
        all.push((output, sorted(oracle_rows(&context, sql).await)));
    }
    std::fs::remove_dir_all(utf8).unwrap();
    all
}

async fn check(data: &Path, expected: &[(&str, Vec<String>)]) {
    let context = SessionContext::new();
    for (output, rows_expected) in expected {
        let path = format!("{}/", data.join(output).display());
        let actual = context
            .read_parquet(path, ParquetReadOptions::default())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        assert_eq!(sorted(rows(&actual)), *rows_expected, "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_equals_datafusion_embedded_and_on_three_processes() {
    let folder = scratch("enem");
    let data = folder.path();
    enem(data, ROWS).unwrap();
    let expected = expected(data).await;
    for executors in ["0", "3"] {
        let set = format!("data={}", data.display());
        let run = command()
            .args([
                "run",
                "examples/enem/enem.yaml",
                "--set",
                &set,
                "--executors",
                executors,
            ])
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        check(data, &expected).await;
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        for executor in (1..=executors.parse::<u32>().unwrap()).map(|n| format!("executor-{n}")) {
            assert!(text.contains(&executor), "{text}");
        }
        let litter: Vec<_> = files_below(data)
            .into_iter()
            .filter(|f| f.contains("faisca-"))
            .collect();
        assert!(litter.is_empty(), "{litter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn six_manifests_make_the_same_tables() {
    let folder = scratch("enem");
    let data = folder.path();
    enem(data, 2_000).unwrap();
    let expected: Vec<_> = expected(data)
        .await
        .into_iter()
        .filter(|(output, _)| !output.contains("enade") && !output.contains("edsup"))
        .collect();
    for job in [
        "converte_parquet",
        "agrega_idade",
        "agrega_notas",
        "agrega_sexo",
        "join_final",
        "anonimiza_inscricao",
    ] {
        let (file, set) = (
            format!("examples/enem/jobs/enem_{job}.yaml"),
            format!("data={}", data.display()),
        );
        let run = command()
            .args(["run", &file, "--set", &set])
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{job}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
    check(data, &expected).await;
}
