#!/usr/bin/env bash
# Starts a real Kubernetes on a plain machine, from package registries only. Requires root, Debian and Go 1.26.
# up.sh build | cp | apiserver | node | images | all
#   build : build k8s+etcd+coredns from the Go module proxy, install Debian's containerd/runc/CNI
#   cp    : start etcd + apiserver + controller-manager + scheduler
#   node  : start containerd + kubelet + kube-proxy + CoreDNS (real pods)
# The cluster runs in its own network namespace without a route to the outside, so no packet leaves the machine.
# A relay through a Unix socket offers its API server on the host at https://127.0.0.1:6443.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); K=${FAISCA_CLUSTER:-$HOME/.cache/faisca/cluster}; KV=v1.36.3; SV=v0.36.3; COREDNS=v1.15.0
BIN=$K/bin; RUN=$K/run; PKI=$K/run/pki; LOG=$K/run/log; PIDS=$K/run/pids
NS=k8s; NODEIP=10.89.0.1; PODCIDR=10.88.0.0/16; SVCCIDR=10.96.0.0/16; DNSIP=10.96.0.10; PORT=${PORT:-6443}
export KUBECONFIG=$RUN/admin.kubeconfig
say(){ echo "[$(date +%T)] $*"; }

deps(){
  local p=(containerd runc containernetworking-plugins busybox-static iptables socat conntrack iproute2 ipset openssl kmod)
  dpkg -s "${p[@]}" >/dev/null 2>&1 && return
  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${p[@]}" >/dev/null
}

build(){
  [ -f $K/built-$KV ] && { images; return; }
  mkdir -p $BIN $K/src $K/src-coredns $K/images
  export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false"
  local P=k8s.io/component-base/version
  local LD="-s -w -X $P.gitVersion=$KV -X $P.gitMajor=1 -X $P.gitMinor=36 -X $P.gitTreeState=clean -X $P.gitCommit=0000000000000000000000000000000000000000 -X $P.buildDate=2026-01-01T00:00:00Z"
  ( cd $K/src
    if [ ! -f go.mod ]; then
      ( mkdir -p $K/probe; cd $K/probe; [ -f go.mod ] || go mod init probe 2>/dev/null; go mod download k8s.io/kubernetes@$KV )
      local M; M=$(go env GOMODCACHE)/k8s.io/kubernetes@$KV
      # kubernetes' own go.mod, with each ./staging replace turned into the published staging module
      sed -e 's#^module .*#module k8sbuild#' -e "s#=> ./staging/src/\(k8s.io/[^ ]*\)#=> \1 $SV#" $M/go.mod > go.mod
      cp $M/go.sum go.sum; chmod u+w go.mod go.sum
      go mod edit -require=k8s.io/kubernetes@$KV
      for t in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do go mod edit -tool=k8s.io/kubernetes/cmd/$t; done
      go mod edit -tool=go.etcd.io/etcd/server/v3
    fi
    nice -n 10 go build -trimpath -ldflags "$LD" -o $BIN/ k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl,kubelet,kube-proxy}
    nice -n 10 go build -trimpath -ldflags "-s -w" -o $BIN/etcd go.etcd.io/etcd/server/v3 )
  ( cd $K/src-coredns
    cat > main.go <<'G'
// A CoreDNS with only the plugins a small cluster needs (the full build pulls in the AWS/Azure/GCP/Datadog SDKs).
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
)

func init() {
	dnsserver.Directives = []string{"health", "ready", "log", "errors", "cache", "kubernetes"}
}

func main() { coremain.Run() }
G
    if [ ! -f go.mod ]; then go mod init corednsbuild 2>/dev/null; go mod edit -require=github.com/coredns/coredns@$COREDNS; fi
    nice -n 10 go build -trimpath -ldflags "-s -w" -o $BIN/coredns . )
  [ -x $BIN/pause ] || gcc -O2 -static -s -o $BIN/pause -xc - <<'C'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void dn(int s){ exit(0); }
static void rp(int s){ while (waitpid(-1, 0, WNOHANG) > 0); }
int main(){ signal(SIGINT,dn); signal(SIGTERM,dn); signal(SIGCHLD,rp); for(;;) pause(); }
C
  images
  touch $K/built-$KV
}

images(){
  local r
  r=$(mktemp -d); cp $BIN/pause $r/pause
  python3 $HERE/../../image/pack.py $K/images/pause.tar local.test/pause:1 $r --entrypoint /pause >/dev/null; rm -rf $r
  r=$(mktemp -d); mkdir -p $r/bin $r/tmp $r/etc; chmod 1777 $r/tmp; cp /bin/busybox $r/bin/busybox
  for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox $r/bin/$a; done
  echo 'root:x:0:0:root:/:/bin/sh' > $r/etc/passwd
  python3 $HERE/../../image/pack.py $K/images/busybox.tar local.test/busybox:1 $r --entrypoint /bin/sh >/dev/null; rm -rf $r
  r=$(mktemp -d); cp $BIN/coredns $r/coredns
  python3 $HERE/../../image/pack.py $K/images/coredns.tar local.test/coredns:1 $r --entrypoint /coredns >/dev/null; rm -rf $r
}

