"""The ports that the platform listens on, looked at before anything starts."""

import errno
import os
import socket

from headrace.errors import Unavailable


class PortTaken(Unavailable):
    """Something else listens on a port that the platform needs."""

    code = "cli.port_taken"
    title = "Port taken"
    hint = "Stop what listens there, or give another port; 0 takes any that is free."


class BadAddress(Unavailable):
    """The address to listen on is none of this machine's, or the port is the administrator's."""

    code = "cli.bad_address"
    title = "Cannot listen"
    hint = "Give an address of this machine and a port from 1024 up."


def claim(host: str, port: int, option: str) -> int:
    """Return the port, or a free one for port 0; `option` is what sets it. Raises PortTaken, BadAddress."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection that is still being closed is no reason to refuse.
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
    """Return where a listener on `host` is reached from this machine, as a URL writes it."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared with, not bound to
    return f"[{local}]" if ":" in local else local
