"""A server of one list, for the lines that read a REST API: python rest_server.py RECORDS PAGE_RECORDS

Every page is written down before the first request, so that what is measured is the client. Prints its port.
"""

import json
import socketserver
import sys
from typing import ClassVar

_HEADERS = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    "Connection: keep-alive\r\n\r\n"
)


def record(number: int) -> dict[str, object]:
    """Return one record: as a CRM answers, with most of it in `properties`, and some of that missing."""
    properties = {
        "email": f"person.{number}@example.com",
        "firstname": f"First {number % 5000}",
        "lastname": f"Last {number % 20000}",
        "company": f"Company {number % 3000} and Sons",
        "phone": f"+49 30 {number:08d}",
        "lifecyclestage": ("lead", "customer", "subscriber")[number % 3],
        "visits": number % 91,
        "revenue": (number % 100_000) / 100,
        "optout": number % 4 == 0,
        "note": "x" * (number % 360),
    }
    if number % 5 == 0:
        properties["owner"] = f"{number % 40:032x}"
    return {
        "id": str(number),
        "sequence": number,
        "properties": properties,
        "createdAt": f"2024-{1 + number % 12:02d}-{1 + number % 28:02d}T10:00:00.000Z",
        "updatedAt": f"2025-{1 + number % 12:02d}-{1 + number % 28:02d}T11:30:00.000Z",
        "url": f"https://crm.example.com/records/{number}",
        "archived": False,
    }


def pages(records: int, page_records: int) -> list[bytes]:
    """Return every page as it is sent; the cursor of a page is its number."""
    written = []
    count = -(-records // page_records)
    for page in range(count):
        numbers = range(page * page_records, min(records, (page + 1) * page_records))
        document: dict[str, object] = {"results": [record(number) for number in numbers]}
        if page + 1 < count:
            document["paging"] = {"next": {"after": str(page + 1)}}
        body = json.dumps(document).encode()
        written.append(_HEADERS.format(length=len(body)).encode() + body)
    return written


class Handler(socketserver.StreamRequestHandler):
    """Answers on one kept connection."""

    pages: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        """Answer each request with the page that `after` names, the first where there is none."""
        self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY
        while line := self.rfile.readline():
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass
            query = line.split()[1].partition(b"?")[2]
            after = [part[6:] for part in query.split(b"&") if part.startswith(b"after=")]
            self.wfile.write(self.pages[int(after[0]) if after else 0])


class Server(socketserver.ThreadingTCPServer):
    """On loopback, at a port that the system chooses."""

    daemon_threads = True


if __name__ == "__main__":
    Handler.pages = pages(int(sys.argv[1]), int(sys.argv[2]))
    with Server(("127.0.0.1", 0), Handler) as server:
        size = sum(map(len, Handler.pages))
        print(json.dumps({"port": server.server_address[1], "megabytes": size // 1_000_000}), flush=True)
        server.serve_forever()