# ---- process helpers -------------------------------------------------------------------------------
bg(){ # bg NAME cmd... : start once, remember the pid
  local n=$1; shift
  if [ -f $PIDS/$n ] && kill -0 $(cat $PIDS/$n) 2>/dev/null; then return; fi
  setsid "$@" >$LOG/$n.log 2>&1 </dev/null & echo $! > $PIDS/$n
}
inns(){ nsenter --net=/run/netns/$NS "$@"; }   # not `ip netns exec`: that hides /sys/fs/cgroup
put(){ cat > $1.new; if cmp -s $1.new $1; then rm $1.new; else mv $1.new $1; fi; }   # writes only changed files: kube-proxy exits when its file is rewritten
until_ok(){ local t=$1; shift; local i; for ((i=0;i<t*5;i++)); do "$@" >/dev/null 2>&1 && return 0; sleep .2; done; echo "timeout: $*" >&2; return 1; }

netns(){
  [ -e /run/netns/$NS ] || ip netns add $NS
  inns ip link set lo up
  inns ip link show kube0 >/dev/null 2>&1 || { inns ip link add kube0 type bridge; inns ip addr add $NODEIP/24 dev kube0; inns ip link set kube0 up; inns ip route add $SVCCIDR dev kube0; }
  inns sysctl -qw net.ipv4.ip_forward=1
}

cert(){ # cert NAME SUBJECT [SAN] [CA]
  local n=$1 s=$2 san=${3:-} ca=${4:-ca}
  [ -f $PKI/$n.crt ] && return
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $PKI/$n.key -out $PKI/$n.csr -subj "$s" 2>/dev/null
  { echo "keyUsage=digitalSignature,keyEncipherment"; echo "extendedKeyUsage=serverAuth,clientAuth"; if [ -n "$san" ]; then echo "subjectAltName=$san"; fi; } > $PKI/$n.ext
  openssl x509 -req -in $PKI/$n.csr -CA $PKI/$ca.crt -CAkey $PKI/$ca.key -CAcreateserial -days 3650 -extfile $PKI/$n.ext -out $PKI/$n.crt 2>/dev/null
}
kcfg(){ # kcfg FILE CERTNAME SERVER
  cat > $1 <<Y
apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 $PKI/ca.crt)}}]
users: [{name: u, user: {client-certificate-data: $(base64 -w0 $PKI/$2.crt), client-key-data: $(base64 -w0 $PKI/$2.key)}}]
contexts: [{name: local, context: {cluster: local, user: u}}]
current-context: local
Y
  chmod 600 $1
}
pki(){
  mkdir -p $PKI
  local c; for c in ca front-proxy-ca; do [ -f $PKI/$c.crt ] || openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$c" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature -keyout $PKI/$c.key -out $PKI/$c.crt 2>/dev/null; done
  [ -f $PKI/sa.key ] || { openssl genrsa -out $PKI/sa.key 2048 2>/dev/null; openssl rsa -in $PKI/sa.key -pubout -out $PKI/sa.pub 2>/dev/null; }
  cert apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$NODEIP,IP:${SVCCIDR%.*.*}.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  cert admin /O=system:masters/CN=admin
  cert kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  cert kcm /CN=system:kube-controller-manager
  cert sched /CN=system:kube-scheduler
  cert proxy /CN=system:kube-proxy
  cert kubelet "/O=system:nodes/CN=system:node:node1" "IP:$NODEIP,IP:127.0.0.1,DNS:node1"
  cert front-proxy /CN=front-proxy-client "" front-proxy-ca
  kcfg $RUN/admin.kubeconfig admin https://127.0.0.1:$PORT
  local u; for u in kcm sched proxy kubelet; do kcfg $RUN/$u.kubeconfig $u https://127.0.0.1:6443; done
}

apiserver_up(){
  bg apiserver nsenter --net=/run/netns/$NS $BIN/kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address=$NODEIP \
     --service-cluster-ip-range=$SVCCIDR --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
     --client-ca-file=$PKI/ca.crt --tls-cert-file=$PKI/apiserver.crt --tls-private-key-file=$PKI/apiserver.key \
     --kubelet-client-certificate=$PKI/kubelet-client.crt --kubelet-client-key=$PKI/kubelet-client.key --kubelet-preferred-address-types=InternalIP \
     --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=$PKI/sa.pub --service-account-signing-key-file=$PKI/sa.key \
     --requestheader-client-ca-file=$PKI/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
     --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- --proxy-client-cert-file=$PKI/front-proxy.crt --proxy-client-key-file=$PKI/front-proxy.key
}

