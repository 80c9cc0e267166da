#!/usr/bin/env bash
# Runs the pipeline from s3://enem/landing to Glue tables on servers of other projects: versitygw for S3, moto for Glue.
# PyArrow and awswrangler then read each table from the location that Glue returns; both are compared with a run on local files.
# With --trino, Trino reads other tables instead: see trino.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${FAISCA_TOOLS:-$HOME/.cache/faisca/tools}
target=${CARGO_TARGET_DIR:-target}
[ -x "$tools/bin/versitygw" ] || GOBIN="$tools/bin" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
python3 -m venv "$tools/lake" && "$tools/lake/bin/pip" install --quiet -r tests/integration/requirements.txt
cargo build --release --workspace
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
export AWS_ACCESS_KEY_ID=lake AWS_SECRET_ACCESS_KEY=lake-secret AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_ENDPOINT_URL_S3=http://127.0.0.1:17070 AWS_ENDPOINT_URL_GLUE=http://127.0.0.1:15055
mkdir -p "$work/s3/enem" "$work/local"
cp -r examples/enem/data/landing "$work/s3/enem/"
cp -r examples/enem/data/landing "$work/local/"
"$tools/bin/versitygw" --port 127.0.0.1:17070 --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" posix "$work/s3" >"$work/s3.log" 2>&1 &
"$tools/lake/bin/moto_server" -H 127.0.0.1 -p 15055 >"$work/glue.log" 2>&1 &
for port in 17070 15055; do timeout 30 bash -c "until (echo >/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.1; done"; done
if [ "${1:-}" = --trino ]; then
  FAISCA_BINARY=$(realpath "$target/release/faisca") tests/integration/trino.sh "$work" 15055
  exit
fi
sed -E 's#data: examples/enem/data#data: s3://enem#; s#(write: \{.*mode: overwrite)\}#\1, catalog: {type: glue, database: enem, createDatabase: true}}#' \
  examples/enem/enem.yaml >"$work/lake.yaml"
"$target/release/faisca" run examples/enem/enem.yaml --set data="$work/local" >/dev/null
# Twice: the second run overwrites, and switches every table to new files.
for executors in 0 2; do
  "$target/release/faisca" run "$work/lake.yaml" --executors "$executors"
  "$tools/lake/bin/python" tests/integration/lake.py "$work/local" "$work/tables"
done
# Optional, because it downloads a gigabyte: a Python with pyspark 4, and the jars of hadoop-aws, comma-separated.
if [ -n "${FAISCA_SPARK_PYTHON:-}" ]; then
  "$FAISCA_SPARK_PYTHON" tests/integration/lake_spark.py "$work/local" "$work/tables" "$FAISCA_SPARK_JARS"
fi
