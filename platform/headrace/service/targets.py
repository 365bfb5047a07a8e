"""What a pipeline fills, as it is stored: a hash under the organization's own key."""

import logging
import secrets
from uuid import UUID, uuid4

from headrace.encryption.envelope import Binding
from headrace.errors import HeadraceError
from headrace.pipeline.document import PipelineConfig, parse_config
from headrace.pipeline.identity import keyed_hash, target_of, use_of
from headrace.service.configs import open_config
from headrace.service.platform import Platform
from headrace.store.hash_keys import HashKeyStore, SealedHashKey
from headrace.store.sealed import HASH_KEY
from headrace.store.targets import NO_TABLE, Target, Untold, UntoldTargets

_KEY_BYTES = 32
_AT_ONCE = 100
_log = logging.getLogger(__name__)


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
            hash=NO_TABLE if target is None else keyed_hash(target, self._key()),
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


def tell_targets(platform: Platform) -> int:
    """Store the tables of pipelines that an older release has stored without; return how many there were.

    Safe with concurrent writers and other processes that do the same. A pipeline whose config cannot be
    opened, or whose connector is gone, is left for the next start.
    """
    store = UntoldTargets(platform.database)
    last, told = None, 0
    while batch := store.after(last, _AT_ONCE):
        last = batch[-1].id
        told += store.tell([(each, target) for each in batch if (target := _target(platform, each))])
    return told


def _target(platform: Platform, pipeline: Untold) -> Target | None:
    try:
        raw = open_config(
            platform.envelope,
            pipeline.config,
            organization_id=pipeline.organization_id,
            pipeline_id=pipeline.id,
        )
        return Targets(platform, pipeline.organization_id).of(parse_config(raw))
    except Exception as error:  # a connector of the installation's own may raise anything; the start goes on
        code = error.code if isinstance(error, HeadraceError) else type(error).__name__
        _log.warning("The table of the pipeline %s is not known: %s.", pipeline.id, code)
        return None
