"""API tokens over HTTP. Only owners may use these endpoints."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from headrace.records import Role
from headrace.service.tokens import Tokens
from headrace_api.http.pagination import Paging, page_of, paged
from headrace_api.http.payloads import Name
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer, Timestamp, nothing
from headrace_api.http.routing import Routes

routes = Routes(tag="Tokens")


def _in_the_future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise PydanticCustomError("past", "Give a time in the future.")
    return moment


class NewToken(BaseModel):
    """A new token."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Dashboard", "role": "viewer"}]}
    )

    name: Name
    role: Role
    reads_secrets: bool | None = Field(
        default=None,
        description="Whether the token sees secrets in configs; null: only if its role is owner.",
    )
    expires_at: Annotated[AwareDatetime, AfterValidator(_in_the_future)] | None = None


class TokenView(BaseModel):
    """A token, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    role: Role
    reads_secrets: bool
    created_at: Timestamp
    last_used_at: Timestamp | None = Field(description="Accurate to the minute.")
    expires_at: Timestamp | None


class TokenWithSecret(TokenView):
    """A new token with its secret, which is shown only once."""

    token: str


@routes("POST", "/api/tokens", role=Role.OWNER, status=201)
def create_token(call: Call, body: NewToken) -> Answer[TokenWithSecret]:
    """Create a token. Only this answer contains its secret; the service stores a hash."""
    token, secret = _tokens(call).create(
        name=body.name, role=body.role, reads_secrets=body.reads_secrets, expires_at=body.expires_at
    )
    shown = TokenView.model_validate(token).model_dump()
    headers = {"Location": f"/api/tokens/{token.id}", "Cache-Control": "no-store"}
    return Answer(body=TokenWithSecret(**shown, token=secret), headers=headers)


@routes("GET", "/api/tokens", role=Role.OWNER)
def list_tokens(call: Call, query: Paging) -> Answer[Sequence[TokenView]]:
    """List the tokens, newest first, without their secrets."""
    page = page_of(query)
    tokens, total = _tokens(call).list(page)
    return paged(call.request, page, [TokenView.model_validate(token) for token in tokens], total)


@routes("DELETE", "/api/tokens/{token_id:uuid}", role=Role.OWNER, status=204, problems=(404, 409))
def revoke_token(call: Call, token_id: UUID) -> Answer[None]:
    """Revoke a token, which is refused from then on. The last owner's token cannot be revoked."""
    _tokens(call).revoke(token_id)
    return nothing()


def _tokens(call: Call) -> Tokens:
    return Tokens(call.backend.platform, call.principal)
