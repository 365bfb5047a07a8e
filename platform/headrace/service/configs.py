"""A pipeline's config between its stored, sealed form and what it says."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from headrace.encryption.envelope import Binding, Envelope
from headrace.store.pipelines import SealedConfig


def seal_config(
    envelope: Envelope, config: Mapping[str, Any], *, organization_id: UUID, pipeline_id: UUID, revision: int
) -> SealedConfig:
    """Seal a config for one revision of one pipeline."""
    plaintext = json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode()
    sealed = envelope.seal(plaintext, _binding(organization_id, pipeline_id, revision))
    return SealedConfig(sealed=sealed, key_id=envelope.key_id(sealed), revision=revision)


def open_config(
    envelope: Envelope, config: SealedConfig, *, organization_id: UUID, pipeline_id: UUID
) -> dict[str, Any]:
    """Return the config as the client sent it. Raises CannotOpen."""
    plaintext = envelope.open(config.sealed, _binding(organization_id, pipeline_id, config.revision))
    opened: dict[str, Any] = json.loads(plaintext)
    return opened


def _binding(organization_id: UUID, pipeline_id: UUID, revision: int) -> Binding:
    return Binding(
        table="pipelines",
        column="config",
        organization_id=organization_id,
        row_id=pipeline_id,
        revision=revision,
    )
