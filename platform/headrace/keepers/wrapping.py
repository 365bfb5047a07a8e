"""Keepers that wrap the keys of a keyring: Vault's transit engine and Google's Key Management Service.

The keeper's own key never leaves it. A process asks the keeper once for each key when it reads the keyring,
and never for a stored secret.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from headrace.encryption.keyring_file import KeyringError, Unwrap, Wrap, WrappedKey, key_id
from headrace.keepers.faults import KeeperRefused
from headrace.settings import Settings

_VAULT = re.compile(r"vault://([\w.-]+(?:/[\w.-]+)*/keys/[\w.-]+)")
_GOOGLE = re.compile(
    r"gcpkms://(projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+)"
)  # the address that Tink and Terraform use


class KeeperUnusable(KeyringError):
    """The keeper of a wrapped key did not wrap or unwrap it."""

    code = "keyring.keeper"
    title = "Keeper of keys not usable"
    hint = "Check the keeper's settings, that it answers, and that it lets this token use its key."


class Keeper(Protocol):
    """Wraps and unwraps with the key of that name. Raises KeeperRefused."""

    def wrap(self, name: str, key: bytes) -> str: ...
    def unwrap(self, name: str, wrapped: str) -> bytes: ...


def wrapping(settings: Settings, keeper: str) -> Wrap:
    """Return what wraps keys with the keeper's key at an address. It raises KeeperUnusable.

    Addresses: `vault://transit/keys/NAME`, with the mount's path in place of `transit`, and
    `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K`.
    """

    def wrap(key: bytes) -> WrappedKey:
        with _keeper(settings, keeper) as (found, name):
            return WrappedKey(id=key_id(key), keeper=keeper, text=found.wrap(name, key))

    return wrap


def unwrapping(settings: Settings) -> Unwrap:
    """Return what unwraps keys by asking their keepers. It raises KeeperUnusable."""

    def unwrap(wrapped: WrappedKey) -> bytes:
        with _keeper(settings, wrapped.keeper) as (found, name):
            return found.unwrap(name, wrapped.text)

    return unwrap


@contextmanager
def _keeper(settings: Settings, address: str) -> Iterator[tuple[Keeper, str]]:
    """Give the keeper of an address, and the name of its key."""
    # Imported here: most keyrings have no keeper, and need no HTTP.
    try:
        if match := _VAULT.fullmatch(address):
            from headrace.keepers.vault import Vault

            yield Vault(settings), match[1]
        elif match := _GOOGLE.fullmatch(address):
            from headrace.keepers.google import Google

            yield Google(settings), match[1]
        else:
            raise KeeperRefused("it is no address of a keeper that docs/encryption.md names.")
    except KeeperRefused as refused:
        raise KeeperUnusable(f"{address[:200]}: {refused}") from None
