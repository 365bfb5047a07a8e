"""The keyring file: one base64 key of 32 bytes on each line, newest first; `#` starts a comment.

The first key is the current one. A change keeps comments and blank lines. It replaces the file atomically and
holds a lock, so no concurrent change is lost.
"""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from headrace import private_files
from headrace.errors import Conflict, NotFound, StartupError

KEY_BYTES = 32

_HEADER = "# Headrace encryption keys, newest first. Without them every stored secret is lost: keep a copy.\n"


class KeyringError(StartupError):
    """This process has no keyring that it can use."""

    code = "keyring.unusable"
    title = "Keyring unusable"


class InvalidKeyring(KeyringError):
    """The keyring found is not a list of keys."""

    code = "keyring.invalid"
    title = "Invalid keyring"
    hint = "Write one base64 key of 32 bytes on each line, newest first."


class UnknownKey(NotFound):
    """The keyring has no key with this id."""

    code = "keyring.key_unknown"
    title = "No such key"
    hint = "`headrace keys status` lists the ids of the keys."


class KeyInUse(Conflict):
    """The key cannot be retired, because it is the current key or stored secrets need it."""

    code = "keyring.key_in_use"
    title = "Key in use"
    hint = "Promote another key and run `headrace keys rotate`. Then nothing needs this key."


def key_id(key: bytes) -> str:
    """Return the key's public id: the first 16 hex digits of SHA-256 over a label and the key."""
    return hashlib.sha256(b"headrace encryption key\x00" + key).hexdigest()[:16]


def parse(content: bytes, place: str) -> tuple[bytes, ...]:
    """Return the keys, newest first. Raises InvalidKeyring, which names `place` and the line."""
    keys: list[bytes] = []
    for number, line in enumerate(_lines(content), start=1):
        key = _key_of(line, f"{place}, line {number}")
        if key is None:
            continue
        if key in keys:
            raise InvalidKeyring(f"{place}, line {number} repeats key {key_id(key)}.")
        keys.append(key)
    if not keys:
        raise InvalidKeyring(f"{place} contains no key.")
    return tuple(keys)


def create(path: Path) -> bool:
    """Create the file with one new key; return False and change nothing if it exists.

    If several processes try at once, exactly one creates it. A missing folder is created with mode 0700.
    Raises NotPrivate if other users may enter the folder.
    """
    private_files.make_private_folder(path.parent)
    return private_files.create_private(path, (_HEADER + _line(os.urandom(KEY_BYTES))).encode())


def add(path: Path) -> str:
    """Append a new key and return its id.

    The key only opens secrets until it is promoted, so it can be copied to every machine first.
    """
    with _edited(path) as lines:
        key = os.urandom(KEY_BYTES)
        lines.append(_line(key))
        return key_id(key)


def promote(path: Path, wanted: str) -> None:
    """Make the key the current one. Raises UnknownKey."""
    with _edited(path) as lines:
        line = lines.pop(_index_of(wanted, lines))
        first_key = next((i for i, other in enumerate(lines) if _id_of(other)), len(lines))
        lines.insert(first_key, line)


def retire(path: Path, wanted: str, *, in_use: Collection[str]) -> None:
    """Delete the key.

    Raises UnknownKey, and KeyInUse for the current key and for the ids `in_use`. Read these from the database
    after every process has stopped sealing with this key.
    """
    with _edited(path) as lines:
        index = _index_of(wanted, lines)
        if wanted in in_use:
            raise KeyInUse(f"Stored secrets still need key {wanted}.")
        if not any(_id_of(line) for line in lines[:index]):
            raise KeyInUse(f"Key {wanted} is the current one.")
        del lines[index]


@contextlib.contextmanager
def _edited(path: Path) -> Iterator[list[str]]:
    with _locked(path.parent):
        content = private_files.read_private(path)
        parse(content, str(path))
        lines = _lines(content)
        yield lines
        private_files.replace_private(path, "".join(lines).encode())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Lock the folder: a lock on the file would be lost when the file is replaced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lines(content: bytes) -> list[str]:
    # Replace invalid bytes, because the codec's exception would contain the file's content.
    text = content.decode("utf-8", "replace")
    return [line + "\n" for line in text.removesuffix("\n").split("\n")]


def _line(key: bytes) -> str:
    return f"{base64.b64encode(key).decode()}  # {key_id(key)}\n"


def _index_of(wanted: str, lines: list[str]) -> int:
    for index, line in enumerate(lines):
        if _id_of(line) == wanted:
            return index
    raise UnknownKey(f"The keyring has no key {wanted}.", context={"key_id": wanted})


def _id_of(line: str) -> str | None:
    key = _key_of(line, "the keyring")
    return None if key is None else key_id(key)


def _key_of(line: str, place: str) -> bytes | None:
    text = line.partition("#")[0].strip()
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidKeyring(f"{place} is not base64.") from None
    if len(key) != KEY_BYTES:
        raise InvalidKeyring(f"{place} is not a key of {KEY_BYTES} bytes.")
    return key
