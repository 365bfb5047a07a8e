"""What a pipeline reads and what it fills, as short texts: state belongs to both (docs/exactness.md)."""

import hashlib
import hmac
import json
from typing import Any, NamedTuple, Self

from headrace.connectors import SyncMode
from headrace.pipeline.document import PipelineConfig
from headrace.records import TableUse

_WHOLE = "whole"
"""Stands for the cursor field where the table holds a whole copy of the stream."""


class Identity(NamedTuple):
    """What a cursor belongs to: data, the field that puts it in order, and a table."""

    data: str
    order: str
    table: str

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the identity that a text holds; None where an older release has written none."""
        parts = text.split(":")
        return cls(*parts) if len(parts) == len(cls._fields) else None

    def __str__(self) -> str:
        return ":".join(self)

    @property
    def is_whole(self) -> bool:
        """Whether the table holds a whole copy, which each run replaces."""
        return self.order == _WHOLE


def identity_of(config: PipelineConfig, cursor_field: str | None) -> Identity:
    """Return what the state of the pipeline belongs to. Its references have to be resolved."""
    origin = config.source.origin(config.stream)
    data = [config.source_name, config.stream, origin]
    order = _WHOLE if config.sync_mode is SyncMode.FULL_REFRESH else _short([cursor_field])
    table = target_of(config) or {"destination": config.destination_name, "table": config.stream}
    return Identity(data=_short(data), order=order, table=_short(table))


def target_of(config: PipelineConfig) -> dict[str, Any] | None:
    """Return the table that the pipeline fills; None where no two pipelines could fill one by mistake."""
    return config.destination.target(config.stream)


def keyed_hash(target: dict[str, Any], key: bytes) -> str:
    """Return the hash of a table under a key: equal tables have equal hashes."""
    return hmac.digest(key, _json(target), "sha256").hex()


def use_of(config: PipelineConfig) -> TableUse:
    """Return how the pipeline uses its table."""
    if config.adopt:
        return TableUse.ADOPT
    return TableUse.SHARED if config.shared else TableUse.OWN


def _short(value: Any) -> str:
    return hashlib.sha256(_json(value)).hexdigest()[:24]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
