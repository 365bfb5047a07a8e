"""An API as a REST source is told about it: its servers, its credentials, its streams."""

import re
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Unreadable
from headrace.connectors.kit.http.authentication import Authentication
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.rest.config import Endpoint, Resource

_BASE_URL = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#]*)?", re.IGNORECASE)


def check_base_url(url: str) -> str:
    """Return the URL. Raises a validation error when it says more than where an API is."""
    if not _BASE_URL.fullmatch(url):
        raise PydanticCustomError("base_url", "Give an http or https URL without user, query and fragment.")
    return url


BaseUrl = Annotated[str, AfterValidator(check_base_url)]


class RestApi(Endpoint):
    """A REST API and its streams.

    With `resources` each of them is a stream, and what is said of an endpoint beside them holds for all. Else
    the endpoint is the one stream, under whatever name it is asked for.
    """

    address_fields: ClassVar[tuple[str, ...]] = ("base_url", "allowed_hosts")

    base_url: BaseUrl = Field(description="Where the API is, such as 'https://api.example.com/v1'.")
    authentication: Authentication | None = None
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further hosts that links to next pages may lead to; credentials are sent there."
    )
    limits: Limits = Limits()
    primary_key: tuple[str, ...] = Field((), description="Fields that tell records apart, for merging.")
    resources: tuple[Resource, ...] = Field((), description="The streams, where there are several.")

    @field_validator("primary_key", mode="before")
    @classmethod
    def _one_key_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_resources(self) -> Self:
        if self.resources and (self.path or self.primary_key):
            raise PydanticCustomError("resources", "With `resources`, each has its own path and primary_key.")
        if self.parents:
            raise PydanticCustomError("parents", "A stream per parent's record needs `resources`.")
        by_name = {resource.name: resource for resource in self.resources}
        if len(by_name) < len(self.resources):
            raise PydanticCustomError("resources", "Two resources have the same name.")
        for resource in self.resources:
            _check_parents(resource, by_name)
        return self

    def resource(self, stream: str) -> Resource:
        """Return a stream with all that holds for it. Raises Unreadable when it is none of the resources."""
        if not self.resources:
            return Resource(name=stream, endpoint=_merged(self), primary_key=self.primary_key)
        for resource in self.resources:
            if resource.name == stream:
                return resource.model_copy(update={"endpoint": _merged(self, resource.endpoint)})
        raise Unreadable(f"There is no stream {stream!r}.")


def _check_parents(resource: Resource, by_name: dict[str, Resource]) -> None:
    """Refuse placeholders that name no stream, two streams, or one that is asked for by this one."""
    if len(resource.endpoint.parents) > 1:
        raise PydanticCustomError("parents", "A stream can be asked for by one parent only.")
    seen = {resource.name}
    parent = resource.parent
    while parent is not None:
        if parent not in by_name or parent in seen:
            raise PydanticCustomError("parents", "{resources.NAME.field} must name a parent stream.")
        seen.add(parent)
        parent = by_name[parent].parent


def _merged(defaults: Endpoint, own: Endpoint | None = None) -> Endpoint:
    """Return an endpoint of its own keys, else of the defaults'; parameters and headers add up."""
    given = {name: getattr(own, name) for name in own.model_fields_set} if own else {}
    base = {name: getattr(defaults, name) for name in Endpoint.model_fields}
    for name in ("params", "headers"):
        given[name] = base[name] | given.get(name, {})
    return Endpoint.model_construct(**base | given)
