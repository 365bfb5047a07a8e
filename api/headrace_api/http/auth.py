"""Authentication by bearer token, and authorization by role."""

import re

from starlette.requests import Request

from headrace.records import Principal, Role
from headrace.service.platform import Platform, Unauthenticated
from headrace_api.http.problems import HttpError

# RFC 6750, section 2.1. The scheme is case-insensitive (RFC 9110, section 11.1).
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]{1,500}=*)", re.IGNORECASE | re.ASCII)
_RANK = {Role.VIEWER: 0, Role.EDITOR: 1, Role.OWNER: 2}


class Forbidden(HttpError):
    """The token is valid, but its role is too low."""

    code = "token.forbidden"
    title = "Not allowed"
    hint = (
        "Use a token with a higher role: viewers read, editors also write and run, owners also manage tokens."
    )
    status = 403


def authenticate(platform: Platform, request: Request) -> Principal:
    """Return the principal whose token the request carries. Raises Unauthenticated."""
    credentials = request.headers.getlist("authorization")
    if not credentials:
        raise Unauthenticated("The request has no API token.")
    match = _BEARER.fullmatch(credentials[0])
    if match is None or len(credentials) > 1:
        raise Unauthenticated("The request needs exactly one header `Authorization: Bearer <token>`.")
    return platform.authenticate(match[1])


def require(principal: Principal, role: Role) -> None:
    """Raise Forbidden unless the principal has at least this role."""
    if _RANK[principal.role] < _RANK[role]:
        raise Forbidden(f"This needs the role {role}. The token has the role {principal.role}.")
