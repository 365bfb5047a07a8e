"""What a file's first bytes say it is, where that is not what it is to be read as."""

from __future__ import annotations

import re

START = 1024
_WEB_PAGE = re.compile(rb"<(!doctype html|html|head|body|script)\b|<!--", re.IGNORECASE)
_XML = re.compile(rb"<(\?xml|!doctype)\b", re.IGNORECASE)
_OBJECT = re.compile(rb'(\[\s*)?\{\s*["}]')
_OTHERS = {
    b"PK\x03\x04": "a zip archive, or an office document",
    b"%PDF-": "a PDF document",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"BZh": "compressed by bzip2, which is not read",
    b"\xfd7zXZ\0": "compressed by xz, which is not read",
    b"\x04\x22\x4d\x18": "compressed by lz4, which is not read",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Obj\x01": "Avro, which is not read",
    b"ORC": "ORC, which is not read",
    b"SQLite format 3\0": "a SQLite database",
    b"\xd0\xcf\x11\xe0": "an office document",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def other_content(start: bytes, kind: str, encoding: str = "utf-8") -> str | None:
    """Say what a file holds that begins with the bytes, uncompressed; None if that may be its format."""
    start = start[:START]
    own = {"parquet": "Parquet", "arrow": "Arrow"}.get(kind)
    for magic, name in _OTHERS.items():
        if name != own and start.startswith(magic):
            return name
    if kind == "csv" and encoding == "utf-8" and start.startswith(_UTF_16):
        return "UTF-16 by its first two bytes: set `encoding`"
    if kind == "csv" and encoding == "utf-8" and start.count(b"\0") > len(start) // 4:
        return "full of NUL characters, as UTF-16 is: set `encoding`"
    text = start.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe \t\r\n")
    if _WEB_PAGE.match(text):
        return "a web page (HTML), such as a page to sign in"
    if _XML.match(text):
        return "XML"
    if kind == "csv" and _OBJECT.match(text):
        return "JSON"
    return None
