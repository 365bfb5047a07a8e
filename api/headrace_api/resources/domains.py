"""Domains over HTTP."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from headrace.records import Role
from headrace.service.domains import Domains
from headrace_api.http.pagination import Paging, page_of, paged
from headrace_api.http.payloads import Name, PlainText
from headrace_api.http.preconditions import if_match, revision_tag
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer, Timestamp, created, nothing
from headrace_api.http.routing import Routes

routes = Routes(tag="Domains")

Color = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$", examples=["#2563eb"])]


class NewDomain(BaseModel):
    """A new domain."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Marketing", "color": "#2563eb"}]}
    )

    name: Name
    description: PlainText | None = None
    color: Color | None = None


@with_config(extra="forbid", json_schema_extra={"examples": [{"name": "Marketing and sales"}]})
class DomainUpdate(TypedDict, total=False):
    """The fields to change. Absent fields stay as they are."""

    name: Name
    description: PlainText | None
    color: Color | None


class DomainView(BaseModel):
    """A group of pipelines, such as a team or a business area."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str | None
    color: str | None
    created_at: Timestamp
    updated_at: Timestamp | None


@routes("POST", "/api/domains", role=Role.EDITOR, status=201, problems=(409,))
def create_domain(call: Call, body: NewDomain) -> Answer[DomainView]:
    """Create a domain. Names are unique within the organization."""
    domain = _domains(call).create(body.model_dump())
    view = DomainView.model_validate(domain)
    return created(view, f"/api/domains/{domain.id}", revision_tag(domain.revision))


@routes("GET", "/api/domains", role=Role.VIEWER)
def list_domains(call: Call, query: Paging) -> Answer[Sequence[DomainView]]:
    """List the domains, newest first."""
    page = page_of(query)
    domains, total = _domains(call).list(page)
    return paged(call.request, page, [DomainView.model_validate(domain) for domain in domains], total)


@routes("GET", "/api/domains/{domain_id:uuid}", role=Role.VIEWER, problems=(404,))
def get_domain(call: Call, domain_id: UUID) -> Answer[DomainView]:
    """Get a domain."""
    domain = _domains(call).get(domain_id)
    return Answer(body=DomainView.model_validate(domain), headers={"ETag": revision_tag(domain.revision)})


@routes("PUT", "/api/domains/{domain_id:uuid}", role=Role.EDITOR, problems=(404, 409, 412))
def update_domain(call: Call, domain_id: UUID, body: DomainUpdate) -> Answer[DomainView]:
    """Update a domain. Absent fields stay as they are."""
    domains = _domains(call)
    revision = if_match(call.request).revision(lambda: domains.get(domain_id).revision)
    domain = domains.update(domain_id, body, if_revision=revision)
    return Answer(body=DomainView.model_validate(domain), headers={"ETag": revision_tag(domain.revision)})


@routes("DELETE", "/api/domains/{domain_id:uuid}", role=Role.EDITOR, status=204, problems=(404, 409, 412))
def delete_domain(call: Call, domain_id: UUID) -> Answer[None]:
    """Delete a domain. It must have no pipelines."""
    domains = _domains(call)
    revision = if_match(call.request).revision(lambda: domains.get(domain_id).revision)
    domains.delete(domain_id, if_revision=revision)
    return nothing()


def _domains(call: Call) -> Domains:
    return Domains(call.backend.platform, call.principal)
