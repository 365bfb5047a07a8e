"""Requests as fast as a server answers them, from a client so slim that the server is what is measured."""

import asyncio
import time
from urllib.parse import urlsplit

_CONNECTIONS = 8


def requests_a_second(url: str, authorization: str, seconds: float) -> float:
    """Return how many GETs of the URL are answered a second, over eight connections that are kept."""
    return asyncio.run(_load(url, authorization, seconds))


async def _load(url: str, authorization: str, seconds: float) -> float:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}:{port}", "Accept: application/json"]
    lines += [f"Authorization: {authorization}"] if authorization else []
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    began = time.monotonic()
    counts = await asyncio.gather(
        *(_repeat(host, port, request, began + seconds) for _ in range(_CONNECTIONS))
    )
    return sum(counts) / (time.monotonic() - began)


async def _repeat(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    done = 0
    while time.monotonic() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"The server answered {head[:60]!r}.")
        await reader.readexactly(_length(head))
        done += 1
    writer.close()
    return done


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next(int(value) for name, _, value in lines if name.lower() == b"content-length")
