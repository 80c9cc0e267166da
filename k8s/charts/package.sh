#!/usr/bin/env bash
# package.sh FOLDER URL: adds the chart to the chart repository in FOLDER, which is served at URL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
helm package "$here/faisca" --destination "$1"
merge=()
[ ! -e "$1/index.yaml" ] || merge=(--merge "$1/index.yaml")
helm repo index "$1" --url "$2" "${merge[@]}"
