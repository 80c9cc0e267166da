//! The contract of every catalog: tables appear, switch and change as a whole. On files and on
//! Glue.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faisca::prelude::*;

use crate::glue_server::GlueServer;
use crate::lake::{JOB, query, session};
use crate::s3_server::S3Server;
use crate::support::{command, output_text, scratch};

/// Both catalogs of a test, by the command, as a user has them.
pub struct Lake {
    pub server: S3Server,
    pub glue: GlueServer,
    pub warehouse: tempfile::TempDir,
}

impl Lake {
    pub async fn start() -> Self {
        Self {
            server: S3Server::start().await,
            glue: GlueServer::start().await,
            warehouse: scratch("lake"),
        }
    }

    /// Runs the command; returns its success and all that it printed.
    pub async fn faisca(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = command();
        let conf = format!("faisca.warehouse={}", self.warehouse.path().display());
        command
            .args(arguments)
            .args(["--conf", &conf])
            .envs(self.server.environment())
            .env("AWS_ENDPOINT_URL_GLUE", &self.glue.url);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        (output.status.success(), output_text(&output))
    }

    /// The job with `n` rows, in a catalog, edited.
    async fn job(&self, kind: &str, n: u32, edits: &[(&str, &str)]) -> (bool, String) {
        let mut job = JOB.replace("local", kind);
        edits
            .iter()
            .for_each(|(old, new)| job = job.replace(old, new));
        let file = self.warehouse.path().join("job.yaml");
        std::fs::write(&file, job.replace("PARTS", "static")).unwrap();
        self.faisca(&["run", file.to_str().unwrap(), "--set", &format!("n={n}")])
            .await
    }

    async fn run_job(&self, kind: &str, n: u32, edits: &[(&str, &str)]) {
        let (success, text) = self.job(kind, n, edits).await;
        assert!(success, "{text}");
    }

    /// Runs a job of one step, `t`: its statement, and the fields of `write` in YAML. `CATALOG` in
    /// them stands for the type and the database of a catalog.
    pub async fn write(&self, kind: &str, sql: &str, write: &str) -> (bool, String) {
        let catalog = format!("type: {kind}, database: d, createDatabase: true");
        let write = write.replace("CATALOG", &catalog);
        let step = serde_json::json!({"name": "t", "sql": sql});
        let step = step.to_string();
        let step = step.trim_end_matches('}');
        let job = format!(
            "apiVersion: faisca.dev/v1alpha1\nkind: SparkApplication\nmetadata: {{name: lake}}\n\
             spec:\n  steps:\n    - {step}, \"write\": {{{write}}}}}\n"
        );
        let file = self.warehouse.path().join("write.yaml");
        std::fs::write(&file, job).unwrap();
        self.faisca(&["run", file.to_str().unwrap()]).await
    }

    /// The same, for a job that succeeds.
    pub async fn written(&self, kind: &str, sql: &str, write: &str) {
        let (success, text) = self.write(kind, sql, write).await;
        assert!(success, "{sql}: {text}");
    }

    /// Rows of a query, sorted.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let (success, text) = self.faisca(&["sql", "-c", sql]).await;
        assert!(success, "{text}");
        let cells = |line: &str| {
            line.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join("|")
        };
        crate::support::sorted(
            text.lines()
                .filter(|line| line.starts_with('|'))
                .skip(1)
                .map(cells)
                .collect(),
        )
    }
}

async fn catalog_holds(lake: &Lake, kind: &str) {
    rows_and_partitions_follow_each_write(lake, kind).await;
    other_columns_are_refused_or_added(lake, kind).await;
    unknown_names_are_errors(lake, kind).await;
}

/// Leaves five rows in `numbers`.
async fn rows_and_partitions_follow_each_write(lake: &Lake, kind: &str) {
    let table = |name: &str| format!("{kind}.d.{name}");
    let by_k = format!("SELECT k, count(*) FROM {} GROUP BY k", table("by_k"));
    let count = format!("SELECT count(*) FROM {}", table("numbers"));
    lake.run_job(kind, 10, &[]).await;
    assert_eq!(
        lake.rows(&format!(
            "SELECT count(*), sum(ID), sum(u) FROM {}",
            table("NUMBERS")
        ))
        .await,
        ["10|55|55"]
    );
    assert_eq!(lake.rows(&by_k).await, ["0|3", "1|4", "2|3"]);
    assert_eq!(
        lake.rows(&format!(
            "SELECT count(*) FROM {} WHERE k = 1",
            table("by_k")
        ))
        .await,
        ["4"]
    );
    // Two rows of keys 1 and 2: the partition of key 0 stays, or goes.
    lake.run_job(kind, 2, &[("PARTS", "dynamic")]).await;
    assert_eq!(lake.rows(&by_k).await, ["0|3", "1|1", "2|1"]);
    lake.run_job(kind, 2, &[]).await;
    assert_eq!(lake.rows(&by_k).await, ["1|1", "2|1"]);
    // Rows beside the old ones, where those are.
    lake.run_job(kind, 3, &[("mode: overwrite", "mode: append")])
        .await;
    assert_eq!(lake.rows(&count).await, ["5"]);
    assert_eq!(lake.rows(&by_k).await, ["0|1", "1|3", "2|3"]);
}

