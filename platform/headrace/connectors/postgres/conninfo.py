"""Strings that libpq connects by, put together and taken apart.

By hand: importing psycopg takes as long as loading a small table.
"""

import math
import re
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from headrace.connectors import Unreachable
from headrace.connectors.kit.network.names import addresses_of

_PLAIN_VALUE = re.compile(r"[\w./-]+")
_NETLOC = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?")
_PORT = "5432"
_LEAST_SECONDS = 2  # libpq waits for an address no shorter


def with_values(url: str, values: Mapping[str, str]) -> str:
    """Add values to a connection string of either form. Of two values of a key libpq takes the last."""
    if url.startswith(("postgresql://", "postgres://")):
        rest = url.partition("://")[2]
        user, at, place = rest.partition("@")
        if not at or "/" in user:  # libpq's rule for where the password ends: it may hold a question mark
            place = rest
        return f"{url}{'&' if '?' in place else '?'}{urlencode(values, quote_via=quote)}"
    return " ".join([url, *(f"{key}={_quoted_value(value)}" for key, value in values.items())]).strip()


def _quoted_value(value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def address(url: str) -> dict[str, Any]:
    """Return the host, port and database of a libpq URL or of its `key=value` form; without credentials."""
    if "://" in url:
        parts = urlsplit(url)
        host, _, port = parts.netloc.rpartition("@")[2].partition(":")
        if "[" in host:  # an IPv6 address has colons itself
            host, _, port = parts.netloc.rpartition("@")[2].rpartition(":")
        found = {"host": host, "port": port, "database": unquote(parts.path.lstrip("/"))}
    else:
        found = {}
    given = _given(url)
    for name, key in (("host", "host"), ("port", "port"), ("database", "dbname")):
        found[name] = given.get(key) or found.get(name, "")
    return {name: value.lower() if name == "host" else value for name, value in found.items() if value}


def reached(url: str, host: str | None, port: int, seconds: float) -> dict[str, str]:
    """Return libpq's settings that lead to the allowed addresses of the hosts, looked up within the seconds.

    libpq itself would wait for a name without a bound, and connect to any address. Empty where the server is
    on a socket of this machine. Raises ForbiddenAddress, and Unreachable where no name is found.
    """
    hosts = [_Host(host, "", str(port))] if host else _hosts(url)
    if all(one.is_local for one in hosts):
        return {}
    found: list[_Host] = []
    broken: OSError | None = None
    for one in hosts:
        try:
            found += [_Host(one.name, address, one.port) for address in one.addresses(seconds)]
        except (OSError, ValueError) as error:
            broken = error if isinstance(error, OSError) else broken
    if not found:
        reason = "not found in time" if broken and broken.errno == socket.EAI_AGAIN else "not known"
        raise Unreachable(f"PostgreSQL could not be connected to: the host's name is {reason}.")
    each = max(_LEAST_SECONDS, math.ceil(seconds / len(found)))
    names, addresses, ports = (",".join(column) for column in zip(*found, strict=True))
    return {"host": names, "hostaddr": addresses, "port": ports, "connect_timeout": str(each)}


class _Host(NamedTuple):
    """One of the servers that a connection string names."""

    name: str
    address: str
    port: str

    @property
    def is_local(self) -> bool:
        """Whether it is a socket of this machine: a folder, an abstract name, or libpq's own choice."""
        return not self.address and (not self.name or self.name.startswith(("/", "@")))

    def addresses(self, seconds: float) -> list[str]:
        """Look the name up, unless it is given with its address."""
        if self.is_local:
            return [""]
        return addresses_of(self.address or self.name, int(self.port), seconds)


def _hosts(url: str) -> list[_Host]:
    netloc = urlsplit(url).netloc.rpartition("@")[2] if "://" in url else ""
    named = [_NETLOC.fullmatch(part) for part in netloc.split(",")]
    given = _given(url)
    hosts = (
        given["host"].split(",")
        if "host" in given
        else [unquote(one[1] or "") if one else "" for one in named]
    )
    ports = given["port"].split(",") if "port" in given else [(one[2] if one else "") or "" for one in named]
    addresses = given.get("hostaddr", "").split(",")
    return [
        _Host(_item(hosts, n).strip("[]"), _item(addresses, n), _item(ports, n) or _PORT)
        for n in range(max(len(hosts), len(addresses)))
    ]


def _given(url: str) -> dict[str, str]:
    if "://" in url:
        return dict(parse_qsl(urlsplit(url).query))
    return dict(re.findall(r"(\w+)\s*=\s*'?([^'\s]*)", url))


def _item(items: list[str], index: int) -> str:
    """Return one of a list where a single item stands for all."""
    return items[index] if index < len(items) else items[0]
