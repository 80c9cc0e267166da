#!/usr/bin/env bash
# build.sh OUT.tar [REFERENCE]: the image of this tree as an OCI archive, without a Docker engine.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1 reference=${2:-faisca:0.1.0}
cargo build --release --workspace
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
k8s/image/rootfs.sh "${CARGO_TARGET_DIR:-target}/release/faisca" "$root"
python3 k8s/image/pack.py "$out" "$reference" "$root" --entrypoint /usr/bin/faisca --user 65532:65532 --workdir /tmp \
  --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
