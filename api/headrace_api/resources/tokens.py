"""API tokens over HTTP: for owners only."""

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


def _to_come(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise PydanticCustomError("past", "Give a time that is to come.")
    return moment


class NewToken(BaseModel):
    """A token to be created."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Dashboard", "role": "viewer"}]}
    )

    name: Name
    role: Role
    reads_secrets: bool | None = Field(
        default=None,
        description="Whether configs are shown to it with their secrets; null: only to an owner.",
    )
    expires_at: Annotated[AwareDatetime, AfterValidator(_to_come)] | None = None


class TokenView(BaseModel):
    """A token, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    role: Role
    reads_secrets: bool
    created_at: Timestamp
    last_used_at: Timestamp | None = Field(description="To the minute.")
    expires_at: Timestamp | None


class TokenWithSecret(TokenView):
    """A new token with its secret, which is shown this once."""

    token: str


@routes("POST", "/api/tokens", role=Role.OWNER, status=201)
def create_token(call: Call, body: NewToken) -> Answer[TokenWithSecret]:
    """Create a token. Its secret is in this answer only: what is stored is its hash."""
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
    """Revoke a token: nothing is answered to it from now on. The last owner's cannot be revoked."""
    _tokens(call).revoke(token_id)
    return nothing()


def _tokens(call: Call) -> Tokens:
    return Tokens(call.backend.platform, call.principal)
