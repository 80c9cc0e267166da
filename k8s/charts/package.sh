#!/usr/bin/env bash
# package.sh FOLDER URL: the chart as a chart repository, ready to be served at URL. What FOLDER has already stays in its index.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
helm package "$here/faisca" --destination "$1"
merge=()
[ ! -e "$1/index.yaml" ] || merge=(--merge "$1/index.yaml")
helm repo index "$1" --url "$2" "${merge[@]}"
