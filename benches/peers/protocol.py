"""The protocol of Python peers: reads a query per line as JSON, writes a line for each: `seconds rows` and, if the engine runs
in this process, its processor's seconds; or `error` and the reason."""

import json
import sys
import time


def serve(count_rows, in_process=False):
    """Runs each query of standard input. `count_rows` executes a query and returns its number of rows."""
    for line in sys.stdin:
        started, processor_started = time.perf_counter(), time.process_time()
        try:
            rows = count_rows(json.loads(line))
            processor = [time.process_time() - processor_started] if in_process else []
            print(time.perf_counter() - started, rows, *processor, flush=True)
        except Exception as error:  # The suite prints the reason beside the query.
            print("error", str(error).replace("\n", " ")[:300], flush=True)
