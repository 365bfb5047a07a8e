"""HashiCorp Vault: its API, its key-value engines and its transit engine.

Sources: developer.hashicorp.com/vault/api-docs/secret/kv and /secret/transit.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from headrace.keepers.faults import KeeperRefused
from headrace.keepers.http import ask
from headrace.settings import Settings


class Vault:
    """The Vault that the settings name, with the token that they give. Raises KeeperRefused without both."""

    def __init__(self, settings: Settings) -> None:
        if settings.vault_address is None or settings.vault_token is None:
            raise KeeperRefused("HEADRACE_VAULT_ADDRESS or HEADRACE_VAULT_TOKEN is not set.")
        self._url = f"{settings.vault_address.rstrip('/')}/v1"
        self._headers = {"X-Vault-Token": settings.vault_token.get_secret_value(), "X-Vault-Request": "true"}
        self._seconds = settings.reference_seconds

    def secret(self, path: str) -> Mapping[str, Any]:
        """Return a secret of a key-value engine, its newest version. Raises KeeperRefused."""
        data = self._data(path)
        if "metadata" in data and isinstance(data.get("data"), dict):
            data = data["data"]  # version 2 wraps the keys
        return data

    def wrap(self, name: str, key: bytes) -> str:
        """Return a key encrypted by a key of the transit engine, such as `transit/keys/headrace`."""
        answer = self._data(_action(name, "encrypt"), plaintext=base64.b64encode(key).decode())
        wrapped = answer.get("ciphertext")
        if not isinstance(wrapped, str) or not wrapped.startswith("vault:"):
            raise KeeperRefused("the answer has no ciphertext.")
        return wrapped

    def unwrap(self, name: str, wrapped: str) -> bytes:
        """Return the key that `wrap` has encrypted. Raises KeeperRefused."""
        answer = self._data(_action(name, "decrypt"), ciphertext=wrapped)
        try:
            return base64.b64decode(answer["plaintext"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise KeeperRefused("the answer has no plaintext.") from None

    def _data(self, path: str, **document: str) -> dict[str, Any]:
        answer = ask(
            f"{self._url}/{path}", headers=self._headers, seconds=self._seconds, document=document or None
        )
        data = answer.get("data")
        return data if isinstance(data, dict) else {}


def _action(name: str, action: str) -> str:
    mount, _, key = name.rpartition("/keys/")
    return f"{mount}/{action}/{key}"
