"""Brings the landing folder to a cloud's server; compares every table on a cloud's server with a folder of this machine."""

import os
import sys

import pyarrow.dataset as ds
import pyarrow.fs as fs

TABLES = [
    "processing/enem", "processing/enade2017", "processing/edsup2019/aluno", "processing/edsup2019/docente",
    "processing/edsup2019/curso", "processing/intermediarias/uf_idade", "processing/intermediarias/uf_notas",
    "processing/intermediarias/uf_sexo", "consumer/enem_uf", "consumer/enem_anon",
]
# Azurite's own account, the same everywhere.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def store(scheme):
    if scheme == "file":
        return fs.LocalFileSystem()
    if scheme == "gs":
        return fs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override="127.0.0.1:14443", project_id="faisca")
    return fs.AzureFileSystem("devstoreaccount1", account_key=KEY, blob_storage_authority="127.0.0.1:10000",
                              dfs_storage_authority="127.0.0.1:10000", blob_storage_scheme="http", dfs_storage_scheme="http")


def rows(table):
    """Rows as text in any order; floats to six digits, since their sums depend on the order."""
    text = lambda value: f"{value:.6e}" if isinstance(value, float) else str(value)
    return sorted(tuple(map(text, row.values())) for row in table.to_pylist())


def upload(local, lake):
    scheme, bucket = lake.split("://")
    target = store(scheme)
    target.create_dir(bucket)
    landing = os.path.join(local, "landing")
    for folder, _, names in os.walk(landing):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as source, target.open_output_stream(f"{bucket}/{os.path.relpath(path, local)}") as written:
                written.write(source.read())


def compare(local, lake):
    scheme, bucket = lake.split("://")
    for table in TABLES:
        found = ds.dataset(f"{bucket}/{table}", filesystem=store(scheme)).to_table()
        expected = ds.dataset(os.path.join(local, table)).to_table()
        assert rows(found) == rows(expected), f"{table} differs"
        print(f"{lake}/{table}: {found.num_rows} rows, equal by PyArrow")


{"upload": upload, "compare": compare}[sys.argv[1]](*sys.argv[2:])
