"""Opens local files: decompressed on the way, or as a copy that can be read at any place."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_CHUNK = 1024 * 1024


@contextmanager
def opened(path: Path) -> Iterator[pa.NativeFile]:
    """Open a file for reading once, from its start to its end, decompressed on the way."""
    with path.open("rb") as raw:
        compression = _compression(raw.read(4))
    file = pa.OSFile(str(path))
    with pa.CompressedInputStream(file, compression) if compression else file as stream:
        yield stream


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """The file itself where it can be read at any place, or else a decompressed copy."""
    with path.open("rb") as raw:
        start = raw.read(4)
    if _compression(start) is None and not start.startswith(BYTE_ORDER_MARK):
        yield path
        return
    with opened(path) as stream, tempfile.NamedTemporaryFile(prefix="headrace-") as copy:
        copy.write(stream.read(3).removeprefix(BYTE_ORDER_MARK))
        while chunk := stream.read(_CHUNK):
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)


def _compression(start: bytes) -> str | None:
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
