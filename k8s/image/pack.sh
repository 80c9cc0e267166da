#!/usr/bin/env bash
# pack.sh BINARY OUT.tar REFERENCE: packs a binary and its libraries as an OCI archive, without a Docker engine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$here/rootfs.sh" "$1" "$root"
python3 "$here/pack.py" "$2" "$3" "$root" --entrypoint "/usr/bin/$(basename "$1")" --user 65532:65532 --workdir /tmp \
  --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
