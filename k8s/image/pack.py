#!/usr/bin/env python3
"""Packs a folder as an OCI image with one layer, without a Docker engine.

pack.py OUT.tar REFERENCE FOLDER [--entrypoint a,b] [--user U] [--workdir W] [--env K=V] ...
Import the archive with `ctr images import OUT.tar`. The same folder always gives the same bytes.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile


def layer(folder):
    """Returns the folder as a tar archive without owners and times, so that it is reproducible."""

    def without_owner_and_time(entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(os.listdir(folder)):
            archive.add(os.path.join(folder, name), arcname=name, filter=without_owner_and_time)
    return buffer.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(kind, content, **more):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(content), "size": len(content), **more}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("reference")
    parser.add_argument("folder")
    parser.add_argument("--entrypoint", default="")
    parser.add_argument("--user", default="")
    parser.add_argument("--workdir", default="/")
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--level", type=int, default=6)
    arguments = parser.parse_args()

    unpacked = layer(arguments.folder)
    packed = gzip.compress(unpacked, arguments.level, mtime=0)
    container = {"Env": ["PATH=/usr/bin:/bin", *arguments.env], "WorkingDir": arguments.workdir}
    if arguments.entrypoint:
        container["Entrypoint"] = arguments.entrypoint.split(",")
    if arguments.user:
        container["User"] = arguments.user
    machine = {"amd64": "amd64", "x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    platform = {"architecture": machine, "os": "linux"}
    config = json.dumps({**platform, "config": container, "rootfs": {"type": "layers", "diff_ids": [digest(unpacked)]}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar+gzip", packed)],
    }
    manifest = json.dumps(manifest).encode()
    names = {"io.containerd.image.name": arguments.reference, "org.opencontainers.image.ref.name": arguments.reference.rsplit(":", 1)[1]}
    index = {"schemaVersion": 2, "manifests": [descriptor("manifest.v1+json", manifest, annotations=names, platform=platform)]}
    index = {"mediaType": "application/vnd.oci.image.index.v1+json", **index}
    with tarfile.open(arguments.out, "w") as archive:

        def add_file(name, content):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))

        add_file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        for blob in (packed, config, manifest):
            add_file("blobs/sha256/" + digest(blob).removeprefix("sha256:"), blob)
        add_file("index.json", json.dumps(index).encode())
    print(f"{arguments.reference}: {len(packed) / 1e6:.1f} MB compressed, {len(unpacked) / 1e6:.1f} MB unpacked, in {arguments.out}")


main()
