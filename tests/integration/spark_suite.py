"""Runs the statements of a suite in the shell, and compares rows with those that Spark returned.

spark_suite.py SUITE.json [--data FOLDER] [--out FILE.jsonl] [--only REGEX] [--binary FAISCA] [--zone ZONE]

SUITE.json: [{"file": NAME, "conf": {KEY: VALUE}, "statements": [{"sql": TEXT, "schema": "struct<...>", "output": ROWS}]}]
Each Parquet file of the data folder is a table of its name. Each file of the suite has a shell and a scratch folder.
"""

import argparse
import json
import math
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections import Counter

SECONDS = 20
RESTARTS = 10
TOLERANCE = 1e-9
QUERIES = {"SELECT", "WITH", "VALUES", "FROM", "TABLE", "MAP", "REDUCE"}
REFUSAL = re.compile(r"(org\.apache|java|scala|com)\.[\w.$]+")
SECONDS_OF = {"day": 86400, "hour": 3600, "minute": 60, "second": 1, "week": 604800}


class Shell:
    """A shell that is fed through a pipe. It prints tab-separated values and nothing else."""

    def __init__(self, options, folder):
        self.options, self.folder, self.count = options, folder, 0
        self.start()

    def start(self):
        command = [self.options.binary, "sql", "--format", "tsv", "--executor-cores", "1", "--partitions", "2"]
        command += ["--conf", f"spark.sql.session.timeZone={self.options.zone}"]
        environment = dict(os.environ, FAISCA_LOG="error", XDG_CONFIG_HOME=self.folder)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
        self.buffers = {self.process.stdout: b"", self.process.stderr: b""}

    def stop(self):
        self.process.kill()
        self.process.wait()

    def run(self, sql):
        """Returns the lines of the result and the error, if any. Raises TimeoutError or EOFError."""
        self.count += 1
        mark = f"end of statement {self.count}"
        self.process.stdin.write(f"{sql}\n;\nSELECT '{mark}' AS mark;\n".encode())
        self.process.stdin.flush()
        end, until = f"mark\n{mark}\n".encode(), time.time() + SECONDS
        while not self.buffers[self.process.stdout].endswith(end):
            self.read(until)
        # The shell writes an error before it runs the next statement.
        while self.read(0):
            pass
        result = self.buffers[self.process.stdout][: -len(end)].decode("utf-8", "replace")
        error = self.buffers[self.process.stderr].decode("utf-8", "replace").strip()
        self.buffers = dict.fromkeys(self.buffers, b"")
        return result.split("\n")[:-1], error

    def read(self, until):
        ready = select.select(list(self.buffers), [], [], max(until - time.time(), 0))[0]
        if not ready and until:
            raise TimeoutError
        for stream in ready:
            part = os.read(stream.fileno(), 1 << 16)
            if not part and until:
                raise EOFError
            self.buffers[stream] += part
        return any(ready) and self.process.poll() is None


def without_comments(sql):
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", sql, flags=re.S).strip()


def is_query(sql):
    word = re.match(r"[(\s]*([A-Za-z]+)", without_comments(sql))
    return bool(word) and word[1].upper() in QUERIES and not re.search(r"\)\s*INSERT\b", sql, re.I)


def unescape(cell):
    if cell == r"\N":
        return "NULL"
    return re.sub(r"\\(.)", lambda m: {"t": "\t", "n": "\n", "r": "\r"}.get(m[1], m[1]), cell)


def interval(text):
    """Months and seconds of an interval, in any of its spellings; None if it is none."""
    years = re.fullmatch(r"(-?)(\d+)-(\d+)", text)
    if years:
        return int(years[1] + "1") * (int(years[2]) * 12 + int(years[3])), 0.0
    days = re.fullmatch(r"(-?)(\d+) (\d\d):(\d\d):(\d\d(?:\.\d+)?)", text)
    if days:
        hours = int(days[2]) * 24 + int(days[3])
        return 0, int(days[1] + "1") * ((hours * 60 + int(days[4])) * 60 + float(days[5]))
    months, seconds = 0, 0.0
    parts = re.findall(r"(-?[\d.]+) (year|month|week|day|hour|minute|second)s", text)
    if not parts or " ".join(f"{number} {unit}s" for number, unit in parts) != text:
        return None
    for number, unit in parts:
        if unit in SECONDS_OF:
            seconds += float(number) * SECONDS_OF[unit]
        else:
            months += int(number) * (12 if unit == "year" else 1)
    return months, seconds


def plain(cell, schema):
    """A cell in one spelling: intervals as numbers, binary values as text where they are one."""
    cell = cell.strip()
    if "interval" in schema and interval(cell):
        return str(interval(cell))
    if "binary" in schema and re.fullmatch("([0-9a-f]{2})+", cell):
        try:
            return bytes.fromhex(cell).decode().strip()
        except UnicodeDecodeError:
            pass
    return cell


def same(actual, expected):
    if actual == expected:
        return True
    try:
        # Sums of floating-point numbers depend on the order of addition.
        return math.isclose(float(actual), float(expected), rel_tol=TOLERANCE)
    except ValueError:
        return False


def same_rows(actual, expected, inexact):
    if not inexact:
        return actual == expected
    rows = zip(actual, expected)
    return len(actual) == len(expected) and all(len(a) == len(b) and all(map(same, a, b)) for a, b in rows)


def compare(lines, statement):
    """right, order or differ."""
    schema = statement["schema"]
    # Values may contain line breaks and tabs, which the expected text does not escape.
    rows = [[unescape(cell) for cell in line.split("\t")] for line in lines[1:]]
    flat = "\n".join("\t".join(row) for row in rows)
    actual, expected = (
        [[plain(cell, schema) for cell in line.split("\t")] for line in text.rstrip().split("\n")]
        for text in (flat, statement["output"])
    )
    inexact = re.search("double|float", schema)
    if same_rows(actual, expected, inexact):
        return "right"
    if not same_rows(sorted(actual), sorted(expected), inexact):
        return "differ"
    # An order below a parenthesis does not bind the rows of the statement.
    ordered = re.search(r"\border\s+by\b(?![^()]*\))", without_comments(statement["sql"]), re.I)
    return "order" if ordered else "right"


def judge(shell, statement, earlier):
    """The verdict of a statement, with its result or error."""
    refused = statement["schema"] == "struct<>" and REFUSAL.match(statement["output"])
    try:
        lines, error = shell.run(statement["sql"])
    except (TimeoutError, EOFError, BrokenPipeError) as failure:
        lines, error = [], f"the shell ended: {type(failure).__name__}"
        restart(shell, earlier)
    if error:
        return ("refused" if refused else "error"), [], error
    if refused:
        return "accepted", lines, ""
    if not is_query(statement["sql"]):
        earlier.append(statement["sql"])
        return "done", lines, ""
    return compare(lines, statement), lines, ""


def restart(shell, earlier):
    """Starts a shell with the tables and settings of the one that ended."""
    for _ in range(RESTARTS):
        shell.stop()
        shell.start()
        try:
            for sql in earlier:
                shell.run(sql)
            return
        except (TimeoutError, EOFError, BrokenPipeError):
            continue


def preparation(file, options):
    names = sorted(os.listdir(options.data)) if options.data else []
    tables = [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]
    location = lambda table: os.path.join(options.data, table + ".parquet")
    for table in tables:
        yield f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{location(table)}'"
    for key, value in file.get("conf", {}).items():
        yield f"SET {key} = {value}"


def run_file(file, options):
    """Runs the statements of a file; yields a record for each."""
    folder = tempfile.mkdtemp(prefix="spark-suite-")
    shell, earlier = Shell(options, folder), []
    try:
        for sql in preparation(file, options):
            shell.run(sql)
            earlier.append(sql)
        for statement in file["statements"]:
            verdict, lines, error = judge(shell, statement, earlier)
            yield {
                "sql": statement["sql"],
                "query": is_query(statement["sql"]),
                "verdict": verdict,
                "expected": statement["output"],
                "actual": lines,
                "error": error,
            }
    finally:
        shell.stop()
        shutil.rmtree(folder, ignore_errors=True)


def cause(error):
    """An error without what differs between statements that fail for the same reason."""
    text = re.sub(r"^error: (line \d+, statement \d+: )?", "", error.split("\n")[0])
    text = re.sub(r"'[^']*'|`[^`]*`|\"[^\"]*\"", "…", text)
    return re.sub(r"\d+", "N", text)[:100]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suite")
    parser.add_argument("--data", help="folder of Parquet files, each a table")
    parser.add_argument("--out", help="a line for each file, with all statements")
    parser.add_argument("--only", default="", help="regular expression for names of files")
    parser.add_argument("--binary", default="faisca")
    parser.add_argument("--zone", default="America/Los_Angeles")
    parser.add_argument("--causes", type=int, default=40, help="causes that are printed")
    options = parser.parse_args()
    options.data = options.data and os.path.abspath(options.data)
    options.binary = shutil.which(options.binary) and os.path.abspath(shutil.which(options.binary))
    if not options.binary:
        parser.error("there is no such binary")
    totals, commands, causes = Counter(), Counter(), Counter()
    with open(options.suite, encoding="utf-8") as suite, open(options.out or os.devnull, "w", encoding="utf-8") as out:
        for file in json.load(suite):
            if not re.search(options.only, file["file"]):
                continue
            records = list(run_file(file, options))
            out.write(json.dumps({"file": file["file"], "statements": records}) + "\n")
            for record in records:
                is_counted = record["query"] or record["verdict"] in ("refused", "accepted")
                (totals if is_counted else commands)[record["verdict"]] += 1
                if record["verdict"] == "error":
                    causes[cause(record["error"])] += 1
            print(file["file"], dict(Counter(record["verdict"] for record in records)), flush=True)
    print("\nCauses of errors")
    for text, count in causes.most_common(options.causes):
        print(f"{count:6} {text}")
    queries = sum(totals[verdict] for verdict in ("right", "order", "differ", "error"))
    share = 100 * totals["right"] / max(queries, 1)
    print(f"\nqueries {queries}: right {totals['right']} ({share:.1f} %), order {totals['order']}, differ {totals['differ']}, error {totals['error']}")
    print(f"errors of Spark: refused {totals['refused']}, accepted {totals['accepted']}")
    print(f"other statements: done {commands['done']}, error {commands['error']}")


if __name__ == "__main__":
    main()
