"""Looks for secrets in whatever may have kept them, raw or in the forms that programs give them."""

import base64
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil


def forms(secret: str) -> set[bytes]:
    """Return the secret as it is, in JSON, URL-quoted, in hex, and in base64 at each of three alignments."""
    raw = secret.encode()
    texts = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    texts |= {quote(secret), quote(secret, safe=""), quote_plus(secret), raw.hex(), raw.hex().upper()}
    texts |= set(_base64_cores(raw))
    return {text.encode() for text in texts}


def _base64_cores(raw: bytes) -> Iterator[str]:
    """Yield the base64 digits that depend on the secret alone, for each place it may begin at."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw + bytes(3))
        first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        core = encoded[first:last].decode()
        yield from (core, core.replace("+", "-").replace("/", "_"))


def found_in_files(secrets: Mapping[str, str], folder: Path, *, but: Collection[Path] = ()) -> list[str]:
    """Return which secrets, by their labels, are in which files of a folder."""
    files = [file for file in folder.rglob("*") if file.is_file() and file not in but]
    return [
        f"{label} in {file.relative_to(folder)}"
        for file in files
        for label in found_in(secrets, file.read_bytes())
    ]


def found_in_processes(secrets: Mapping[str, str], processes: Collection[psutil.Process]) -> list[str]:
    """Return which secrets are in the environment or the arguments of which processes (Linux)."""
    return [
        f"{label} in {kind} of {process.cmdline()}"
        for process in processes
        for kind in ("environ", "cmdline")
        for label in found_in(secrets, Path(f"/proc/{process.pid}/{kind}").read_bytes())
    ]


def found_in(secrets: Mapping[str, str], content: bytes) -> list[str]:
    """Return the labels of the secrets that the content holds in any form."""
    return [label for label, secret in secrets.items() if any(form in content for form in forms(secret))]
