"""Where the secrets of a configuration lie: found by walking its models, never by a key's look."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from headrace.connectors.contract.section import Section

Path = tuple[str | int, ...]
"""Keys and indexes that lead to a value inside a JSON document."""


def secrets(model: BaseModel, raw: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield each secret of a model with its path in `raw`, the document that the model was made from."""
    for name, field in type(model).model_fields.items():
        key = _key(name, field, raw)
        if key is not None:
            yield from _secrets(getattr(model, name), raw[key], (*path, key))


def secrets_within(value: Any) -> Iterator[str]:
    """Yield each secret that a model, or a list or mapping of models, holds."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from secrets_within([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, Mapping):
        yield from secrets_within(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_within(inner)


def addresses(model: BaseModel, path: Path = ()) -> dict[Path, Any]:
    """Return the values that decide where a configuration's secrets are sent, by field path."""
    found: dict[Path, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(model, Section) and name in model.address_fields:
            found[*path, name] = value
        if isinstance(value, BaseModel):
            found |= addresses(value, (*path, name))
    return found


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every text inside a JSON value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, Sequence):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))


def with_values(value: Any, values: Mapping[Path, Any], path: Path = ()) -> Any:
    """Copy a JSON value, with what is named by path put in the place of what was there."""
    if path in values:
        return values[path]
    if isinstance(value, Mapping):
        return {key: with_values(inner, values, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_values(inner, values, (*path, index)) for index, inner in enumerate(value)]
    return value


def _secrets(value: Any, raw: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif isinstance(value, BaseModel) and isinstance(raw, Mapping):
        yield from secrets(value, raw, path)
    elif isinstance(value, Mapping) and isinstance(raw, Mapping):
        for key in value.keys() & raw.keys():
            yield from _secrets(value[key], raw[key], (*path, key))
    elif isinstance(value, list | tuple) and isinstance(raw, Sequence):
        for index, (inner, inner_raw) in enumerate(zip(value, raw, strict=False)):
            yield from _secrets(inner, inner_raw, (*path, index))


def _key(name: str, field: FieldInfo, raw: Mapping[str, Any]) -> str | None:
    """The key that a field has in the document: its alias, one of its choices, or its own name."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias, field.alias]
    return next((key for key in (*choices, name) if isinstance(key, str) and key in raw), None)
