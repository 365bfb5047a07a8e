"""The documentation's routes. They need no token, and the pages load nothing from a CDN."""

import json
from collections.abc import Iterator
from html import escape
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response

from headrace.connectors import ConnectorError
from headrace.errors import HeadraceError, StartupError
from headrace_api.documentation.openapi import openapi
from headrace_api.http.problems import code_of, status_of
from headrace_api.http.requests import Visit
from headrace_api.http.responses import JSON
from headrace_api.http.routing import Endpoint, Routes

_OWN = Path(__file__).parent / "pages"
_PUBLISHED = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_STATUSES = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.INTERNAL_SERVER_ERROR)
_HEADERS = {
    # Swagger UI embeds its icons as data: images.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def documentation(described: list[Endpoint]) -> Routes:
    """Return the routes that serve the documentation of these endpoints."""
    routes = Routes(tag="Documentation")
    document: bytes | None = None

    @routes.public("/openapi.json")
    def get_openapi(visit: Visit) -> Response:
        """Get the OpenAPI document."""
        nonlocal document
        if document is None:
            document = json.dumps(openapi(described)).encode()
        return Response(document, media_type=JSON, headers={"Cache-Control": "no-cache"})

    @routes.public("/docs")
    def get_docs(visit: Visit) -> Response:
        """Get the page that shows the API and lets you try it."""
        return _page((_OWN / "docs.html").read_text(encoding="utf-8"))

    @routes.public("/docs/errors")
    def get_errors(visit: Visit) -> Response:
        """Get the page that the `type` of a problem links to."""
        template = (_OWN / "errors.html").read_text(encoding="utf-8")
        return _page(template.replace("<!-- errors -->", "".join(_error_rows())))

    @routes.public("/docs/assets/{name}")
    def get_asset(visit: Visit, name: str) -> Response:
        """Get a script, style sheet or image of the pages."""
        if name not in _PUBLISHED:
            raise HTTPException(404)
        folder = _swagger_ui() if name.startswith("swagger-ui") else _OWN
        return Response((folder / name).read_bytes(), media_type=_PUBLISHED[name], headers=_HEADERS)

    return routes


def _page(html: str) -> Response:
    return Response(html, media_type="text/html; charset=utf-8", headers=_HEADERS)


def _swagger_ui() -> Path:
    """Find Swagger UI's files without importing the package that holds them."""
    package = find_spec("swagger_ui")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "static"


def _error_rows() -> Iterator[str]:
    rows = {code_of(status): (str(status.value), status.phrase, "") for status in _STATUSES}
    for error in _descendants(HeadraceError):
        if not issubclass(error, StartupError):
            where = "failed run" if issubclass(error, ConnectorError) else str(status_of(error))
            rows[error.code] = (where, error.title, error.hint)
    for code, cells in sorted(rows.items()):
        rendered = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        yield f'<tr id="{escape(code)}"><td><code>{escape(code)}</code></td>{rendered}</tr>\n'


def _descendants(error: type[HeadraceError]) -> Iterator[type[HeadraceError]]:
    for child in error.__subclasses__():
        yield child
        yield from _descendants(child)
