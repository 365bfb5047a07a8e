"""Sealed tokens for browsers: a session's cookie, and a ticket that opens one.

Both hold the token itself, encrypted under a key of this installation, so that the server keeps no list of
sessions, and revoking the token ends them all.
"""

import base64
import secrets
import struct
import time
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace import private_files
from headrace.settings import Settings

_NONCE_BYTES = 12
_KEY_BYTES = 32
_EXPIRY = struct.Struct(">d")


class Purpose(StrEnum):
    """The purpose of a sealed token. One cannot be used as the other."""

    SESSION = "session"
    TICKET = "ticket"


LIFETIME = {Purpose.SESSION: 12 * 3600.0, Purpose.TICKET: 300.0}
"""Seconds until a sealed token expires."""


class SessionSeal:
    """Seals and opens tokens."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def load(cls, settings: Settings) -> "SessionSeal":
        """Return the installation's seal. The first call creates its key. Raises NotPrivate."""
        path = settings.root / "run" / "session.key"
        private_files.make_private_folder(path.parent)
        private_files.create_private(path, secrets.token_bytes(_KEY_BYTES))
        return cls(private_files.read_private(path))

    def seal(self, token: str, purpose: Purpose) -> str:
        """Return the sealed token in URL-safe characters. It expires after the lifetime of its purpose."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = _EXPIRY.pack(time.time() + LIFETIME[purpose]) + token.encode()
        sealed = nonce + self._cipher.encrypt(nonce, content, purpose.encode())
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, sealed: str, purpose: Purpose) -> str | None:
        """Return the token. None if it has expired, has another purpose or was not sealed here."""
        try:
            content = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            opened = self._cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError):
            return None
        (expires_at,) = _EXPIRY.unpack_from(opened)
        return opened[_EXPIRY.size :].decode() if time.time() < expires_at else None
