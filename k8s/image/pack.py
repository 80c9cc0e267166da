#!/usr/bin/env python3
"""Packs a folder as an OCI image of one layer: what `docker build` makes, without a Docker engine.

pack.py OUT.tar REFERENCE FOLDER [--entrypoint a,b] [--user U] [--workdir W] [--env K=V] ...
`ctr images import OUT.tar` takes it. Same folder, same bytes.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile


def layer(folder):
    """The folder as a tar without owners and times."""

    def plain(entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(os.listdir(folder)):
            archive.add(os.path.join(folder, name), arcname=name, filter=plain)
    return buffer.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def described(kind, content, **more):
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
    asked = parser.parse_args()

    raw = layer(asked.folder)
    packed = gzip.compress(raw, asked.level, mtime=0)
    process = {"Env": ["PATH=/usr/bin:/bin", *asked.env], "WorkingDir": asked.workdir}
    if asked.entrypoint:
        process["Entrypoint"] = asked.entrypoint.split(",")
    if asked.user:
        process["User"] = asked.user
    machine = {"amd64": "amd64", "x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    platform = {"architecture": machine, "os": "linux"}
    config = json.dumps({**platform, "config": process, "rootfs": {"type": "layers", "diff_ids": [digest(raw)]}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", config),
        "layers": [described("layer.v1.tar+gzip", packed)],
    }
    manifest = json.dumps(manifest).encode()
    names = {"io.containerd.image.name": asked.reference, "org.opencontainers.image.ref.name": asked.reference.rsplit(":", 1)[1]}
    index = {"schemaVersion": 2, "manifests": [described("manifest.v1+json", manifest, annotations=names, platform=platform)]}
    index = {"mediaType": "application/vnd.oci.image.index.v1+json", **index}
    with tarfile.open(asked.out, "w") as archive:

        def put(name, content):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))

        put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        for blob in (packed, config, manifest):
            put("blobs/sha256/" + digest(blob).removeprefix("sha256:"), blob)
        put("index.json", json.dumps(index).encode())
    print(f"{asked.reference}: {len(packed) / 1e6:.1f} MB compressed, {len(raw) / 1e6:.1f} MB unpacked, in {asked.out}")


main()
