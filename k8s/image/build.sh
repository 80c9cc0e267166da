#!/usr/bin/env bash
# build.sh OUT.tar [REFERENCE]: builds the image of this source tree as an OCI archive, without a Docker engine.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --workspace
k8s/image/pack.sh "${CARGO_TARGET_DIR:-target}/release/faisca" "$1" "${2:-faisca:0.1.0}"
