"""A small REST API with pages, a token and a filter for changes: `python3 server.py [PORT]`.

GET /customers?after=N&updated_since=TIME answers with at most 100 customers and where the next page begins.
POST /customers stores a customer, so that you can see what a second run reads.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "open-sesame"
PAGE = 100
CUSTOMERS: dict[int, dict[str, Any]] = {
    number: {
        "id": number,
        "name": f"Customer {number}",
        "address": {"city": ("Berlin", "Bern", "Vienna")[number % 3]},
        "updated_at": f"2026-10-{1 + number % 28:02}T08:00:00Z",
    }
    for number in range(1, 251)
}


class Api(BaseHTTPRequestHandler):
    """Answers for `/customers` and nothing else."""

    def do_GET(self) -> None:
        """Answer with the next page of customers that changed since a time."""
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "The token is wrong."})
            return
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        since, after = query.get("updated_since", ""), int(query.get("after", 0))
        found = [one for id_, one in sorted(CUSTOMERS.items()) if id_ > after and one["updated_at"] >= since]
        page = found[:PAGE]
        self.answer(200, {"data": page, "next": page[-1]["id"] if len(found) > PAGE else None})

    def do_POST(self) -> None:
        """Store a customer, new or changed."""
        customer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        CUSTOMERS[customer["id"]] = customer
        self.answer(201, customer)

    def answer(self, status: int, body: Any) -> None:
        """Send JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8902), Api)
    print(f"Serving http://127.0.0.1:{server.server_port}/customers", flush=True)
    server.serve_forever()
