"""DuckDB as a peer: `duckdb.py FOLDER TABLE…`, told a query a line as JSON, answers `seconds rows` a line."""

import json
import os
import sys
import time

sys.path.pop(0)  # This folder, where `duckdb` would be this file.
import duckdb  # noqa: E402

folder, tables = sys.argv[1], sys.argv[2:]
database = duckdb.connect()
database.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
for table in tables:
    database.read_parquet(f"{folder}/{table}/*.parquet").create_view(table)
for line in sys.stdin:
    started = time.perf_counter()
    try:
        rows = len(database.execute(json.loads(line)).fetchall())
        print(time.perf_counter() - started, rows, flush=True)
    except Exception as error:  # The suite tells it beside the query.
        print("error", str(error).replace("\n", " "), flush=True)
