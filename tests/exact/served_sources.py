"""Sources that answer when they are asked: a REST API, and a Python function."""

import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from cursor_forms import FORMS
from history_steps import Plan
from model import Row, Table
from source_system import Place, SourceSystem, arrow, plain

_PAGE = 5
_FUNCTION = """from python_rows import rows_of


def things(path, cursor):
    yield from rows_of(path, cursor)
"""


class RestSource(SourceSystem):
    """A JSON API with pages; incremental requests get what is at or after `since`, and what has no cursor."""

    name: ClassVar[str] = "rest"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes"})
    is_paged: ClassVar[bool] = True

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.rows: dict[int, dict[str, Any]] = {}  # as JSON
        self.orders: dict[int, Any] = {}  # what orders them; None: no cursor
        self.coming: tuple[dict[int, dict[str, Any]], dict[int, Any]] | None = None
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.005})
        self.thread.start()

    def config(self) -> dict[str, Any]:
        endpoint: dict[str, Any] = {
            "path": "/things",
            "data_selector": "data",
            "paginator": self._paginator(),
        }
        if self.plan.is_incremental:
            endpoint["incremental"] = {"cursor_path": "changed", "start_param": "since"}
            if self.plan.order:
                endpoint["incremental"]["row_order"] = self.plan.order
        resource = {"name": "things", "endpoint": endpoint, "primary_key": self.key}
        address = f"http://127.0.0.1:{self.server.server_port}"
        keys = self.sync_by_field()
        keys.pop("cursor_field", None)
        return {"name": "rest", "base_url": address, "resources": [resource], "stream": "things", **keys}

    def _paginator(self) -> dict[str, Any]:
        return {
            "offset": {"type": "offset", "limit": _PAGE, "total_path": "total"},
            "page": {"type": "page_number", "base_page": 1, "total_path": "pages"},
            "cursor": {"type": "cursor", "cursor_path": "next", "cursor_param": "offset"},
            "link": {"type": "json_link", "next_url_path": "link"},
        }[self.plan.paging]

    def write_all(self, table: Table) -> None:
        """Let the server answer with the whole table."""
        with self.lock:
            self.coming = None
            self.rows, self.orders = {}, {}
            self._put(*self._served(table, table.rows))

    def meanwhile(self, table: Table, rows: dict[int, Row]) -> None:
        """Let the server have the rows once it has answered with a page."""
        self.coming = self._served(table, rows)
        self.is_changed = True  # a run that reads no page leaves them to the next

    def _served(self, table: Table, rows: dict[int, Row]) -> tuple[dict[int, dict[str, Any]], dict[int, Any]]:
        order = FORMS[self.plan.cursor].order
        found = {number: plain(table, row) for number, row in rows.items()}
        orders = {
            number: None if row["changed"] is None else order(row["changed"]) for number, row in rows.items()
        }
        return found, orders

    def _put(self, rows: dict[int, dict[str, Any]], orders: dict[int, Any]) -> None:
        self.rows |= rows
        self.orders |= orders

    def answer(self, query: dict[str, str], path: str) -> dict[str, Any]:
        """Return a page, and then let come what is to come between two pages."""
        with self.lock:
            since = FORMS[self.plan.cursor].order(query["since"]) if "since" in query else None
            listed = [self.rows[number] for number in self._listed(since)]
            start = (int(query["page"]) - 1) * _PAGE if "page" in query else int(query.get("offset", 0))
            end = start + _PAGE
            if self.coming is not None and listed:
                self._put(*self.coming)
                self.coming = None
            more = end if end < len(listed) else None
            following = urlencode({**query, "offset": more})
            return {
                "data": listed[start:end],
                "total": len(listed),
                "pages": -(-len(listed) // _PAGE),
                "next": more,
                "link": f"{path}?{following}" if more else None,
            }

    def _listed(self, since: Any) -> list[int]:
        nulls = [number for number in self.rows if self.orders[number] is None]
        others = [
            number
            for number in self.rows
            if self.orders[number] is not None and (since is None or self.orders[number] >= since)
        ]
        if self.plan.order:
            others.sort(key=lambda number: self.orders[number], reverse=self.plan.order == "desc")
        return [*nulls, *others]

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _handler(source: RestSource) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            split = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            body = json.dumps(source.answer(query, split.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


class PythonSource(SourceSystem):
    """A function of the connectors folder, which yields what is at or after the cursor, or has none."""

    name: ClassVar[str] = "python"
    has_types: ClassVar[bool] = True
    lacks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.path = place.folder / "rows.pickle"
        module = place.connectors / "exact_things.py"
        if not module.exists():
            place.connectors.mkdir(exist_ok=True)
            module.write_text(_FUNCTION)

    def config(self) -> dict[str, Any]:
        keys = {"function": "exact_things:things", "params": {"path": str(self.path)}, "stream": "things"}
        return {"name": "python", **keys, "primary_key": self.key, **self.sync_by_field()}

    def write_all(self, table: Table) -> None:
        """Write the rows to where the function finds them."""
        rows = list(table.rows.values())
        if self.plan.shape == "arrow":
            data: Any = arrow(table, rows)
        else:
            data = [_native(table, row) for row in rows]
        cursors = [row["changed"] for row in rows]
        self.path.write_bytes(pickle.dumps((self.plan.cursor, self.plan.shape, cursors, data)))


def _native(table: Table, row: Row) -> dict[str, Any]:
    found = {column.name: row.get(key) for key, column in table.columns.items()}
    for column in table.columns.values():
        if column.kind == "json" and found[column.name] is not None:
            found[column.name] = json.loads(found[column.name])
    return found
