"""Sealing and opening the configs of pipelines."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from headrace.encryption.envelope import Envelope
from headrace.store.sealed import CONFIG, SealedConfig


def seal_config(
    envelope: Envelope, config: Mapping[str, Any], *, organization_id: UUID, pipeline_id: UUID, revision: int
) -> SealedConfig:
    """Seal a config for one revision of one pipeline."""
    plaintext = json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode()
    sealed = envelope.seal(plaintext, CONFIG.binding(organization_id, pipeline_id, revision))
    return SealedConfig(sealed=sealed, key_id=envelope.key_id(sealed), revision=revision)


def open_config(
    envelope: Envelope, config: SealedConfig, *, organization_id: UUID, pipeline_id: UUID
) -> dict[str, Any]:
    """Return the config as the client sent it. Raises CannotOpen."""
    plaintext = envelope.open(config.sealed, CONFIG.binding(organization_id, pipeline_id, config.revision))
    opened: dict[str, Any] = json.loads(plaintext)
    return opened
