"""A Google service account's key file as a field of a configuration."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError


def _object_as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _is_a_key_file(value: SecretStr) -> SecretStr:
    try:
        is_key = isinstance(json.loads(value.get_secret_value()), dict)
    except ValueError:
        is_key = False
    if not is_key:
        raise PydanticCustomError("not_a_key_file", "This is not the JSON of a service account's key file.")
    return value


ServiceAccountKey = Annotated[SecretStr, BeforeValidator(_object_as_text), AfterValidator(_is_a_key_file)]
"""The key file's JSON, as text or as an object."""
