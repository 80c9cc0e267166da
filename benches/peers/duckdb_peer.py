"""DuckDB as a peer: `duckdb_peer.py FOLDER TABLE…`."""

import os
import sys

import duckdb

from protocol import serve

folder, tables = sys.argv[1], sys.argv[2:]
database = duckdb.connect()
database.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
for table in tables:
    database.read_parquet(f"{folder}/{table}/*.parquet").create_view(table)
serve(lambda sql: len(database.execute(sql).fetchall()))
