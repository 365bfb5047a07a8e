"""The secrets of a configuration: masked for readers, and restored if a client sends the mask back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors import Section
from headrace.connectors.contract.references import is_reference
from headrace.connectors.contract.secrets import Path, addresses, leaves, secrets, secrets_within, with_values
from headrace.masking import MASK
from headrace.pipeline.document import (
    UNUSED,
    PipelineConfig,
    SourceKeys,
    own_keys,
    parse_config,
    read_destination,
    read_source,
)
from headrace.pipeline.faults import Faults, InvalidConfig
from headrace.pipeline.transforms import Transform


def mask_secrets(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a configuration and mask its secrets. A reference is not a secret itself.

    Sections without a model (a connector that is not installed, keys of other tools) are masked as a whole.
    """
    hidden = [path for path, text in stored_secrets(raw).items() if not is_reference(text)]
    return dict(with_values(raw, dict.fromkeys(hidden, MASK)))


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A submitted configuration with its secrets, as a document and as what was made from it."""

    raw: Mapping[str, Any]
    config: PipelineConfig


def restore_secrets(submitted: Mapping[str, Any], stored: Mapping[str, Any]) -> Restored:
    """Put the stored secrets where a submitted configuration has the mask, and check the outcome.

    Each of the two documents is parsed once at most; the stored one only where there is a mask.
    Raises InvalidConfig where nothing is stored for a mask, where the connector or a field that decides where
    the secret is sent has changed, and where the outcome is not a valid configuration.
    """
    masked = [path for path, text in leaves(submitted) if text == MASK]
    if not masked:
        return Restored(raw=submitted, config=parse_config(submitted))
    before = _models(stored)
    known = _secrets(stored, before)
    faults = Faults()
    for path in masked:
        if path not in known:
            faults.add(path, "config.nothing_stored", "There is no stored secret for this mask.")
    if faults.errors:
        raise InvalidConfig(faults.errors)
    raw = dict(with_values(submitted, {path: known[path] for path in masked}))
    config = parse_config(raw)
    _check_addresses(masked, before, config, faults)
    if faults.errors:
        raise InvalidConfig(faults.errors)
    return Restored(raw=raw, config=config)


def secret_values(config: PipelineConfig) -> tuple[str, ...]:
    """Return the secrets that a run must mask in all text that it writes."""
    holders = (config.source, config.destination, config.transforms)
    held = [secret for holder in holders for secret in secrets_within(holder)]
    return tuple(dict.fromkeys((*held, *config.resolved)))


def stored_secrets(raw: Mapping[str, Any]) -> dict[Path, str]:
    """Return the secrets of a configuration by path. All texts in sections without a model are secret."""
    return _secrets(raw, _models(raw))


def _secrets(raw: Mapping[str, Any], models: Mapping[Path, Section | None]) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for path, model in models.items():
        section = raw.get(str(path[0]))
        if path[0] == "transforms":
            step = raw["transforms"][path[1]]
            found |= dict(secrets(model, step, path) if model else leaves(step, path))
        elif model is None:
            found |= {where: text for where, text in leaves(section, path[:1]) if not _is_plain(where)}
        elif isinstance(section, Mapping):
            own = section.get("config", {}) if "config" in path else own_keys(section)
            found |= dict(secrets(model, own, path))
    for key in UNUSED:
        found |= dict(leaves(raw.get(key), (key,)))
    return found


def _models(raw: Mapping[str, Any]) -> dict[Path, Section | None]:
    """Return the models of a document by the path of their keys. None: the model is invalid or unknown."""
    faults = Faults()
    _, source = read_source(raw, faults)
    _, destination = read_destination(raw, faults)
    found: dict[Path, Section | None] = {("source",): source, ("destination", "config"): destination}
    transforms = raw.get("transforms")
    for index, transform in enumerate(transforms if isinstance(transforms, list) else ()):
        found["transforms", index] = faults.check(Transform, transform)
    return found


def _is_plain(path: Path) -> bool:
    """Whether a value of a section without a model is certainly no secret."""
    return len(path) == 2 and path[1] in SourceKeys.model_fields


def _check_addresses(
    masked: list[Path], before: Mapping[Path, Section | None], config: PipelineConfig, faults: Faults
) -> None:
    """Note each masked secret that would be sent to another place than the stored one was."""
    after: dict[Path, Section] = {
        ("source",): config.source,
        ("destination", "config"): config.destination,
        **{("transforms", index): step for index, step in enumerate(config.transforms)},
    }
    for section, model in after.items():
        old = before.get(section)
        kept = [path for path in masked if path[: len(section)] == section]
        if type(old) is type(model) and addresses(old) == addresses(model):
            continue
        for path in kept:
            detail = "Give the secret again: the address that it is sent to has changed."
            faults.add(path, "config.address_changed", detail)
