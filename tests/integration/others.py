"""Reads every Parquet, CSV and JSON file below a folder by `faisca sql` and compares rows and values with PyArrow: `others.py FOLDER FAISCA`.

A file fails if the command panics, exceeds its time, ends by a signal or with 3 or 4, or if its rows differ from PyArrow's.
A file that either refuses is counted and listed: readers may differ in what they accept.
"""

import collections
import datetime
import decimal
import os
import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.json
import pyarrow.parquet

SECONDS = 60
FORMATS = {".parquet": "PARQUET", ".csv": "CSV", ".json": "JSON", ".ndjson": "JSON", ".jsonl": "JSON"}
ALLOWED_EXITS = (0, 2)
MAX_ROWS = 200_000


def text(value):
    """A value in words that do not depend on its type: numbers to twelve digits, instants in UTC, nested values by parts."""
    match value:
        case None | "":
            # A CSV does not keep the two apart.
            return ""
        case bool():
            return str(value).lower()
        case int() | float() | decimal.Decimal():
            return f"{float(value):.12g}"
        case bytes():
            return value.hex()
        case datetime.datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
            return aware.astimezone(datetime.timezone.utc).isoformat()
        case dict():
            return "{" + ",".join(f"{key.lower()}:{text(part)}" for key, part in value.items() if part is not None) + "}"
        case list() | tuple():
            return "[" + ",".join(map(text, value)) + "]"
        case datetime.date():
            return text(datetime.datetime(value.year, value.month, value.day))
        case str():
            return text_of_string(value)
    return str(value)


def text_of_string(value):
    """Readers infer other types for text: what looks like a number, a date or a truth is compared as one."""
    lowered = value.strip().lower()
    if lowered in ("true", "false"):
        return lowered
    for parse in (float, datetime.datetime.fromisoformat):
        try:
            return text(parse(value))
        except ValueError:
            pass
    return value


def rows(table):
    """Rows as tuples in any order. Times of nanoseconds are cut to microseconds, which Python has."""
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        columns.append([text(value) for value in column.to_pylist()])
    return collections.Counter(zip(*columns)) if columns else collections.Counter()


def read_by_pyarrow(path, kind):
    if kind == "PARQUET":
        return pa.parquet.ParquetFile(path).read()
    if kind == "CSV":
        # As ours: only an empty value is null.
        nulls = pa.csv.ConvertOptions(null_values=[""], strings_can_be_null=True)
        return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=nulls)
    return pa.json.read_json(path)


def read_by_faisca(faisca, path, kind, out):
    """Exit code, messages and rows of the copy that the command writes as Parquet."""
    location = path.replace("'", "''")
    sql = f"CREATE EXTERNAL TABLE t STORED AS {kind} LOCATION '{location}'; COPY (SELECT * FROM t) TO '{out}' STORED AS PARQUET"
    done = subprocess.run([faisca, "sql", "-c", sql], capture_output=True, text=True, timeout=SECONDS)
    table = ds.dataset(out).to_table() if done.returncode == 0 and os.path.isdir(out) else None
    return done.returncode, done.stderr.strip(), table


def check(faisca, path, kind):
    """How a file ended, and details."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            code, messages, actual = read_by_faisca(faisca, path, kind, os.path.join(scratch, "out"))
        except subprocess.TimeoutExpired:
            return "hangs", f"more than {SECONDS} s"
        if "panicked" in messages:
            return "panics", messages
        if code not in ALLOWED_EXITS:
            return f"exit {code}", messages
        try:
            expected = read_by_pyarrow(path, kind)
        except Exception as error:
            return ("refused by PyArrow" if code == 0 else "refused by both"), str(error)
        if code == 2 or actual is None:
            return "refused", messages
        if actual.num_rows != expected.num_rows:
            return "differs", f"{actual.num_rows} rows, PyArrow has {expected.num_rows}"
        if expected.num_rows > MAX_ROWS:
            return "equal", "rows counted only"
        try:
            ours, theirs = rows(actual), rows(expected)
        except Exception as error:
            return "not compared", str(error)
        if ours == theirs:
            return "equal", ""
        return "differs", f"ours {list((ours - theirs))[:2]}, PyArrow {list((theirs - ours))[:2]}"


def main(folder, faisca):
    ends = collections.Counter()
    for parent, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            kind = FORMATS.get(os.path.splitext(name)[1].lower())
            if kind is None:
                continue
            path = os.path.join(os.path.abspath(parent), name)
            end, detail = check(faisca, path, kind)
            ends[end] += 1
            if end not in ("equal", "refused by both"):
                print(f"{end}: {os.path.relpath(path, folder)}: {' '.join(detail.split())[:400]}", flush=True)
    print(", ".join(f"{count} {end}" for end, count in ends.most_common()) or "no file of these formats")
    failed = [end for end in ends if end in ("hangs", "panics", "differs") or end.startswith("exit")]
    sys.exit(bool(failed) or not ends)


main(*sys.argv[1:])
