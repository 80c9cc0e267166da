#!/usr/bin/env bash
# down.sh [--purge]: stops the processes of up.sh by their recorded PIDs. --purge also deletes state (etcd data, images, certificates).
set -u
K=${FAISCA_CLUSTER:-$HOME/.cache/faisca/cluster}; RUN=$K/run; PIDS=$RUN/pids; NS=k8s
stop(){ local n=$1 p; [ -f $PIDS/$n ] || return 0; p=$(cat $PIDS/$n); kill $p 2>/dev/null
  for _ in $(seq 50); do kill -0 $p 2>/dev/null || break; sleep .1; done; kill -9 $p 2>/dev/null; rm -f $PIDS/$n; }
stop kubelet; stop proxy
if [ -S $RUN/containerd.sock ] && [ -f $PIDS/containerd ]; then   # stops the pods: they are children of shims, not of containerd
  C="ctr -a $RUN/containerd.sock -n k8s.io"
  for t in $($C task ls -q); do $C task kill -s KILL -a $t >/dev/null 2>&1; done; sleep 1
  for t in $($C task ls -q); do $C task rm -f $t >/dev/null 2>&1; done
  for c in $($C c ls -q); do $C c rm $c >/dev/null 2>&1; done
fi
# stops only the shims that were started with this cluster's containerd socket
for p in $(pgrep -f "containerd-shim-runc-v2 .*$RUN/containerd.sock"); do kill $p 2>/dev/null; done
stop containerd; stop sched; stop kcm; stop relay-out; stop relay-in; stop apiserver; stop etcd
awk -v r="$RUN/" 'index($2,r)==1{print $2}' /proc/mounts | sort -r | while read -r m; do umount "$m" 2>/dev/null || umount -l "$m"; done
for n in $(ls /run/netns 2>/dev/null | grep '^cni-'); do ip netns del $n 2>/dev/null; done
[ -e /run/netns/$NS ] && ip netns del $NS
for c in /sys/fs/cgroup/*/kubepods; do [ -d $c ] && find $c -depth -type d -exec rmdir {} \; 2>/dev/null; done
[ -f $RUN/sysctl.saved ] && { sed 's/ = /=/' $RUN/sysctl.saved | xargs sysctl -qw; rm $RUN/sysctl.saved; }
rm -rf $RUN/ipam
[ "${1:-}" = --purge ] && rm -rf $RUN
exit 0
