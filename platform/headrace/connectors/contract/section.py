"""Configurations as models: a connector is its own configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import get_annotations
from typing import Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from headrace.connectors.contract.references import refers


class Section(BaseModel):
    """A part of a configuration. Unknown keys are refused; secrets are `SecretStr` fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    address_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that decide where secrets are sent: a masked secret is not kept when one of them changes."""

    takes_references: ClassVar[bool] = True
    """Whether a value may be a reference: it is then checked in the run's worker, which resolves it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Pydantic allows no validator where it tells the members of a union apart, which is by `type` here.
        own = [name for name in get_annotations(cls) if name != "type"]
        if own and cls.takes_references:
            validator = field_validator(*own, mode="wrap", check_fields=False)(classmethod(_or_reference))
            # Under a name of its own, so that it stands outside the validators of the class itself.
            setattr(cls, f"_or_reference_{cls.__name__}", validator)


def _or_reference(
    cls: type[Section], value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Any:
    """Let a reference pass where its text is no valid value: only what it stands for can be judged."""
    try:
        return check(value)
    except ValidationError:
        declared = cls.model_fields[str(info.field_name)].annotation
        is_secret = SecretStr in (declared, *get_args(declared))
        if isinstance(value, str) and refers(value, is_secret=is_secret):
            return SecretStr(value) if is_secret else value
        raise


class Connector(Section):
    """A configured connection to one system."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""

    def check(self) -> str:
        """Connect, authenticate, and return a sentence about what was found.

        Raises ConnectorError when the system cannot be used with this configuration.
        """
        return "Nothing to connect to."


def json_schema(connector: type[Connector]) -> Mapping[str, Any]:
    """Return the JSON Schema (2020-12) of a connector's configuration; secrets are `writeOnly`."""
    return connector.model_json_schema(by_alias=False)


def plain_values(model: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of some fields as a JSON object, without the secrets in them."""
    return {name: _plain(getattr(model, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return plain_values(value, type(value).model_fields)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items() if not isinstance(inner, SecretStr)}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, SecretStr):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
