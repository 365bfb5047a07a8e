"""HTTP requests and answers, as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow.json_text import InvalidJSON, NotJSON, decoded, decoded_around, in_utf8
from headrace.connectors.kit.network.tries import seconds_asked

Method = Literal["GET", "POST"]
_CHARSET = re.compile(r"\bcharset\s*=\s*[\"']?([\w.:+-]+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. Parameters whose value is None are left out; a list repeats its parameter."""

    url: str
    method: Method = "GET"
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None

    @property
    def full_url(self) -> str:
        """The URL with the parameters. Never for a message."""
        params = {name: _parameter(value) for name, value in self.params.items() if value is not None}
        if not params:
            return self.url
        return f"{self.url}{'&' if urlsplit(self.url).query else '?'}{urlencode(params, doseq=True)}"

    @property
    def label(self) -> str:
        """The request for people, without its query."""
        return f"{self.method} {urlsplit(self.url).path or '/'}"

    def content(self) -> tuple[bytes | None, dict[str, str]]:
        """The body and the headers that describe it."""
        if self.form is not None:
            return urlencode(self.form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        if self.json is not None:
            return msgspec.json.encode(self.json), {"Content-Type": "application/json"}
        return None, {}


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer, its body decompressed."""

    label: str  # of the request, for people
    url: str  # after redirects, with its query: never for a message
    status: int
    headers: Mapping[str, str]  # names match in any case
    body: bytes

    def json(self) -> Any:
        """Return the body's value. Raises NotJSON."""
        return self._json(decoded)

    def json_around(self, key: str | None) -> Any:
        """Return the body's value, where the list at that key (None: the value) is JsonRecords if it is one.

        Raises NotJSON.
        """
        return self._json(lambda body: decoded_around(body, key))

    def _json(self, decode: Callable[[bytes], Any]) -> Any:
        kind, _, rest = self.headers.get("Content-Type", "no Content-Type").partition(";")
        charset = _CHARSET.search(rest)
        try:
            return decode(in_utf8(self.body, charset[1] if charset else None))
        except InvalidJSON as invalid:
            what = "a web page" if self.body.lstrip()[:1] == b"<" else "something that is not JSON"
            raise NotJSON(f"{self.label} answered with {what} ({kind[:100]}): {invalid}.") from None

    @property
    def retry_after(self) -> float | None:
        """The seconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3), or None."""
        return seconds_asked(self.headers.get("Retry-After", ""))

    @property
    def message(self) -> str:
        """What an error's well-known fields say to people, shortened. It may quote what was sent."""
        try:
            found = self.json()
        except NotJSON:
            return ""
        for key in ("message", "error_description", "error_message", "detail", "title", "error", "errors"):
            said = found.get(key) if isinstance(found, dict) else None
            if isinstance(said, list) and said:
                said = said[0]
            if isinstance(said, dict):
                said = said.get("message")
            if isinstance(said, str) and said.strip():
                return " ".join(said.split())[:300]
        return ""


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return a URL's scheme, host and port. Raises Unreadable when it is not an http or https URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme.lower()]
    except (ValueError, KeyError):
        raise Unreadable("The server names an address that is not an http or https URL.") from None
    return parts.scheme.lower(), parts.hostname, port


def _parameter(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_parameter(item) for item in value] if isinstance(value, list | tuple) else value
