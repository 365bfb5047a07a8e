"""The key of each organization's hashes, stored sealed."""

from dataclasses import dataclass
from uuid import UUID

from headrace.store.schema import hash_keys
from headrace.store.scoped import Scoped, insert_unless_taken


@dataclass(frozen=True, kw_only=True)
class SealedHashKey:
    """A key as it is stored."""

    id: UUID
    sealed: bytes
    key_id: str  # of the key that wraps it


class HashKeyStore(Scoped):
    """The hash key of one organization."""

    def get(self) -> SealedHashKey | None:
        """Return the key; None before the first one is stored."""
        with self._database.read() as connection:
            row = connection.execute(self._select(hash_keys)).one_or_none()
        return SealedHashKey(id=row.id, sealed=row.key, key_id=row.key_key_id) if row else None

    def put(self, key: SealedHashKey) -> None:
        """Store the key unless there is one: of two that are stored at once, the first one stays."""
        with self._database.write() as connection:
            row = {
                "id": key.id,
                "organization_id": self._organization_id,
                "key": key.sealed,
                "key_key_id": key.key_id,
            }
            insert_unless_taken(connection, hash_keys, row)
