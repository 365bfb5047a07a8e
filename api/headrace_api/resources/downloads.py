"""A run's output as an attachment: the Parquet file itself, or converted while it is sent.

Starlette's FileResponse is not used for byte ranges. It answers a malformed `Range` with 400 in plain text,
where RFC 9110 lets us ignore it, and an unsatisfiable one without a problem document.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headrace.service.runs import OutputGone
from headrace_api.http.preconditions import is_known
from headrace_api.http.problems import HttpError
from headrace_api.resources import conversion

Format = Literal["parquet", "csv", "jsonl"]

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_MEDIA_TYPES: Mapping[Format, str] = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
}
_CONVERSIONS: Mapping[Format, Callable[[Path], Iterator[bytes]]] = {
    "csv": conversion.csv_lines,
    "jsonl": conversion.json_lines,
}
CONTENT: Mapping[str, Any] = {
    "application/vnd.apache.parquet": {"type": "string", "format": "binary"},
    "text/csv": {"type": "string"},
    "application/jsonl": {"type": "string"},
}


class RangeNotSatisfiable(HttpError):
    """The byte range is beyond the end of the file."""

    code = "request.range_not_satisfiable"
    title = "Range not satisfiable"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size} bytes.")
        self._size = size

    @property
    def headers(self) -> dict[str, str]:
        """The file's length, as RFC 9110, section 15.5.17, asks for."""
        return {"Content-Range": f"bytes */{self._size}"}


def attached(request: Request, path: Path, *, name: str, format_: Format) -> Response:
    """Answer with the output file, named `name` with the format's suffix.

    Outputs never change, so the name serves as the entity tag. Raises RangeNotSatisfiable, OutputGone.
    """
    etag = f'"{name}"' if format_ == "parquet" else f'"{name}-{format_}"'
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{format_}"',
        "ETag": etag,
        "Cache-Control": "private, no-cache",
    }
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    media_type = _MEDIA_TYPES[format_]
    if format_ != "parquet":
        content = _CONVERSIONS[format_](path)
        return StreamingResponse(content, headers=headers, media_type=media_type)
    size = _size(path)
    wanted = _wanted(request, etag, size)
    first, end = wanted or (0, size)
    headers |= {"Accept-Ranges": "bytes", "Content-Length": str(end - first)}
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    status = 206 if wanted else 200
    return StreamingResponse(_chunks(path, first, end), status, headers, media_type)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise OutputGone("The output file has been removed.") from None


def _wanted(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """Return the start and the end of the requested range, or None for the whole file.

    A header with several ranges, or a malformed one, is ignored, as RFC 9110, section 14.2, allows.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = match[1], match[2]
    if not first:
        if not last:
            return None
        length = int(last)
        begin, end = max(0, size - length), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end:
        raise RangeNotSatisfiable(size)
    return begin, end


def _chunks(path: Path, first: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        left = end - first
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk
