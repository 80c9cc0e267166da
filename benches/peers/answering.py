"""What the peers in Python have in common: a query a line as JSON, answered by `seconds rows` a line, or `error` and why."""

import json
import sys
import time


def answer(rows_of):
    """Answers every line of standard input. `rows_of` runs a query to its end and counts its rows."""
    for line in sys.stdin:
        started = time.perf_counter()
        try:
            rows = rows_of(json.loads(line))
            print(time.perf_counter() - started, rows, flush=True)
        except Exception as error:  # The suite tells it beside the query.
            print("error", str(error).replace("\n", " ")[:300], flush=True)
