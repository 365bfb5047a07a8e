"""Addresses of host names: looked up in bounded time, and only those that connectors may connect to."""

import ipaddress
import socket
import threading
from contextlib import suppress
from typing import Any

from headrace.connectors.kit.network.addresses import ForbiddenAddress, is_allowed

CONNECT_SECONDS = 10.0


def addresses_of(host: str, port: int, seconds: float, *, is_checked: bool = True) -> list[str]:
    """Return a host's addresses. Raises ForbiddenAddress if none is allowed, and OSError if there is none.

    The system's own look-up waits for its servers as long as they are configured to be waited for.
    """
    found = [str(entry[4][0]) for entry in _looked_up(host.strip("[]"), port, seconds)]
    if not is_checked:
        return found
    allowed = [one for one in found if is_allowed(ipaddress.ip_address(one.split("%")[0]))]
    if not allowed:
        raise ForbiddenAddress("The host resolves to an address that connectors may not connect to.")
    return allowed


def _looked_up(host: str, port: int, seconds: float) -> list[Any]:
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return _found(host, port)
    answers: list[list[Any] | Exception] = []

    def look_up() -> None:
        try:
            answers.append(_found(host, port))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    thread = threading.Thread(target=look_up, daemon=True, name="name-lookup")
    thread.start()
    thread.join(seconds)
    if not answers:
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not found in time")
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _found(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
