"""Runs queries in DuckDB: `oracle.py FOLDER TABLE…`. A line of JSON in is a query, a line of JSON out its result.

A cell is null or a text whose first character says how to compare it: `n` exact number, `f` float, `t` anything else.
"""

import datetime
import json
import sys
import threading

import duckdb

MAX_ROWS = 20_000
QUERY_SECONDS = 20


def cell(value):
    match value:
        case None:
            return None
        case bool():
            return f"t{str(value).lower()}"
        case float():
            return f"f{value!r}"
        case bytes():
            return f"t{value.hex()}"
        case str():
            return f"t{value}"
        case datetime.datetime():
            return f"t{value.isoformat(timespec='microseconds')}"
        case datetime.date():
            return f"t{value.isoformat()}"
    return f"n{value:f}" if hasattr(value, "as_tuple") else f"n{value}"


def run(database, sql):
    alarm = threading.Timer(QUERY_SECONDS, database.interrupt)
    alarm.start()
    try:
        rows = database.execute(sql).fetchmany(MAX_ROWS + 1)
    except Exception as error:
        return {"refused": str(error)}
    finally:
        alarm.cancel()
    if len(rows) > MAX_ROWS:
        return {"refused": f"more than {MAX_ROWS} rows"}
    return {"rows": [[cell(value) for value in row] for row in rows]}


def main(folder, *tables):
    database = duckdb.connect()
    database.execute("SET threads = 1")
    # As in Spark.
    database.execute("SET default_null_order = 'nulls_first_on_asc_last_on_desc'")
    for table in tables:
        # Copied, because DuckDB itself skips Parquet row groups that hold NaN.
        database.execute(f"CREATE TABLE {table} AS FROM '{folder}/{table}/*.parquet'")
    for line in sys.stdin:
        print(json.dumps(run(database, json.loads(line))), flush=True)


main(*sys.argv[1:])
