#!/usr/bin/env bash
# run.sh [tests and flags of pytest]: tests the operator, its chart and its jobs on a real Kubernetes.
# With KUBECONFIG it uses that cluster, which needs the image repository $FAISCA_E2E_IMAGE and access to the lake
# $FAISCA_E2E_S3. Without it, it starts its own cluster, which requires root.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${FAISCA_TOOLS:-$HOME/.cache/faisca/tools}
export FAISCA_CLUSTER=${FAISCA_CLUSTER:-$HOME/.cache/faisca/cluster}
export FAISCA_TARGET=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
stop() {
  kill $(jobs -p) 2>/dev/null || true
  [ -n "${FAISCA_E2E_KEEP:-}" ] || [ -z "${own:-}" ] || k8s/e2e/cluster/down.sh --purge
  rm -rf "$work"
}
trap stop EXIT

[ -x "$tools/bin/versitygw" ] || GOBIN="$tools/bin" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
[ -x "$tools/bin/helm" ] || CGO_ENABLED=0 GOBIN="$tools/bin" go install helm.sh/helm/v3/cmd/helm@v3.22.0
[ -x "$tools/lake/bin/python" ] || python3 -m venv "$tools/lake"
"$tools/lake/bin/pip" install --quiet 'moto[server,glue]' lupa pyarrow pytest pyyaml 'kubernetes<36' uv

# Three versions of Airflow, each with the dependencies of its release date.
airflow() { # version of the provider, version of Airflow, release date, further requirements
  local venv=$tools/airflow-$1
  [ ! -e "$venv/installed" ] || return 0
  "$tools/lake/bin/uv" venv --quiet --clear --python '>=3.9,<3.12' "$venv"
  "$tools/lake/bin/uv" pip install --quiet --python "$venv/bin/python" --exclude-newer "$3" \
    "apache-airflow==$2" "apache-airflow-providers-cncf-kubernetes==$1" "${@:4}"
  touch "$venv/installed"
}
[ $# -gt 0 ] || set -- k8s/e2e
case " $* " in
*" k8s/e2e "* | *test_airflow*)
  airflow 4.4.0 2.6.3 2023-07-20
  airflow 7.14.0 2.8.1 2024-02-05 'flask-session<0.6'
  airflow 10.25.0 3.3.2 2026-11-20
  "$tools/lake/bin/uv" pip install --quiet --python "$tools/airflow-10.25.0/bin/python" --no-deps --reinstall k8s/airflow
  ;;
esac
export FAISCA_TOOLS=$tools

if [ -z "${KUBECONFIG:-}" ]; then
  own=1
  # Removes what an earlier run has left if it was killed.
  k8s/e2e/cluster/down.sh --purge
  mkdir -p "$FAISCA_CLUSTER/images"
  k8s/image/build.sh "$FAISCA_CLUSTER/images/faisca.tar" local.test/faisca:0.1.0
  # A user's own program on the job API.
  cargo build --release --example enem
  k8s/image/pack.sh "$FAISCA_TARGET/release/examples/enem" "$FAISCA_CLUSTER/images/enem.tar" local.test/enem:1
  k8s/e2e/cluster/up.sh all
  export KUBECONFIG=$FAISCA_CLUSTER/run/admin.kubeconfig
  # The lake's servers run in the cluster's network namespace, where pods can reach them.
  # `exec` replaces the background shell, so that the trap above stops the server itself.
  inside() { exec nsenter --net=/run/netns/k8s "$@"; }
  address=10.89.0.1
  mkdir -p "$work/s3/lake"
  cp -r examples/enem/data/landing "$work/s3/lake/"
  inside "$tools/bin/versitygw" --port $address:17070 --access lake --secret lake-secret posix "$work/s3" >"$work/s3.log" 2>&1 &
  inside "$tools/lake/bin/moto_server" -H $address -p 15055 >"$work/glue.log" 2>&1 &
  export FAISCA_E2E_S3=http://$address:17070 FAISCA_E2E_GLUE=http://$address:15055 FAISCA_E2E_BUCKET=$work/s3/lake
fi
export PATH="$FAISCA_CLUSTER/bin:$tools/bin:$FAISCA_TARGET/release:$PATH"
"$tools/lake/bin/pytest" -p no:cacheprovider -v --durations=10 "$@"
