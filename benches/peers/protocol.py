"""The protocol of Python peers: reads a query per line as JSON, writes `seconds rows` per line, or `error` and the reason."""

import json
import sys
import time


def serve(count_rows):
    """Runs each query of standard input. `count_rows` executes a query and returns its number of rows."""
    for line in sys.stdin:
        started = time.perf_counter()
        try:
            rows = count_rows(json.loads(line))
            print(time.perf_counter() - started, rows, flush=True)
        except Exception as error:  # The suite prints the reason beside the query.
            print("error", str(error).replace("\n", " ")[:300], flush=True)
