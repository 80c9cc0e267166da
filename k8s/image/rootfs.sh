#!/usr/bin/env bash
# rootfs.sh BINARY FOLDER: creates an image's root file system: the binary, its libraries, certificates and a user.
set -euo pipefail
binary=$1 root=$2
mkdir -p "$root"/{usr/bin,etc/ssl/certs,tmp,dev}
cp "$binary" "$root/usr/bin/"
strip --strip-debug "$root/usr/bin/$(basename "$binary")"
# The loader and the libraries keep their paths; symbolic links are replaced by their targets.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'faisca:x:65532:65532::/tmp:/sbin/nologin' >"$root/etc/passwd"
echo 'faisca:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
# glibc loads its name-service modules at run time, so `ldd` does not list them.
for library in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
  path=$(ldconfig -p | grep -o "/[^ ]*/$library" | head -1 || true)
  [ -z "$path" ] || { mkdir -p "$root$(dirname "$path")" && cp -L "$path" "$root$path"; }
done
chmod 1777 "$root/tmp"
