#!/usr/bin/env bash
# others.sh FOLDER: reads the Parquet, CSV and JSON files of others below a folder, and compares them with PyArrow.
set -euo pipefail
folder=$(realpath "${1:?the folder of files to read}")
cd "$(dirname "$0")/../.."
tools=${FAISCA_TOOLS:-$HOME/.cache/faisca/tools}
python3 -m venv "$tools/lake" && "$tools/lake/bin/pip" install --quiet -r tests/integration/requirements.txt
cargo build --release
"$tools/lake/bin/python" tests/integration/others.py "$folder" "${CARGO_TARGET_DIR:-target}/release/faisca"
