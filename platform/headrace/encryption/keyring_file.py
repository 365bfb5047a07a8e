"""The keyring file: a key on each line, newest first; `#` starts a comment. The first key is the current one.

A key is 32 bytes in base64. Or it is wrapped by a keeper, such as a key management service: then the line is
the address of the keeper's key, a space, what the keeper made of the key, and the key's id as the comment:

    vault://transit/keys/headrace vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM96XVZ  # 0a1b2c3d4e5f6071

A change keeps comments and blank lines. It replaces the file atomically and holds a lock, so no concurrent
change is lost.
"""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace import private_files
from headrace.errors import Conflict, NotFound, StartupError

KEY_BYTES = 32

_WRAPPED = re.compile(r"([a-z][a-z0-9-]*://[^\s#]+)\s+([^\s#]+)\s*#\s*([0-9a-f]{16})\b")
_HEADER = "# Headrace encryption keys, newest first. Without them every stored secret is lost: keep a copy.\n"


class KeyringError(StartupError):
    """This process has no keyring that it can use."""

    code = "keyring.unusable"
    title = "Keyring unusable"


class InvalidKeyring(KeyringError):
    """The keyring found is not a list of keys."""

    code = "keyring.invalid"
    title = "Invalid keyring"
    hint = "Write one key on each line, newest first: 32 bytes in base64, or as `keys wrap` writes it."


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


@dataclass(frozen=True, kw_only=True)
class WrappedKey:
    """A key that only its keeper can unwrap.

    `keeper` is the address of the key that wraps, such as `vault://transit/keys/headrace`; `text` is what the
    keeper made of the key.
    """

    id: str
    keeper: str
    text: str


Wrap = Callable[[bytes], WrappedKey]
Unwrap = Callable[[WrappedKey], bytes]


def key_id(key: bytes) -> str:
    """Return the key's public id: the first 16 hex digits of SHA-256 over a label and the key."""
    return hashlib.sha256(b"headrace encryption key\x00" + key).hexdigest()[:16]


def no_keeper(wrapped: WrappedKey) -> bytes:
    """Refuse a wrapped key where no keeper can be asked. Raises InvalidKeyring."""
    raise InvalidKeyring(f"Key {wrapped.id} is wrapped by {wrapped.keeper}.")


def parse(content: bytes, place: str, unwrap: Unwrap = no_keeper) -> tuple[bytes, ...]:
    """Return the keys, newest first. Raises InvalidKeyring, which names `place` and the line."""
    return tuple(_opened(entry, place, unwrap) for entry in _entries(content, place))


def keepers(content: bytes, place: str) -> dict[str, str]:
    """Return the addresses of the keepers of wrapped keys, by the keys' ids. Raises InvalidKeyring."""
    return {entry.id: entry.keeper for entry in _entries(content, place) if isinstance(entry, WrappedKey)}


def _entries(content: bytes, place: str) -> tuple[bytes | WrappedKey, ...]:
    found: dict[str, bytes | WrappedKey] = {}
    for number, line in enumerate(_lines(content), start=1):
        entry = _entry_of(line, f"{place}, line {number}")
        if entry is None:
            continue
        if (name := _id(entry)) in found:
            raise InvalidKeyring(f"{place}, line {number} repeats key {name}.")
        found[name] = entry
    if not found:
        raise InvalidKeyring(f"{place} contains no key.")
    return tuple(found.values())


def create(path: Path, wrap: Wrap | None = None) -> bool:
    """Create the file with one new key; return False and change nothing if it exists.

    If several processes try at once, exactly one creates it. A missing folder is created with mode 0700.
    Raises NotPrivate if other users may enter the folder.
    """
    private_files.make_private_folder(path.parent)
    if path.exists():
        return False  # no keeper is asked
    return private_files.create_private(path, (_HEADER + _line(os.urandom(KEY_BYTES), wrap)).encode())


def add(path: Path, wrap: Wrap | None = None) -> str:
    """Append a new key and return its id.

    The key only opens secrets until it is promoted, so it can be copied to every machine first.
    """
    with _edited(path) as lines:
        key = os.urandom(KEY_BYTES)
        lines.append(_line(key, wrap))
        return key_id(key)


def rewrite(path: Path, unwrap: Unwrap, wrap: Wrap | None) -> None:
    """Write each key anew: wrapped by another keeper, or by none. Their ids and order stay.

    Raises InvalidKeyring if a keeper gives another key than the line's id names.
    """
    with _edited(path) as lines:
        for index, line in enumerate(lines):
            entry = _entry_of(line, str(path))
            if entry is not None:
                lines[index] = _line(_opened(entry, str(path), unwrap), wrap)


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
        _entries(content, str(path))
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


def _line(key: bytes, wrap: Wrap | None) -> str:
    if wrap is None:
        return f"{base64.b64encode(key).decode()}  # {key_id(key)}\n"
    wrapped = wrap(key)
    return f"{wrapped.keeper} {wrapped.text}  # {wrapped.id}\n"


def _index_of(wanted: str, lines: list[str]) -> int:
    for index, line in enumerate(lines):
        if _id_of(line) == wanted:
            return index
    raise UnknownKey(f"The keyring has no key {wanted}.", context={"key_id": wanted})


def _id_of(line: str) -> str | None:
    entry = _entry_of(line, "the keyring")
    return None if entry is None else _id(entry)


def _id(entry: bytes | WrappedKey) -> str:
    return entry.id if isinstance(entry, WrappedKey) else key_id(entry)


def _opened(entry: bytes | WrappedKey, place: str, unwrap: Unwrap) -> bytes:
    if not isinstance(entry, WrappedKey):
        return entry
    key = unwrap(entry)
    if key_id(key) != entry.id:
        raise InvalidKeyring(f"{place}: {entry.keeper} gave another key than {entry.id}.")
    return key


def _entry_of(line: str, place: str) -> bytes | WrappedKey | None:
    text = line.partition("#")[0].strip()
    if not text:
        return None
    if "://" in text:
        wrapped = _WRAPPED.match(line.strip())
        if wrapped is None:
            raise InvalidKeyring(f"{place} is no wrapped key with its id.")
        keeper, said, name = wrapped.groups()
        return WrappedKey(id=name, keeper=keeper, text=said)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidKeyring(f"{place} is not base64.") from None
    if len(key) != KEY_BYTES:
        raise InvalidKeyring(f"{place} is not a key of {KEY_BYTES} bytes.")
    return key
