"""Envelope encryption of stored values: AES-256-GCM, bound to the row and column of the value.

Each write generates a new data key, encrypts the value with it, and wraps the data key with the keyring's
current key. So a rotation of the keyring re-wraps 32 bytes for each row and does not touch the values.

Format 1. It never changes: a new format gets a new first byte.

    offset  bytes  what
         0      1  format version, 0x01
         1      8  id of the wrapping key
         9     12  nonce of the wrap
        21     48  the wrapped data key: 32 bytes and a tag of 16
        69     12  nonce of the value
        81  n + 16 the encrypted value: the length of the plaintext, and a tag of 16

Associated data, all integers big-endian and unsigned:

    ASCII "headrace", one byte for the format version, one for the part (0x01 wrap, 0x02 value),
    only in the wrap: the 8 bytes of the key id,
    then of the binding: 2 bytes of length and the table's name in UTF-8, the same for the column,
    16 bytes of organization id, 16 of row id, 8 of revision.

The value's associated data does not contain the id of the wrapping key, because then a rotation would have to
encrypt the value again. The value is bound to its wrap nevertheless: only its own data key decrypts it.
Nonces are random (NIST SP 800-38D, 8.2.2): one key may wrap 2**32 times, and a data key encrypts once.
"""

import os
import struct
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.encryption.keyring import Keyring
from headrace.encryption.keyring_file import KEY_BYTES, UnknownKey
from headrace.errors import Conflict

_VERSION = 1
_WRAP = b"\x01"
_VALUE = b"\x02"
_NONCE_BYTES = 12
_HEADER = struct.Struct(">B8s12s48s")
_SHORTEST = _HEADER.size + _NONCE_BYTES + 16


class CannotOpen(Conflict):
    """A stored secret cannot be decrypted: its key is missing, or it was changed or moved to another row.

    The message contains only the key's id, so an attacker learns nothing from it.
    """

    code = "encryption.cannot_open"
    title = "Stored secret cannot be opened"
    hint = "Restore the missing key in the keyring, or store the secret again."


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The place of a sealed value. It cannot be opened in another row, column, organization or revision."""

    table: str
    column: str
    organization_id: UUID
    row_id: UUID
    revision: int

    def encoded(self) -> bytes:
        """Return an unambiguous encoding of the binding."""
        table, column = self.table.encode(), self.column.encode()
        return struct.pack(
            f">H{len(table)}sH{len(column)}s16s16sQ",
            *(len(table), table, len(column), column),
            *(self.organization_id.bytes, self.row_id.bytes, self.revision),
        )


class Envelope:
    """Seals with the keyring's current key, and opens with any of its keys. Thread-safe."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    @property
    def current_key_id(self) -> str:
        """The id of the key that seals."""
        return self._keyring.current_id

    def seal(self, plaintext: bytes, binding: Binding) -> bytes:
        """Return the encrypted value for this place. It is 97 bytes longer, and differs at each call."""
        data_key = os.urandom(KEY_BYTES)
        nonce = os.urandom(_NONCE_BYTES)
        value = AESGCM(data_key).encrypt(nonce, plaintext, _associated_data(_VALUE, binding))
        return self._wrap(data_key, binding) + nonce + value

    def open(self, sealed: bytes, binding: Binding) -> bytes:
        """Return the plaintext. Raises CannotOpen for any failure."""
        data_key = self._unwrap(sealed, binding)
        nonce_end = _HEADER.size + _NONCE_BYTES
        nonce, value = sealed[_HEADER.size : nonce_end], sealed[nonce_end:]
        try:
            return AESGCM(data_key).decrypt(nonce, value, _associated_data(_VALUE, binding))
        except InvalidTag:
            raise _cannot_open(self.key_id(sealed)) from None

    def rewrap(self, sealed: bytes, binding: Binding) -> bytes:
        """Return the same value with its data key wrapped by the current key.

        The value is neither decrypted nor checked. Raises CannotOpen if the data key cannot be unwrapped.
        """
        return self._wrap(self._unwrap(sealed, binding), binding) + sealed[_HEADER.size :]

    @staticmethod
    def key_id(sealed: bytes) -> str:
        """Return the id of the key that wraps this value. Raises CannotOpen for an unknown format."""
        if len(sealed) < _SHORTEST or sealed[0] != _VERSION:
            raise CannotOpen("A stored secret has a format that this version does not know.")
        return sealed[1:9].hex()

    def _wrap(self, data_key: bytes, binding: Binding) -> bytes:
        key_id = self._keyring.current_id
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = AESGCM(self._keyring.key(key_id)).encrypt(
            nonce, data_key, _associated_data(_WRAP, binding, bytes.fromhex(key_id))
        )
        return _HEADER.pack(_VERSION, bytes.fromhex(key_id), nonce, wrapped)

    def _unwrap(self, sealed: bytes, binding: Binding) -> bytes:
        key_id = self.key_id(sealed)
        _, raw_key_id, nonce, wrapped = _HEADER.unpack_from(sealed)
        try:
            key = self._keyring.key(key_id)
            return AESGCM(key).decrypt(nonce, wrapped, _associated_data(_WRAP, binding, raw_key_id))
        except (InvalidTag, UnknownKey):
            raise _cannot_open(key_id) from None


def _associated_data(part: bytes, binding: Binding, key_id: bytes = b"") -> bytes:
    return b"headrace" + bytes([_VERSION]) + part + key_id + binding.encoded()


def _cannot_open(key_id: str) -> CannotOpen:
    return CannotOpen(f"A secret stored under key {key_id} cannot be opened.", context={"key_id": key_id})
