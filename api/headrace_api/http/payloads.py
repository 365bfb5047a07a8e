"""Field types that more than one resource has."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

# For OpenAPI only: `requests` refuses control characters before any model validates.
_PLAIN = {"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}
_SWITCH = {"true": True, "false": False}


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "Give at least one visible character.")
    return text


def _switch(text: object) -> object:
    if text not in _SWITCH:
        raise PydanticCustomError("boolean", "Give true or false.")
    return _SWITCH[str(text)]


Name = Annotated[
    str,
    Field(
        min_length=1, max_length=200, json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*\S.*$"}
    ),
    AfterValidator(_not_blank),
]
Tag = Annotated[
    str,
    Field(
        min_length=1, max_length=100, json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*\S.*$"}
    ),
    AfterValidator(_not_blank),
]
PlainText = Annotated[str, Field(max_length=2000, json_schema_extra=_PLAIN)]
SearchText = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=_PLAIN)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Config = Annotated[
    dict[str, Any], Field(description="The keys of the connectors. Each connector validates its own.")
]


def unique(items: list[str]) -> list[str]:
    """Return the items, none of which may be repeated."""
    if len(set(items)) != len(items):
        raise PydanticCustomError("repeated", "Give each item once.")
    return items


Tags = Annotated[
    list[Tag],
    Field(max_length=50, json_schema_extra={"uniqueItems": True}),
    AfterValidator(unique),
]
