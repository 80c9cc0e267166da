"""Reads written folders with PyArrow and DuckDB. A line of JSON in is a list of cells, a line of JSON out their values.

Each cell gives `path`, `format`, `type` and `is_partitioned`; the values are those of column `v` for `id` 1, 2 and 3, as text.
"""

import datetime
import decimal
import glob
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.json

# Name of a type here, in PyArrow, in DuckDB. A file of text has no types, so the reader is given them.
TYPES = {
    "boolean": (pa.bool_(), "BOOLEAN"),
    "tinyint": (pa.int8(), "TINYINT"),
    "smallint": (pa.int16(), "SMALLINT"),
    "int": (pa.int32(), "INTEGER"),
    "bigint": (pa.int64(), "BIGINT"),
    "utinyint": (pa.uint8(), "UTINYINT"),
    "usmallint": (pa.uint16(), "USMALLINT"),
    "uint": (pa.uint32(), "UINTEGER"),
    "ubigint": (pa.uint64(), "UBIGINT"),
    "float": (pa.float32(), "FLOAT"),
    "double": (pa.float64(), "DOUBLE"),
    "decimal(9,2)": (pa.decimal128(9, 2), "DECIMAL(9,2)"),
    "decimal(38,10)": (pa.decimal128(38, 10), "DECIMAL(38,10)"),
    "string": (pa.string(), "VARCHAR"),
    "binary": (pa.binary(), "BLOB"),
    "date": (pa.date32(), "DATE"),
    "timestamp(0)": (pa.timestamp("us"), "TIMESTAMP"),
    "timestamp(3)": (pa.timestamp("us"), "TIMESTAMP"),
    "timestamp(6)": (pa.timestamp("us"), "TIMESTAMP"),
    "timestamp(9)": (pa.timestamp("us"), "TIMESTAMP"),
    "timestamp(6) with time zone": (pa.timestamp("us", "UTC"), "TIMESTAMP WITH TIME ZONE"),
    "time": (pa.time64("us"), "TIME"),
    "list": (pa.list_(pa.int32()), "INTEGER[]"),
    "struct": (pa.struct([("a", pa.int32()), ("b", pa.string())]), "STRUCT(a INTEGER, b VARCHAR)"),
    "map": (pa.map_(pa.string(), pa.int32()), "MAP(VARCHAR, INTEGER)"),
    "map of numbers": (pa.map_(pa.int64(), pa.string()), "MAP(BIGINT, VARCHAR)"),
    "list of structs": (pa.list_(pa.struct([("t", pa.timestamp("us"))])), "STRUCT(t TIMESTAMP)[]"),
}


def text(value):
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case decimal.Decimal():
            return f"{value:f}"
        case bytes():
            return value.hex()
        case datetime.datetime():
            aware = value if value.tzinfo is None else value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
            return aware.isoformat(" ", "microseconds")
        case datetime.time():
            return value.isoformat("microseconds")
        case dict():
            return "{" + ",".join(f"{key}:{text(part)}" for key, part in value.items()) + "}"
        case [(_, _), *_]:
            return text(dict(value))
        case list():
            return "[" + ",".join(map(str, map(text, value))) + "]"
    return str(value)


def files(cell):
    ending = {"parquet": "parquet", "csv": "csv", "ndjson": "json"}[cell["format"]]
    below = "k=*/" if cell["is_partitioned"] else ""
    return sorted(glob.glob(f"{cell['path']}/{below}*.{ending}"))


def by_pyarrow(cell, arrow_type):
    columns = pa.schema([("id", pa.int32()), ("v", arrow_type)])
    tables = []
    for file in files(cell):
        match cell["format"]:
            case "parquet":
                tables.append(pa.parquet.ParquetFile(file).read())
            case "csv":
                convert = pa.csv.ConvertOptions(
                    column_types=columns, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
                )
                parse = pa.csv.ParseOptions(newlines_in_values=True)
                tables.append(pa.csv.read_csv(file, parse_options=parse, convert_options=convert))
            case "ndjson":
                parse = pa.json.ParseOptions(explicit_schema=columns)
                tables.append(pa.json.read_json(file, parse_options=parse))
    table = pa.concat_tables(tables)
    is_same = table.schema.field("v").type == arrow_type
    rows = table.to_pylist()
    return str(table.schema.field("v").type) if not is_same else rows


def by_duckdb(database, cell, duckdb_type):
    names = ", ".join(f"'{name}'" for name in files(cell))
    keys = "hive_partitioning = true" if cell["is_partitioned"] else "hive_partitioning = false"
    columns = f"columns = {{'id': 'INTEGER', 'v': '{duckdb_type}'}}"
    match cell["format"]:
        case "parquet":
            source = f"read_parquet([{names}], {keys})"
        case "csv":
            source = f"read_csv([{names}], header = true, allow_quoted_nulls = false, quote = '\"', escape = '\"', {columns}, hive_partitioning = false)"
        case "ndjson":
            source = f"read_json([{names}], format = 'newline_delimited', {columns}, hive_partitioning = false)"
    declared = database.execute(f"SELECT DISTINCT typeof(v) FROM {source}").fetchall()
    if declared != [(duckdb_type,)]:
        return str(declared)
    table = database.execute(f"SELECT id, v FROM {source}").fetchall()
    return [{"id": id, "v": v} for id, v in table]


def values(read):
    try:
        rows = read()
    except Exception as error:
        return {"refused": str(error)}
    if isinstance(rows, str):
        return {"other_type": rows}
    return {"values": [text(row["v"]) for row in sorted(rows, key=lambda row: row["id"])]}


def main():
    import pyarrow.parquet

    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    cells = json.loads(sys.stdin.readline())
    results = []
    for cell in cells:
        arrow_type, duckdb_type = TYPES[cell["type"]]
        results.append(
            {
                "PyArrow": values(lambda: by_pyarrow(cell, arrow_type)),
                "DuckDB": values(lambda: by_duckdb(database, cell, duckdb_type)),
            }
        )
    print(json.dumps(results))


main()
