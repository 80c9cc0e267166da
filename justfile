# Short names for the project's commands. `just --list` shows them. The checks are steps of `.ci/run`, which CI runs whole.

default: test

# All tests: unit, simulation, end to end.
test:
    .ci/run tests

# House rules, formatting, lints, documentation.
check:
    .ci/run house format lints documentation

# Everything that CI runs.
gate:
    .ci/run

# Sizes of functions and files.
sizes:
    .ci/sizes

# Licenses, bans, sources and the advisory database. Needs cargo-deny: `cargo install cargo-deny`.
deny:
    cargo deny check

# Which folders of the driver import which; fails on an import that points up. `just arrows --files` lists files.
arrows *ARGS:
    .ci/arrows {{ARGS}}

# Measurements: `just bench suite --scale 10`, `just bench --help`.
bench *ARGS:
    cargo run --release -p faisca-benches -- {{ARGS}}

# The pipeline on a real S3 server and a real Glue server, compared with local files by PyArrow. Needs Go and Python.
# `just lake --trino`: types, keys and modes of tables, read by Trino. Needs Java 24, and 0.8 GB once.
lake *ARGS:
    tests/integration/lake.sh {{ARGS}}

# The same pipeline on servers of Google's and Azure's protocols. Needs Go, Node and Python.
clouds:
    tests/integration/clouds.sh

# Files of others: counts and values of each Parquet, CSV and JSON file below a folder, compared with PyArrow. Needs Python.
others FOLDER:
    tests/integration/others.sh {{FOLDER}}

# Statements with the rows that Spark returned: totals, and causes of errors by their number. Needs Python.
# `just spark-suite SUITE.json --data FOLDER --out FILE.jsonl`; `just spark-suite --help`.
spark-suite *ARGS:
    cargo build --release
    python3 tests/integration/spark_suite.py {{ARGS}} --binary "${CARGO_TARGET_DIR:-target}/release/faisca"

# The operator and its jobs on a real Kubernetes, its own or that of KUBECONFIG. Needs root, Debian, Go and Python.
cluster *ARGS:
    k8s/e2e/run.sh {{ARGS}}

# The container image as an OCI archive, without a Docker engine.
image OUT="out/faisca.tar":
    k8s/image/build.sh {{OUT}}

# A million simulated schedules, 200 real kills, 100,000 generated queries against DataFusion and as many against DuckDB.
nightly:
    FAISCA_SIMULATIONS=1000000 FAISCA_KILLS=200 FAISCA_GENERATED=100000 \
        cargo test --release --workspace -- simulat random_kills generated

# Approve new plans of TPC-H, and the chart's resource definitions, after reading the difference.
approve:
    FAISCA_APPROVE=1 cargo test --release --workspace -- plans_are the_chart_has
