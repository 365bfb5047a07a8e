"""Check the platform's ports before anything starts."""

import errno
import os
import socket

from headrace.errors import Unavailable


class PortTaken(Unavailable):
    """Another program listens on a port that the platform needs."""

    code = "cli.port_taken"
    title = "Port taken"
    hint = "Stop the program that listens there, or choose another port; 0 takes a free one."


class BadAddress(Unavailable):
    """The address does not belong to this machine, or the port needs administrator rights."""

    code = "cli.bad_address"
    title = "Cannot listen"
    hint = "Use an address of this machine and a port of at least 1024."


def claim(host: str, port: int, option: str) -> int:
    """Return the port, or a free one for 0; `option` names its option. Raises PortTaken, BadAddress."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: connections that are still closing do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            where = f"Port {port} on {host} ({option})"
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(f"{where} is taken.") from None
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no such address"
            raise BadAddress(f"{where} cannot be used: {reason}.") from None
        return int(probe.getsockname()[1])


def reachable(host: str) -> str:
    """Return the host, as in a URL, by which this machine reaches a listener on `host`."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared with, not bound to
    return f"[{local}]" if ":" in local else local
