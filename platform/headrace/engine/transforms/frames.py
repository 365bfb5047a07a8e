"""Frames, by which the run's worker and the process of transforms exchange messages over a socket.

A frame is its length in eight bytes (big-endian) and that many bytes. Batches are sent as Arrow IPC streams.
"""

import struct
from collections.abc import Callable

import pyarrow as pa

_HEADER = struct.Struct(">Q")
_BYTES_AT_ONCE = 1 << 20


def send(write: Callable[[memoryview], int], payload: bytes) -> None:
    """Send a frame. `write` takes what it can of the bytes and returns how many; zero: ask again."""
    for part in (_HEADER.pack(len(payload)), payload):
        rest = memoryview(part)
        while rest:
            rest = rest[write(rest) :]


class TooLong(Exception):
    """A frame claims to be longer than the receiver takes."""


def receive(read: Callable[[int], bytes | None], *, most: int) -> bytearray:
    """Return the payload of the next frame, of at most so many bytes. Raises TooLong.

    `read` returns at most as many bytes as it is asked for; None: ask again. It raises once the other side
    has hung up.
    """
    (size,) = _HEADER.unpack(_exactly(read, _HEADER.size))
    if size > most:
        raise TooLong
    return _exactly(read, size)


def encoded(batch: pa.RecordBatch) -> bytes:
    """Return a batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decoded(content: bytes | bytearray | memoryview) -> pa.RecordBatch:
    """Return the batch of an Arrow IPC stream."""
    with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
        return stream.read_next_batch()


def _exactly(read: Callable[[int], bytes | None], size: int) -> bytearray:
    content = bytearray()
    while len(content) < size:
        content += read(min(size - len(content), _BYTES_AT_ONCE)) or b""
    return content