/// Refused before a byte is written, or added if the job says so.
async fn other_columns_are_refused_or_added(lake: &Lake, kind: &str) {
    let numbers = format!("{kind}.d.numbers");
    let count = format!("SELECT count(*) FROM {numbers}");
    let changed = ("value AS Id", "CAST(value AS STRING) AS Id, 1 AS extra");
    // Reads are allowed: the commit record says whether an earlier attempt has written this step.
    let writes = lake.server.count_writes();
    let (success, error) = lake.job(kind, 5, &[changed]).await;
    assert!(
        !success && error.contains("new: extra int; of another type: id string instead of bigint"),
        "{error}"
    );
    assert!(error.contains("step `numbers`"), "{error}");
    lake.server.pass_all();
    assert_eq!(writes.load(Ordering::Relaxed), 0);
    assert_eq!(lake.rows(&count).await, ["5"]);
    let added_column = ("value AS Id", "value AS Id, 'x' AS extra");
    let adds = (
        "createDatabase: true",
        "createDatabase: true, onSchemaChange: addColumns",
    );
    lake.run_job(kind, 4, &[added_column, adds]).await;
    assert_eq!(
        lake.rows(&format!("SELECT max(extra), count(*) FROM {numbers}"))
            .await,
        ["x|4"]
    );
}

