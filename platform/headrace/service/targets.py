"""What a pipeline fills, as it is stored: a hash under the organization's own key."""

import secrets
from uuid import UUID, uuid4

from headrace.encryption.envelope import Binding
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.identity import keyed_hash, target_of, use_of
from headrace.service.platform import Platform
from headrace.store.hash_keys import HashKeyStore, SealedHashKey
from headrace.store.sealed import HASH_KEY
from headrace.store.targets import Target

_KEY_BYTES = 32


class Targets:
    """Hashes the tables of one organization's pipelines."""

    def __init__(self, platform: Platform, organization_id: UUID) -> None:
        self._envelope = platform.envelope
        self._organization_id = organization_id
        self._store = HashKeyStore(platform.database, organization_id)

    def of(self, config: PipelineConfig) -> Target:
        """Return the table that a pipeline with this config fills. Raises CannotOpen."""
        target = target_of(config)
        return Target(
            hash=None if target is None else keyed_hash(target, self._key()),
            use=use_of(config),
            is_checked=config.destination.is_target_checked_early,
        )

    def _key(self) -> bytes:
        stored = self._store.get()
        if stored is None:
            self._store.put(self._new_key())
            stored = self._store.get()
        assert stored is not None, "a key has just been stored"
        return self._envelope.open(stored.sealed, self._binding(stored.id))

    def _new_key(self) -> SealedHashKey:
        key_id = uuid4()
        sealed = self._envelope.seal(secrets.token_bytes(_KEY_BYTES), self._binding(key_id))
        return SealedHashKey(id=key_id, sealed=sealed, key_id=self._envelope.key_id(sealed))

    def _binding(self, key_id: UUID) -> Binding:
        return HASH_KEY.binding(self._organization_id, key_id)
