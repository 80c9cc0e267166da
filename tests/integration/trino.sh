#!/usr/bin/env bash
# Writes tables to Glue, and reads them by Trino: types, partition keys, modes, and reads during overwrites.
# Called by lake.sh with its servers of S3 and Glue; `just lake --trino`. The arguments are a folder for files and the port of Glue.
# Downloads 0.8 GB once. Needs Java 24 or newer: JAVA_HOME, or Temurin in /usr/lib/jvm.
set -euo pipefail
work=$1 glue_port=$2
version=476 checksum=cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f
shim_port=15056 trino_port=18081
tools=${FAISCA_TOOLS:-$HOME/.cache/faisca/tools}
server=$tools/trino/trino-server-$version
for home in "${JAVA_HOME:-}" /usr/lib/jvm/temurin-2[4-9]*; do
  if [ -x "$home/bin/java" ] && "$home/bin/java" -version 2>&1 | grep -qE 'version "(2[4-9]|[3-9][0-9])'; then java_home=$home; fi
done
[ -n "${java_home:-}" ] || { echo "Trino $version needs Java 24 or newer: set JAVA_HOME" >&2; exit 1; }
if [ ! -d "$server/plugin/hive" ]; then
  archive=$tools/trino-server-$version.tar.gz
  [ -f "$archive" ] || curl -fsSL -o "$archive" "https://repo1.maven.org/maven2/io/trino/trino-server/$version/trino-server-$version.tar.gz"
  echo "$checksum  $archive" | sha256sum --check --quiet
  mkdir -p "$tools/trino"
  tar xzf "$archive" -C "$tools/trino"
  find "$server/plugin" -mindepth 1 -maxdepth 1 ! -name hive -exec rm -r {} +
fi
etc=$work/trino/etc
mkdir -p "$etc/catalog"
cat >"$etc/node.properties" <<NODE
node.environment=test
node.data-dir=$work/trino/data
node.internal-address=127.0.0.1
node.bind-ip=127.0.0.1
NODE
cat >"$etc/jvm.config" <<JVM
-Xmx1536m
-XX:+ExitOnOutOfMemoryError
-Djdk.attach.allowAttachSelf=true
--enable-native-access=ALL-UNNAMED
--add-modules=jdk.incubator.vector
JVM
cat >"$etc/config.properties" <<CONFIG
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$trino_port
discovery.uri=http://127.0.0.1:$trino_port
query.max-memory-per-node=400MB
CONFIG
cat >"$etc/catalog/lake.properties" <<CATALOG
connector.name=hive
hive.metastore=glue
hive.metastore.glue.region=$AWS_REGION
hive.metastore.glue.endpoint-url=http://127.0.0.1:$shim_port
hive.metastore.glue.aws-access-key=$AWS_ACCESS_KEY_ID
hive.metastore.glue.aws-secret-key=$AWS_SECRET_ACCESS_KEY
hive.timestamp-precision=MICROSECONDS
fs.native-s3.enabled=true
s3.endpoint=$AWS_ENDPOINT_URL_S3
s3.region=$AWS_REGION
s3.path-style-access=true
s3.aws-access-key=$AWS_ACCESS_KEY_ID
s3.aws-secret-key=$AWS_SECRET_ACCESS_KEY
CATALOG
trap 'kill $(jobs -p) 2>/dev/null' EXIT
"$tools/lake/bin/python" tests/integration/glue_shim.py "$shim_port" "$glue_port" &
JAVA_HOME=$java_home nice -n 5 "$server/bin/launcher" run --etc-dir "$etc" >"$work/trino.log" 2>&1 &
export AWS_ENDPOINT_URL_GLUE=http://127.0.0.1:$shim_port FAISCA_TRINO=http://127.0.0.1:$trino_port
"$tools/lake/bin/python" tests/integration/trino.py "$work"