async fn unknown_names_are_errors(lake: &Lake, kind: &str) {
    let query = format!("SELECT * FROM {kind}.d.numbrs");
    let (success, error) = lake.faisca(&["sql", "-c", &query]).await;
    assert!(
        !success && error.contains("did you mean `numbers`?"),
        "{error}"
    );
    let (success, error) = lake
        .job(
            kind,
            1,
            &[
                ("database: d,", "database: nowhere,"),
                ("createDatabase: true, ", ""),
            ],
        )
        .await;
    assert!(
        !success && error.contains("there is no database `nowhere`"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_catalog_holds_what_catalogs_must() {
    catalog_holds(&Lake::start().await, "local").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn glue_holds_what_catalogs_must() {
    let lake = Lake::start().await;
    catalog_holds(&lake, "glue").await;
    glue_stores_comments_and_statistics(&lake).await;
    glue_stores_partition_projections(&lake).await;
}

async fn glue_stores_comments_and_statistics(lake: &Lake) {
    let stored = lake.glue.table("d", "numbers");
    assert_eq!(
        (
            stored["Description"].as_str(),
            stored["StorageDescriptor"]["Columns"][0]["Comment"].as_str()
        ),
        (Some("all of them"), Some("the number"))
    );
    assert_eq!(stored["Parameters"]["classification"], "parquet");
    assert!(
        stored["StorageDescriptor"]["Location"]
            .as_str()
            .unwrap()
            .ends_with('/')
    );
    assert_eq!(
        lake.glue.table("d", "by_k")["PartitionKeys"][0]["Name"],
        "k"
    );
    assert_eq!(
        lake.glue.statistics("d", "numbers"),
        Vec::<serde_json::Value>::new()
    );
    lake.run_job(
        "glue",
        100,
        &[(
            "createDatabase: true",
            "createDatabase: true, columnStatistics: true, onSchemaChange: replace",
        )],
    )
    .await;
    let statistics = lake.glue.statistics("d", "numbers");
    let id = &statistics[0]["StatisticsData"]["LongColumnStatisticsData"];
    assert_eq!(
        (
            statistics[0]["ColumnName"].as_str(),
            statistics[0]["ColumnType"].as_str()
        ),
        (Some("id"), Some("bigint"))
    );
    assert_eq!(
        (
            &id["MinimumValue"],
            &id["MaximumValue"],
            &id["NumberOfNulls"]
        ),
        (&1.into(), &100.into(), &0.into())
    );
    assert!(
        (95..=105).contains(&id["NumberOfDistinctValues"].as_i64().unwrap()),
        "{id}"
    );
}

async fn glue_stores_partition_projections(lake: &Lake) {
    let projected = "catalog: {type: glue, database: d, parameters: {projection.enabled: 'true', projection.k.type: integer, projection.k.range: '0,2'}}";
    let by_k = "catalog: {type: glue, database: d}";
    lake.run_job("glue", 3, &[(by_k, projected)]).await;
    let stored = &lake.glue.table("d", "by_k")["Parameters"];
    assert_eq!(
        (
            &stored["projection.enabled"],
            &stored["projection.k.type"],
            &stored["projection.k.range"]
        ),
        (&"true".into(), &"integer".into(), &"0,2".into())
    );
    let (success, error) = lake
        .job("glue", 3, &[(by_k, &projected.replace("range", "format"))])
        .await;
    assert!(
        !success
            && error.contains("step `by_k`")
            && error.contains("`projection.k.range` is missing; the type integer needs it"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_effects_and_problems_and_changes_nothing() {
    let lake = Lake::start().await;
    let file = lake.warehouse.path().join("job.yaml");
    let plan = async |edits: &[(&str, &str)]| {
        let mut job = JOB.replace("local", "glue").replace("PARTS", "static");
        edits
            .iter()
            .for_each(|(old, new)| job = job.replace(old, new));
        std::fs::write(&file, job).unwrap();
        lake.faisca(&["plan", file.to_str().unwrap()]).await
    };
    let (success, text) = plan(&[]).await;
    assert!(success, "{text}");
    assert!(
        text.contains("glue.d.numbers")
            && text.contains("new, 3 columns")
            && text.contains("step numbers"),
        "{text}"
    );
    assert_eq!(
        (lake.server.visible(""), lake.server.open_uploads()),
        (vec![], vec![])
    );
    let calls = lake.glue.take_calls();
    assert!(
        calls.keys().all(|action| action.starts_with("Get")),
        "{calls:?}"
    );
    lake.run_job("glue", 10, &[]).await;
    let before = lake.server.visible("");
    let (success, text) = plan(&[
        ("value AS Id", "CAST(value AS STRING) AS Id"),
        ("s3://lake/by_k/", "s3://nowhere/by_k/"),
    ])
    .await;
    assert!(
        !success && text.contains("id string instead of bigint") && text.contains("NoSuchBucket"),
        "{text}"
    );
    let (success, text) = plan(&[]).await;
    assert!(
        success && text.contains("replaces 1 file") && text.contains("columns as they are"),
        "{text}"
    );
    assert_eq!(lake.server.visible(""), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_others_become_tables_once_and_follow_what_changes() {
    let lake = Lake::start().await;
    let landing = lake.server.root.path().join("lake/landing");
    folders_become_tables(&lake, &landing).await;
    changed_folders_change_their_tables(&lake, &landing).await;
}

fn write(path: PathBuf, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Crawls the landing folder into the database `d` of Glue.
async fn crawl(lake: &Lake, arguments: &[&str]) -> (bool, String) {
    lake.faisca(
        &[
            &["crawl", "s3://lake/landing/", "--database", "d"],
            arguments,
        ]
        .concat(),
    )
    .await
}

async fn folders_become_tables(lake: &Lake, landing: &Path) {
    let write = |name: &str, bytes: &[u8]| write(landing.join(name), bytes);
    write(
        "Cidades 2020/a.csv",
        b"Id;Nome;Nota\n1;S\xe3o Paulo;3.5\n2;Rio;4.5\n",
    );
    write("vendas/uf=SP/a.csv", b"id,valor\n1,2.5\n");
    write("vendas/uf=RJ/a.csv", b"id,valor\n2,3.5\n");
    write("eventos/a.jsonl", b"{\"id\": 1, \"tipo\": \"x\"}\n");
    write("fotos/gato.png", b"png");
    let (success, text) = crawl(lake, &[]).await;
    assert!(
        success
            && text.contains("3 tables can be created")
            && text.contains("skipped landing/fotos/"),
        "{text}"
    );
    assert!(
        !lake
            .glue
            .take_calls()
            .keys()
            .any(|action| !action.starts_with("Get"))
    );
    assert!(crawl(lake, &["--apply"]).await.0);
    assert_eq!(
        lake.rows("SELECT id, nome, nota FROM glue.d.cidades_2020")
            .await,
        ["1|São Paulo|3.5", "2|Rio|4.5"]
    );
    assert_eq!(
        lake.rows("SELECT uf, sum(valor) FROM glue.d.vendas GROUP BY uf")
            .await,
        ["RJ|3.5", "SP|2.5"]
    );
    assert_eq!(lake.rows("SELECT tipo FROM glue.d.eventos").await, ["x"]);
    let (success, text) = crawl(lake, &[]).await;
    assert!(
        success && text.contains("the catalog is up to date"),
        "{text}"
    );
}

/// A new partition, a removed one and a new column are applied; another type is refused.
async fn changed_folders_change_their_tables(lake: &Lake, landing: &Path) {
    let write = |name: &str, bytes: &[u8]| write(landing.join(name), bytes);
    write("vendas/uf=MG/a.csv", b"id,valor\n3,4.5\n");
    std::fs::remove_dir_all(landing.join("vendas/uf=RJ")).unwrap();
    write(
        "eventos/b.jsonl",
        b"{\"id\": 2, \"tipo\": \"y\", \"cor\": \"azul\"}\n",
    );
    let (success, text) = crawl(lake, &["--apply"]).await;
    assert!(
        success && text.contains("1 new, 1 removed") && text.contains("new: cor string"),
        "{text}"
    );
    assert_eq!(
        lake.rows("SELECT uf, sum(valor) FROM glue.d.vendas GROUP BY uf")
            .await,
        ["MG|4.5", "SP|2.5"]
    );
    assert_eq!(
        lake.rows("SELECT max(cor) FROM glue.d.eventos").await,
        ["azul"]
    );
    std::fs::remove_file(landing.join("eventos/b.jsonl")).unwrap();
    write("eventos/a.jsonl", b"{\"id\": \"one\", \"tipo\": \"x\"}\n");
    let (success, text) = crawl(lake, &["--apply"]).await;
    assert!(
        !success
            && text.contains("table `eventos`")
            && text.contains("id string instead of bigint"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_partitions_take_a_hundred_calls() {
    const PARTITIONS: usize = 10_000;
    let lake = Lake::start().await;
    let folder = lake.server.root.path().join("lake/many");
    for day in 0..PARTITIONS {
        let partition = folder.join(format!("day={day}"));
        std::fs::create_dir_all(&partition).unwrap();
        std::fs::write(partition.join("a.csv"), format!("id,v\n{day},1\n")).unwrap();
    }
    let (success, text) = lake
        .faisca(&["crawl", "s3://lake/many/", "--database", "d", "--apply"])
        .await;
    assert!(success && text.contains("10000 new"), "{text}");
    let calls = lake.glue.take_calls();
    assert_eq!(calls["BatchCreatePartition"], PARTITIONS / 100);
    assert!(
        calls.values().sum::<usize>() < PARTITIONS / 100 + 10,
        "{calls:?}"
    );
    let (success, text) = lake
        .faisca(&["crawl", "s3://lake/many/", "--database", "d"])
        .await;
    assert!(success && text.contains("up to date"), "{text}");
    assert_eq!(lake.glue.take_calls()["GetPartitions"], PARTITIONS / 1000);
    assert_eq!(
        lake.rows("SELECT count(*), sum(id) FROM glue.d.many WHERE day = '7777'")
            .await,
        ["1|7777"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_by_name_never_see_a_mix_while_a_table_is_overwritten() {
    const CHECKS: usize = 1000;
    let (server, warehouse) = (S3Server::start().await, scratch("lake"));
    let session = session(&server, warehouse.path()).await;
    let catalog = faisca_planner::manifest::CatalogTable {
        keep_old_seconds: Some(3600),
        ..local_table("d", "t")
    };
    let write = |n: u64| {
        let sql = format!(
            "SELECT value AS a, {n} AS n FROM generate_series(1, {})",
            1000 * n
        );
        let (session, catalog) = (session.clone(), catalog.clone());
        async move {
            session
                .sql(&sql)
                .await
                .unwrap()
                .write()
                .mode(SaveMode::Overwrite)
                .catalog(catalog)
                .parquet("s3://lake/t")
                .await
                .unwrap()
        }
    };
    write(1).await;
    let over = AtomicBool::new(false);
    let writer = async {
        for n in 2..8 {
            write(n).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    let reader = async {
        let mut checks = 0;
        while !over.load(Ordering::SeqCst) || checks < CHECKS {
            let rows_read = query(
                &session,
                "SELECT count(*) = 1000 * min(n), min(n) = max(n) FROM local.d.t",
            )
            .await;
            assert_eq!(rows_read, ["true|true"]);
            checks += 1;
        }
    };
    futures::future::join(writer, reader).await;
    session.stop().await;
}

fn local_table(database: &str, table: &str) -> faisca_planner::manifest::CatalogTable {
    let json = format!(
        r#"{{"type": "local", "database": "{database}", "table": "{table}", "createDatabase": true}}"#
    );
    serde_json::from_str(&json).unwrap()
}
