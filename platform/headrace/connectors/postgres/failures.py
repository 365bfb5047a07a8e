"""What PostgreSQL's failures mean, as the server and libpq tell them."""

import re
from collections.abc import Callable
from typing import Any

from headrace.connectors import ConnectorError, OutOfSpace, Unauthorized, Unreachable, Untrusted
from headrace.connectors.kit.sql.loads import Busy

_LOST = re.compile(
    r"server closed the connection|terminating connection|could not (?:receive|send) data"
    r"|no connection to the server|SSL SYSCALL|SSL connection has been closed|SSL error"
    r"|lost synchronization|[Uu]nexpected (?:EOF|message)|[Cc]onnection (?:reset|timed out|refused|not open)"
    r"|insufficient data in|invalid string in message"
)
_MESSAGE = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(.+)")
_TRIED = re.compile(r"connection to server|could not translate host name|FATAL:|timeout expired")
_UNTRUSTED = re.compile(
    r"certificate verify failed|does not match host name|root certificate file .+ does not exist"
)
_REFUSED = re.compile(r"authentication failed|no pg_hba\.conf entry|role .+ does not exist|permission denied")
# Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSED_STATES = ("28", "42501")
_UNREACHABLE_STATES = ("08", "53", "57P", "58", "25P03")
LOCKED = "55P03"
"""A lock was waited for too long."""
_BUSY_STATES = ("40001", "40P01", LOCKED)
_FULL_STATES = ("53100",)


def broken_off(message: str, failure: type[ConnectorError]) -> ConnectorError:
    """Return the error of rows that had begun to come: the driver has no code for it."""
    reason = _MESSAGE.search(message)
    detail = reason[1] if reason else message.partition("\n")[0]
    return _kind("", failure, lost=bool(_LOST.search(message)))(f"PostgreSQL: {detail.strip()}")


def not_connected(message: str) -> ConnectorError:
    """Return the error of a connection that was not made."""
    if not _TRIED.search(message):  # libpq could not read the string, and quotes it
        return Unreachable("The url or a setting beside it is not one that PostgreSQL's library understands.")
    reason = _MESSAGE.search(message)
    detail = reason[1] if reason else message.partition("\n")[0].rpartition("failed: ")[2]
    kind: type[ConnectorError] = Unauthorized if _REFUSED.search(message) else Unreachable
    if _UNTRUSTED.search(message):
        kind = Untrusted
    return kind(f"PostgreSQL could not be connected to: {detail.strip()}")


def translated(error: Any, failure: type[ConnectorError], masked: Callable[[str], str]) -> ConnectorError:
    """Keep the server's primary message alone: its DETAIL and CONTEXT quote rows."""
    facts = {key: str(value) for key, value in error.details if isinstance(value, str)}
    reason = _MESSAGE.search(str(error))
    message = facts.get("PG_DIAG_MESSAGE_PRIMARY") or (reason[1] if reason else str(error).partition("\n")[0])
    state = error.sqlstate or ""
    kind = _kind(state, failure, lost=bool(_LOST.search(str(error))))
    return kind(f"PostgreSQL: {masked(message.strip())}", context={"sqlstate": state} if state else None)


def _kind(state: str, failure: type[ConnectorError], *, lost: bool) -> type[ConnectorError]:
    if state.startswith(_REFUSED_STATES):
        return Unauthorized
    if state in _FULL_STATES:
        return OutOfSpace
    if lost or (state.startswith(_UNREACHABLE_STATES) and state != "08P01"):  # a malformed COPY is ours
        return Unreachable
    return Busy if state in _BUSY_STATES else failure
