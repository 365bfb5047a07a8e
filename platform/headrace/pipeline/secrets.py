"""The secrets of a configuration: masked for readers, and put back where a client sends the mask."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Copy a configuration with a mask in the place of every secret; a reference to one is none itself.

    What cannot be understood (a connector that is gone, a section that other tools read) is masked whole.
    """
    hidden = [path for path, text in stored_secrets(raw).items() if not is_reference(text)]
    return dict(with_values(raw, dict.fromkeys(hidden, MASK)))


def restore_secrets(submitted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Put the stored secrets where a submitted configuration has the mask.

    Raises InvalidConfig where nothing is stored for a mask, where the connector or a field that decides where
    the secret is sent has changed, and where the outcome is not a valid configuration.
    """
    known = stored_secrets(stored)
    masked = [path for path, text in leaves(submitted) if text == MASK]
    restored = dict(with_values(submitted, {path: known[path] for path in masked if path in known}))
    faults = Faults()
    for path in masked:
        if path not in known:
            faults.add(path, "config.nothing_stored", "There is no stored secret for this mask.")
    if masked and not faults.errors:
        _check_addresses(masked, restored, stored, faults)
    if faults.errors:
        raise InvalidConfig(faults.errors)
    return restored


def secret_values(config: PipelineConfig) -> tuple[str, ...]:
    """Return the secrets that a run of the pipeline holds, to be masked wherever it writes text."""
    holders = (config.source, config.destination, config.transforms)
    held = [secret for holder in holders for secret in secrets_within(holder)]
    return tuple(dict.fromkeys((*held, *config.resolved)))


def stored_secrets(raw: Mapping[str, Any]) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for path, model in _models(raw).items():
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
    """The parts of a document by the path of their own keys; None where they cannot be made."""
    faults = Faults()
    _, source = read_source(raw, faults)
    _, destination = read_destination(raw, faults)
    found: dict[Path, Section | None] = {("source",): source, ("destination", "config"): destination}
    transforms = raw.get("transforms")
    for index, transform in enumerate(transforms if isinstance(transforms, list) else ()):
        found["transforms", index] = faults.check(Transform, transform)
    return found


def _is_plain(path: Path) -> bool:
    """Whether a value of a section that is not understood can hold no secret."""
    return len(path) == 2 and path[1] in SourceKeys.model_fields


def _check_addresses(
    masked: list[Path], restored: Mapping[str, Any], stored: Mapping[str, Any], faults: Faults
) -> None:
    parse_config(restored)
    before, after = _models(stored), _models(restored)
    for section, model in after.items():
        old = before.get(section)
        kept = [path for path in masked if path[: len(section)] == section]
        if model is None or (type(old) is type(model) and addresses(old) == addresses(model)):
            continue
        for path in kept:
            detail = "Give the secret again: where it would be sent to has changed."
            faults.add(path, "config.address_changed", detail)
