"""Adds to moto's Glue what Trino calls and moto lacks: column statistics, functions, and segments of partitions.

Listens on the first port; forwards every other request to the second.
"""

import http.server
import json
import sys
import urllib.error
import urllib.request

# Statistics by database, table and column, as they were sent.
statistics = {}


def table_statistics(request):
    return statistics.setdefault((request["DatabaseName"], request["TableName"]), {})


def act(action, request):
    """Returns the response to a request that moto does not know, or None."""
    match action:
        case "UpdateColumnStatisticsForTable":
            for column in request["ColumnStatisticsList"]:
                table_statistics(request)[column["ColumnName"]] = column
            return {"Errors": []}
        case "GetColumnStatisticsForTable":
            known = table_statistics(request)
            found = [known[name] for name in request["ColumnNames"] if name in known]
            return {"ColumnStatisticsList": found, "Errors": []}
        case "DeleteColumnStatisticsForTable":
            table_statistics(request).pop(request["ColumnName"], None)
            return {}
        case "GetColumnStatisticsForPartition":
            return {"ColumnStatisticsList": [], "Errors": []}
        case "GetUserDefinedFunctions":
            return {"UserDefinedFunctions": []}
        # Trino reads partitions in segments; moto returns all of them for each.
        case "GetPartitions" if request.get("Segment", {}).get("SegmentNumber", 0) > 0:
            return {"Partitions": []}
    return None


class Shim(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers["X-Amz-Target"].rsplit(".", 1)[-1]
        response = act(action, json.loads(body))
        if response is not None:
            return self.respond(200, json.dumps(response).encode())
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        forwarded = urllib.request.Request(f"http://127.0.0.1:{sys.argv[2]}/", body, headers)
        try:
            with urllib.request.urlopen(forwarded) as answer:
                self.respond(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self.respond(error.code, error.read())

    def respond(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shim).serve_forever()
