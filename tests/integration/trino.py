"""Writes tables to Glue, and compares what Trino reads with the values of each statement.

Each case is a table of its own. `writes` are (SQL, fields of `write` in YAML); `reads` are (SQL of Trino, expected rows),
with the rows in any order. The expected rows are literals.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

TRINO = os.environ["FAISCA_TRINO"]
STARTS_WITHIN_S = 600


def request(url, body=None):
    headers = {"X-Trino-User": "lake", "X-Trino-Catalog": "lake", "X-Trino-Schema": "m"}
    headers["X-Trino-Client-Capabilities"] = "PARAMETRIC_DATETIME"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        return json.load(response)


def trino(sql):
    """Returns the rows of a query, or raises RuntimeError with Trino's message."""
    answer, rows = request(f"{TRINO}/v1/statement", sql.encode()), []
    while True:
        rows += answer.get("data", [])
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        if "nextUri" not in answer:
            return rows
        answer = request(answer["nextUri"])


def faisca(work, table, sql, write, executors=0):
    fields = f"path: 's3://enem/m/{table}', " + write.replace("CATALOG", "type: glue, database: m, createDatabase: true")
    job = os.path.join(work, f"{table}.yaml")
    with open(job, "w") as file:
        file.write("apiVersion: faisca.dev/v1alpha1\nkind: SparkApplication\nmetadata: {name: trino}\nspec:\n  steps:\n")
        file.write(f'    - {{"name": "{table}", "sql": {json.dumps(sql)}, "write": {{{fields}}}}}\n')
    command = [os.environ["FAISCA_BINARY"], "run", job, "--executors", str(executors)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{table}: {done.stdout}{done.stderr}"


OVERWRITE = "mode: overwrite, catalog: {CATALOG}"
APPEND = "mode: append, catalog: {CATALOG}"


def keyed(mode, keys="k", more=""):
    return f"mode: {mode}, partitionBy: [{keys}], catalog: {{CATALOG}}{more}"


def of_types():
    """Every type of the documentation, with a row of nulls. (name, SQL, how Trino prints it)"""
    return [
        ("i8", "CAST(-128 AS TINYINT)", -128),
        ("i16", "CAST(-32768 AS SMALLINT)", -32768),
        ("i32", "CAST(-2147483648 AS INT)", -2147483648),
        ("i64", "CAST(-9223372036854775808 AS BIGINT)", -9223372036854775808),
        ("u8", "arrow_cast(255, 'UInt8')", 255),
        ("u16", "arrow_cast(65535, 'UInt16')", 65535),
        ("u32", "arrow_cast(4294967295, 'UInt32')", 4294967295),
        ("f32", "CAST(1.5 AS FLOAT)", 1.5),
        ("f64", "CAST(1e-7 AS DOUBLE)", 1e-7),
        ("nan", "CAST('NaN' AS DOUBLE)", "NaN"),
        ("infinite", "CAST('-inf' AS DOUBLE)", "-Infinity"),
        ("flag", "true", True),
        ("text", "'São Paulo 🙂'", "São Paulo 🙂"),
        ("empty", "''", ""),
        ("day", "CAST('0001-01-01' AS DATE)", "0001-01-01"),
        ("at", "CAST('2024-02-29T13:14:15.123456' AS TIMESTAMP)", "2024-02-29 13:14:15.123456"),
        ("at_ms", "arrow_cast('2024-02-29T13:14:15.123', 'Timestamp(Millisecond, None)')", "2024-02-29 13:14:15.123000"),
        ("money", "CAST(-1.50 AS DECIMAL(10, 2))", "-1.50"),
        ("wide", "CAST('12345678901234567890123456789.0123456789' AS DECIMAL(38, 9))", "12345678901234567890123456789.012345679"),
        ("bytes", "arrow_cast('ab', 'Binary')", "YWI="),
        ("list", "make_array(1, 2)", [1, 2]),
        ("unsigned", "arrow_cast(make_array(4294967295), 'List(UInt32)')", [4294967295]),
        ("times", "make_array(arrow_cast('2024-02-29T13:14:15.5', 'Timestamp(Millisecond, None)'))", ["2024-02-29 13:14:15.500000"]),
        ("pair", "named_struct('Nota', 7, 'u', arrow_cast(4294967295, 'UInt32'))", [7, 4294967295]),
        ("deep", "make_array(named_struct('a', make_array(named_struct('b', arrow_cast(4294967295, 'UInt32')))))", [[[[4294967295]]]]),
        ("lookup", "MAP {'x': 1}", {"x": 1}),
    ]


def types():
    columns = of_types()
    values = ", ".join(f'{sql} AS "{name}"' for name, sql, _ in columns)
    nulls = ", ".join(f'NULL AS "{name}"' for name, _, _ in columns)
    sql = f"SELECT 1 AS id, {values} UNION ALL SELECT 2, {nulls}"
    names = ", ".join(f'"{name}"' for name, _, _ in columns)
    expected = [[value for _, _, value in columns]]
    for compression in ["snappy", "zstd", "gzip", "none"]:
        yield {
            "table": f"types_{compression}",
            "writes": [(sql, f"{OVERWRITE}, compression: {compression}")],
            "reads": [
                (f"SELECT {names} FROM types_{compression} WHERE id = 1", expected),
                (f"SELECT count(*), count(u32), count(deep) FROM types_{compression}", [[2, 1, 1]]),
            ],
        }


def keys():
    """Each type of partition key: appended to twice, read back and filtered. (name, SQL of two values, Trino's literals and texts)"""
    cases = [
        ("text", ["'São Paulo'", "'a=b/c:d%'"], ["'São Paulo'", "'a=b/c:d%'"], ["São Paulo", "a=b/c:d%"]),
        ("int", ["CAST(7 AS INT)", "CAST(-7 AS INT)"], ["7", "-7"], [7, -7]),
        ("u32", ["arrow_cast(4294967295, 'UInt32')", "arrow_cast(0, 'UInt32')"], ["4294967295", "0"], [4294967295, 0]),
        ("flag", ["true", "false"], ["true", "false"], [True, False]),
        ("day", ["CAST('2024-02-29' AS DATE)", "CAST('0001-01-01' AS DATE)"], ["DATE '2024-02-29'", "DATE '0001-01-01'"], ["2024-02-29", "0001-01-01"]),
        ("money", ["CAST(1.5 AS DECIMAL(10, 2))", "CAST(-1.5 AS DECIMAL(10, 2))"], ["DECIMAL '1.50'", "DECIMAL '-1.50'"], ["1.50", "-1.50"]),
        ("real", ["CAST(1e20 AS DOUBLE)", "CAST(1e-7 AS DOUBLE)"], ["1e20", "1e-7"], [1e20, 1e-7]),
        ("infinite", ["CAST('inf' AS DOUBLE)", "CAST('-inf' AS DOUBLE)"], ["infinity()", "-infinity()"], ["Infinity", "-Infinity"]),
        (
            "moment",
            ["CAST('2024-02-29T13:14:15' AS TIMESTAMP)", "CAST('1969-12-31T23:59:59.5Z' AS TIMESTAMP)"],
            ["TIMESTAMP '2024-02-29 13:14:15'", "TIMESTAMP '1969-12-31 23:59:59.5'"],
            ["2024-02-29 13:14:15.000", "1969-12-31 23:59:59.500"],
        ),
    ]
    for name, values, literals, texts in cases:
        table = f"key_{name}"
        sql = f"SELECT 1 AS n, {values[0]} AS k UNION ALL SELECT 2, {values[1]} UNION ALL SELECT 3, NULL"
        reads = [(f"SELECT n, k FROM {table}", [[1, texts[0]], [2, texts[1]], [3, None]] * 2)]
        for n, literal in enumerate(literals, 1):
            reads.append((f"SELECT sum(n) FROM {table} WHERE k = {literal}", [[2 * n]]))
        reads.append((f"SELECT sum(n) FROM {table} WHERE k IS NULL", [[6]]))
        yield {"table": table, "writes": [(sql, keyed("append")), (sql, keyed("append"))], "reads": reads}


def modes():
    rows = lambda *pairs: " UNION ALL ".join(f"SELECT {n} AS n, '{k}' AS k" for n, k in pairs)
    yield {
        "table": "plain",
        "writes": [(rows((1, "a")), OVERWRITE), (rows((2, "b")), OVERWRITE), (rows((3, "c")), APPEND)],
        "reads": [("SELECT n, k FROM plain", [[2, "b"], [3, "c"]])],
    }
    yield {
        "table": "ignored",
        "writes": [(rows((1, "a")), OVERWRITE), (rows((2, "b")), "mode: ignore, catalog: {CATALOG}")],
        "reads": [("SELECT n FROM ignored", [[1]])],
    }
    yield {
        "table": "empty",
        "writes": [(rows((1, "a")), OVERWRITE), ("SELECT n, k FROM (SELECT 1 AS n, 'a' AS k) AS t WHERE n > 1", OVERWRITE)],
        "reads": [("SELECT count(*) FROM empty", [[0]])],
    }
    yield {
        "table": "static",
        "writes": [(rows((1, "a"), (2, "b")), keyed("overwrite")), (rows((3, "b")), keyed("overwrite")), (rows((4, "c")), keyed("append"))],
        "reads": [("SELECT n, k FROM static", [[3, "b"], [4, "c"]])],
    }
    yield {
        "table": "dynamic",
        "writes": [(rows((1, "a"), (2, "b")), keyed("overwrite")), (rows((3, "b")), keyed("overwrite", more=", partitionOverwrite: dynamic"))],
        "reads": [("SELECT n, k FROM dynamic", [[1, "a"], [3, "b"]])],
    }
    adds = "mode: append, catalog: {CATALOG, onSchemaChange: addColumns}"
    yield {
        "table": "added",
        "writes": [(rows((1, "a")), OVERWRITE), ("SELECT 'c' AS k, 2 AS n, count(*) AS more FROM (VALUES (1), (2)) AS t(x)", adds)],
        "reads": [("SELECT n, k, more FROM added", [[1, "a", None], [2, "c", 2]]), ("SELECT count(*) FROM added WHERE more IS NULL", [[1]])],
    }
    yield {
        "table": "cased",
        "writes": [
            ('SELECT 1 AS n, 7 AS "Nota", \'SP\' AS "UF"', keyed("overwrite", "UF")),
            ("SELECT 2 AS n, 8 AS nota, 'SP' AS uf UNION ALL SELECT 3, 9, 'RJ'", keyed("append", "uf")),
        ],
        "reads": [("SELECT uf, n, nota FROM cased", [["SP", 1, 7], ["SP", 2, 8], ["RJ", 3, 9]])],
    }
    projection = ", parameters: {projection.enabled: 'true', projection.k.type: integer, projection.k.range: '0,9'"
    for name, more in [("projected", ""), ("template", ", storage.location.template: 's3://enem/m/template/k=${k}/'")]:
        write = keyed("overwrite", "K").replace("CATALOG", f"CATALOG{projection}{more}}}")
        numbers = lambda n: f'SELECT CAST({n} AS INT) AS n, CAST(value AS INT) AS "K" FROM generate_series(1, 3)'
        append = keyed("append", "k")
        yield {
            "table": name,
            "writes": [(numbers(1), write), (numbers(2), write), (numbers(5), append)],
            "reads": [(f"SELECT k, sum(n) FROM {name} GROUP BY k", [[1, 7], [2, 7], [3, 7]])],
        }


def statistics():
    described = "mode: overwrite, catalog: {CATALOG, columnStatistics: true}"
    numbers = lambda a, b: f"SELECT value AS id FROM generate_series({a}, {b})"
    columns = "SHOW STATS FOR "
    yield {
        "table": "described",
        "writes": [(numbers(0, 2999), described)],
        "stats": (columns + "described", {"id": ("0", "2999"), None: 3000.0}),
    }
    yield {
        "table": "appended",
        "writes": [(numbers(0, 9), described), (numbers(10, 2999), APPEND)],
        "stats": (columns + "appended", {"id": (None, None), None: None}),
    }
    yield {
        "table": "undescribed",
        "writes": [(numbers(0, 9), described), (numbers(100, 3099), OVERWRITE)],
        "stats": (columns + "undescribed", {"id": (None, None), None: 3000.0}),
    }


def check(case):
    for sql, expected in case.get("reads", []):
        rows = trino(sql)
        order = lambda rows: sorted(map(repr, rows))
        assert order(rows) == order(expected), f"{case['table']}: {sql}\n  Trino: {rows}\n  expected: {expected}"
    if "stats" in case:
        sql, expected = case["stats"]
        # Column, size, distinct values, nulls, rows, least, greatest.
        shown = {row[0]: row[4] if row[0] is None else (row[5], row[6]) for row in trino(sql)}
        assert shown == expected, f"{case['table']}: {shown}, expected {expected}"


def overwrites(work):
    """Overwrites a table while Trino reads it: every query sees a whole table, of one overwrite."""
    write = lambda n: faisca(work, "busy", f"SELECT value AS a, {n} AS n FROM generate_series(1, 10000)", OVERWRITE)
    write(0)
    writer = threading.Thread(target=lambda: [write(n) for n in range(1, 16)])
    writer.start()
    queries = 0
    while writer.is_alive():
        rows = trino("SELECT count(*), max(n) - min(n) FROM busy")
        assert rows == [[10000, 0]], f"busy: {rows} during an overwrite"
        queries += 1
    print(f"busy: {queries} queries during 15 overwrites, all whole")


def main(work):
    until = time.time() + STARTS_WITHIN_S
    while True:
        try:
            if not request(f"{TRINO}/v1/info")["starting"]:
                break
        except OSError:
            pass
        assert time.time() < until, "Trino does not start; see its log"
        time.sleep(1)
    failures, count = [], 0
    for case in [*types(), *keys(), *modes(), *statistics()]:
        count += 1
        try:
            for number, (sql, write) in enumerate(case["writes"]):
                # The last write of each table runs on two executors.
                faisca(work, case["table"], sql, write, 2 if number == len(case["writes"]) - 1 else 0)
            check(case)
            print(f"{case['table']}: equal by Trino", flush=True)
        except (AssertionError, RuntimeError) as error:
            failures.append(f"{case['table']}: {error}")
            print("FAILED", failures[-1], flush=True)
    overwrites(work)
    assert not failures, f"{len(failures)} of {count} tables differ"


main(*sys.argv[1:])
