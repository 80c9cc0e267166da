#!/usr/bin/env bash
# Measures against an S3 server (versitygw) on this machine: benches/lake.sh [--scale 10] [--runs 2] [--parts read,write,exchange]
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${FAISCA_TOOLS:-$HOME/.cache/faisca/tools}
data=${FAISCA_BENCH_DATA:-target/bench}
[ -x "$tools/bin/versitygw" ] || GOBIN="$tools/bin" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
scale=1
for ((i = 1; i < $#; i++)); do [ "${!i}" = --scale ] && { next=$((i + 1)); scale=${!next}; }; done
cargo build --release --workspace
target=${CARGO_TARGET_DIR:-target}
[ -e "$data/tpch-$scale/done" ] || "$target/release/faisca" generate tpch --scale "$scale" --out "$data/tpch-$scale"
touch "$data/tpch-$scale/done"
work=$(mktemp -d -p "$data")
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret AWS_REGION=us-east-1
export AWS_ENDPOINT_URL=http://127.0.0.1:17071 AWS_ENDPOINT_URL_S3=http://127.0.0.1:17071 AWS_ALLOW_HTTP=true
mkdir -p "$work/s3/bench"
cp -rl "$data/tpch-$scale" "$work/s3/bench/tpch"
"$tools/bin/versitygw" --port 127.0.0.1:17071 --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" posix "$work/s3" >"$work/s3.log" 2>&1 &
timeout 30 bash -c "until (echo >/dev/tcp/127.0.0.1/17071) 2>/dev/null; do sleep 0.1; done"
"$target/release/faisca-benches" --data "$data" lake "$@"
