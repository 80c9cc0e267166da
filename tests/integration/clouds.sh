#!/usr/bin/env bash
# Runs the pipeline on the protocols of Google Cloud Storage and Azure Blob Storage, on servers of other projects:
# fake-gcs-server and Azurite. PyArrow reads each table and compares it with a run on local files.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${FAISCA_TOOLS:-$HOME/.cache/faisca/tools}
target=${CARGO_TARGET_DIR:-target}
[ -x "$tools/bin/fake-gcs-server" ] || GOBIN="$tools/bin" go install github.com/fsouza/fake-gcs-server@v1.56.1
[ -x "$tools/azurite/node_modules/.bin/azurite-blob" ] || npm install --silent --no-fund --no-audit --prefix "$tools/azurite" azurite@3.37.0
python3 -m venv "$tools/lake" && "$tools/lake/bin/pip" install --quiet -r tests/integration/requirements.txt
cargo build --release --workspace
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
mkdir -p "$work/azure" "$work/local"
cp -r examples/enem/data/landing "$work/local/"
"$tools/bin/fake-gcs-server" -scheme http -host 127.0.0.1 -port 14443 -public-host 127.0.0.1:14443 \
  -backend memory >"$work/gcs.log" 2>&1 &
"$tools/azurite/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort 10000 --location "$work/azure" \
  --skipApiVersionCheck --silent >"$work/azure.log" 2>&1 &
for port in 14443 10000; do timeout 30 bash -c "until (echo >/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.1; done"; done
echo '{"gcs_base_url": "http://127.0.0.1:14443", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}' >"$work/gcs.json"
export GOOGLE_SERVICE_ACCOUNT=$work/gcs.json AZURE_STORAGE_USE_EMULATOR=true AZURE_ALLOW_HTTP=true
"$target/release/faisca" run examples/enem/enem.yaml --set data="$work/local" >/dev/null
"$tools/lake/bin/python" tests/integration/clouds.py upload "$work/local" az://enem
"$tools/lake/bin/python" tests/integration/clouds.py upload "$work/local" gs://enem
# Twice: the second run overwrites.
for executors in 0 2; do
  "$target/release/faisca" run examples/enem/enem.yaml --set data=az://enem --executors "$executors"
  "$tools/lake/bin/python" tests/integration/clouds.py compare "$work/local" az://enem
done
# fake-gcs-server has no multipart uploads, so the pipeline only reads from it.
sed 's#${data}/landing#gs://enem/landing#' examples/enem/enem.yaml >"$work/gcs.yaml"
"$target/release/faisca" run "$work/gcs.yaml" --set data="$work/read" --executors 2
"$tools/lake/bin/python" tests/integration/clouds.py compare "$work/local" "file://$work/read"
