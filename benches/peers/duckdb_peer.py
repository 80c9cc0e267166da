"""DuckDB as a peer: `duckdb_peer.py FOLDER TABLE…`."""

import os
import sys

import duckdb

from protocol import serve

folder, tables = sys.argv[1], sys.argv[2:]
database = duckdb.connect()
database.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
# As in Spark: with a LIMIT, the place of nulls decides which rows there are.
database.execute("SET default_null_order = 'nulls_first_on_asc_last_on_desc'")
for table in tables:
    database.read_parquet(f"{folder}/{table}/*.parquet").create_view(table)
serve(lambda sql: len(database.execute(sql).fetchall()), in_process=True)
