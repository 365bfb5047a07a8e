"""What MySQL's failures mean, by their numbers."""

import ssl
from typing import Any

from headrace.connectors import ConnectorError, OutOfSpace, Unauthorized, Unreachable, Untrusted
from headrace.connectors.kit.sql.loads import Busy

# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
_REFUSED = {1044, 1045, 1142, 1143, 1227, 1370, 1698}
# Gone away, lost, cannot connect, shutting down, killed, too many connections, errors of the network
LOST = {2006, 2013, 2003, 2055, 1053, 1927, 1040, 1158, 1159, 1160, 1161, 1184}
_BUSY = {1205, 1213, 3572}  # lock wait, deadlock, nowait
_FULL = {1021, 1114, 1041}  # disk, table, memory
_OF_THE_DISK = {3, 20, 1026, 1030}  # errors of writing, whose text has the number of the system's error
_NO_SPACE = ("28", "122")  # ENOSPC, EDQUOT


def is_lost(error: Any) -> bool:
    """Whether the connection, and not what was asked, is the reason."""
    code, _ = facts(error)
    # What the driver makes of bytes that are no packet of the protocol has no number.
    return code in LOST or code == 0


def not_connected(error: Any) -> ConnectorError:
    """Return the error of a connection that was not made."""
    code, message = facts(error)
    kind: type[ConnectorError] = Unauthorized if code in _REFUSED else Unreachable
    if isinstance(getattr(error, "original_exception", None), ssl.SSLCertVerificationError):
        return Untrusted("MySQL could not be connected to: its certificate is not trusted.")
    return kind(f"MySQL could not be connected to: {message}.")


def translated(error: Any, failure: type[ConnectorError]) -> ConnectorError:
    """Keep the number and the kind of the error alone where its text may quote a row."""
    code, message = facts(error)
    kind: type[ConnectorError] = failure
    if code in _REFUSED:
        kind = Unauthorized
    elif code in _FULL or (code in _OF_THE_DISK and any(number in message for number in _NO_SPACE)):
        kind = OutOfSpace
    elif is_lost(error):
        kind = Unreachable
    elif code in _BUSY:
        kind = Busy
    return kind(f"MySQL: {message}.", context={"errno": str(code)} if code else None)


# Errors whose text quotes a value: duplicate keys, incorrect, truncated and out-of-range values.
_QUOTING = {
    1062: "two rows have one value in a unique key",
    1292: "a value is not one of its column's type",
    1366: "a value is not one of its column's type",
    1411: "a value is not one of its column's type",
    1586: "two rows have one value in a unique key",
    1064: "a statement is not understood by this server",
}


def facts(error: Any) -> tuple[int, str]:
    """Return an error's number, 0 where it has none, and a text that quotes no row."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
    return code, _QUOTING.get(code, text.rstrip("."))
