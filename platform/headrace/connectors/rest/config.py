"""What a REST source is told about an API. Keys are those of dlt's `rest_api` where they mean the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Section
from headrace.connectors.kit.http.messages import Method
from headrace.connectors.rest.paginators import Auto, Paginator
from headrace.connectors.rest.paths import JsonPath
from headrace.connectors.rest.templates import placeholders

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SECRET_WORDS = frozenset(
    {"key", "apikey", "token", "secret", "password", "passwd", "pwd", "auth", "authorization", "credential"}
    | {"credentials", "signature", "sig", "session", "cookie", "jwt", "bearer", "appid"}
)
_PLAIN_HEADERS = frozenset(
    {"accept", "accept-charset", "accept-language", "cache-control", "content-type", "origin", "prefer"}
    | {"referer", "user-agent", "x-requested-with"}
)


def looks_secret(name: str) -> bool:
    """Whether a parameter's or key's name says that its value is a credential."""
    return any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(name))


def _hide(value: Any) -> Any:
    """Copy a JSON value with the texts under secret-looking keys as secrets."""
    if isinstance(value, Mapping):
        return {
            key: SecretStr(inner) if isinstance(inner, str) and looks_secret(str(key)) else _hide(inner)
            for key, inner in value.items()
        }
    return [_hide(inner) for inner in value] if isinstance(value, list) else value


def _hide_headers(value: Any) -> Any:
    """Every header but the well-known harmless ones and `...-Version` may be a credential."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: SecretStr(text) if isinstance(text, str) and not _is_plain_header(str(name)) else text
        for name, text in value.items()
    }


def _is_plain_header(name: str) -> bool:
    return name.lower() in _PLAIN_HEADERS or name.lower().endswith("-version")


def _check_path(path: str) -> str:
    if "://" in path or re.search(r"[?#\s\\]", path) or path.startswith("//"):
        raise PydanticCustomError(
            "path", "Give a path below base_url; what follows a question mark belongs into `params`."
        )
    return path


Scalar = str | SecretStr | int | float | bool | None
Headers = Annotated[dict[str, str | SecretStr], BeforeValidator(_hide_headers)]
Params = Annotated[dict[str, Scalar | list[Scalar]], BeforeValidator(_hide)]
Body = Annotated[dict[str, Any], BeforeValidator(_hide)]


class Incremental(Section):
    """How to ask for what changed since the last run."""

    cursor_path: str | None = Field(
        None, pattern=r"^[^.\[\]$]+$", description="Field of a record that grows with each change."
    )
    start_param: str | None = Field(None, description="Parameter that takes the last cursor.")
    end_param: str | None = Field(None, description="Parameter that takes the end: end_value, or now.")
    initial_value: str | int | float | None = Field(None, description="Where the first run starts.")
    end_value: str | int | float | None = Field(None, description="Where every run ends.")
    format: Literal["iso", "date", "unix", "unix_ms"] | str = Field(
        "iso", pattern=r"^(iso|date|unix|unix_ms|.*%[a-zA-Z].*)$", description="Of times in parameters."
    )
    row_order: Literal["asc", "desc"] | None = Field(
        None, description="Order of the records by the cursor, where the API promises one."
    )


class ResponseAction(Section):
    """What to do when an answer has a certain status."""

    status_code: int = Field(ge=400, le=499)
    action: Literal["ignore"] = Field(
        "ignore", description="'ignore' takes the answer as an empty last page."
    )


class Endpoint(Section):
    """What to ask for, and how to read what comes."""

    path: Annotated[str, AfterValidator(_check_path)] = Field("", description="Path below base_url.")
    method: Method = "GET"
    params: Params = Field({}, description="Parameters of the query.")
    headers: Headers = Field({}, description="Headers to send with each request.")
    json_body: Body | None = Field(None, alias="json", description="Body of a POST request.")
    data_selector: JsonPath | None = Field(
        None, description="Where the answer has the records; unset: the list that it is or has."
    )
    paginator: Paginator = Field(Auto(type="auto"), description="How the API splits a list into pages.")
    incremental: Incremental | None = None
    response_actions: tuple[ResponseAction, ...] = ()
    max_pages: int | None = Field(None, ge=1, description="Pages to read at most; of each parent's record.")
    repeated_pages: Literal["fail", "allow"] = Field(
        "fail", description="Whether a page with the records of an earlier one fails the run."
    )

    @property
    def ignored_statuses(self) -> frozenset[int]:
        """The statuses that count as an empty last page."""
        return frozenset(action.status_code for action in self.response_actions)

    @property
    def parents(self) -> dict[str, set[str]]:
        """The streams whose records the request is made of, each with the fields that it takes."""
        found: dict[str, set[str]] = {}
        for name in placeholders([self.path, self.params, self.json_body]):
            kind, _, rest = name.partition(".")
            if kind == "resources":
                stream, _, field = rest.partition(".")
                found.setdefault(stream, set()).add(field)
        return found


EndpointOrPath = Annotated[
    Endpoint, BeforeValidator(lambda value: {"path": value} if isinstance(value, str) else value)
]


class Resource(Section):
    """One stream of an API."""

    name: str = Field(min_length=1, max_length=200)
    endpoint: EndpointOrPath
    primary_key: tuple[str, ...] = ()
    include_from_parent: tuple[str, ...] = Field(
        (), description="Fields of the parent's record to add as _<parent>_<field>."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value, "endpoint": value} if isinstance(value, str) else value

    @field_validator("primary_key", mode="before")
    @classmethod
    def _one_key_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def parent(self) -> str | None:
        """The stream whose records this one is asked for by."""
        return next(iter(self.endpoint.parents), None)