cp_up(){
  mkdir -p $RUN $LOG $PIDS; netns; pki
  # etcd listens on a loopback port inside the namespace; without fsync, because test data need not survive a crash
  bg etcd nsenter --net=/run/netns/$NS nice -n 5 $BIN/etcd --data-dir $RUN/etcd --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
     --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380
  apiserver_up
  # relay: host 127.0.0.1:$PORT -> unix socket -> 127.0.0.1:6443 in the namespace
  bg relay-in  nsenter --net=/run/netns/$NS socat UNIX-LISTEN:$RUN/api.sock,fork,unlink-early TCP:127.0.0.1:6443
  until_ok 10 test -S $RUN/api.sock
  bg relay-out socat TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:$RUN/api.sock
  until_ok 60 $BIN/kubectl get --raw /readyz
  bg kcm nsenter --net=/run/netns/$NS $BIN/kube-controller-manager --kubeconfig=$RUN/kcm.kubeconfig --authentication-kubeconfig=$RUN/kcm.kubeconfig --authorization-kubeconfig=$RUN/kcm.kubeconfig \
     --leader-elect=false --use-service-account-credentials=true --service-account-private-key-file=$PKI/sa.key --root-ca-file=$PKI/ca.crt \
     --cluster-signing-cert-file=$PKI/ca.crt --cluster-signing-key-file=$PKI/ca.key --allocate-node-cidrs=true --cluster-cidr=$PODCIDR --service-cluster-ip-range=$SVCCIDR --bind-address=127.0.0.1
  bg sched nsenter --net=/run/netns/$NS $BIN/kube-scheduler --kubeconfig=$RUN/sched.kubeconfig --authentication-kubeconfig=$RUN/sched.kubeconfig --authorization-kubeconfig=$RUN/sched.kubeconfig --leader-elect=false --bind-address=127.0.0.1
  until_ok 30 $BIN/kubectl -n default get serviceaccount default
  say "control plane ready: KUBECONFIG=$RUN/admin.kubeconfig ($($BIN/kubectl version -o yaml | grep gitVersion | sort -u | tr -d '\n'))"
}

node_up(){
  mkdir -p $RUN/cni $RUN/containerd $RUN/kubelet
  put $RUN/cni/10-bridge.conflist <<Y
{"cniVersion":"1.0.0","name":"podnet","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"$RUN/ipam","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
Y
  put $RUN/containerd.toml <<Y
version = 2
root = "$RUN/containerd/root"
state = "$RUN/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.zfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "$RUN/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$RUN/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local.test/pause:1"
  restrict_oom_score_adj = true   # this VM has no CAP_SYS_RESOURCE: lowering oom_score_adj gives EPERM and runc dies
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
Y
  put $RUN/kubelet.yaml <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix://$RUN/containerd.sock
clusterDNS: [$DNSIP]
clusterDomain: cluster.local
resolvConf: $RUN/resolv.conf
failSwapOn: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
evictionHard: {memory.available: 200Mi, nodefs.available: 2%, imagefs.available: 2%}
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 240h
podLogsDir: $RUN/podlogs
volumePluginDir: $RUN/volplugins
readOnlyPort: 0
Y
  : > $RUN/resolv.conf
  [ -f $RUN/sysctl.saved ] || sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops > $RUN/sysctl.saved
  bg containerd nsenter --net=/run/netns/$NS containerd -c $RUN/containerd.toml
  until_ok 20 ctr -a $RUN/containerd.sock version
  local i; for i in $K/images/*.tar; do ctr -a $RUN/containerd.sock -n k8s.io images import $i >/dev/null; done
  bg kubelet nsenter --net=/run/netns/$NS $BIN/kubelet --config=$RUN/kubelet.yaml --kubeconfig=$RUN/kubelet.kubeconfig --hostname-override=node1 --node-ip=$NODEIP \
     --root-dir=$RUN/kubelet --cert-dir=$RUN/kubelet/pki
  put $RUN/proxy.yaml <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: $RUN/proxy.kubeconfig}
clusterCIDR: $PODCIDR
hostnameOverride: node1
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
  bg proxy nsenter --net=/run/netns/$NS $BIN/kube-proxy --config=$RUN/proxy.yaml
  until_ok 90 $BIN/kubectl wait --for=condition=Ready node/node1 --timeout=1s
  $BIN/kubectl apply -f $HERE/coredns.yaml >/dev/null
  until_ok 90 $BIN/kubectl -n kube-system rollout status deploy/coredns --timeout=1s
  say "node ready"; $BIN/kubectl get nodes -o wide; $BIN/kubectl get pods -A -o wide
}

case "${1:-all}" in
  build) deps; build;; images) images;; cp) cp_up;; node) node_up;;
  apiserver) apiserver_up; until_ok 60 $BIN/kubectl get --raw /readyz;;
  all) deps; build; cp_up; node_up;;
  *) echo "usage: $0 build|cp|node|all" >&2; exit 2;;
esac
