"""The ways to authenticate against an HTTP API, in the shape `{"type": ..., "params": {...}}`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr

from headrace.connectors import Section


class TokenParams(Section):
    """A token that is sent in a header with each request."""

    token: SecretStr = Field(min_length=1)
    auth_method: str = Field("Bearer", description="Word before the token in the header.")
    auth_header: str = Field("Authorization", description="Name of the header.")


class BasicParams(Section):
    """A name and a password, sent with each request."""

    username: str
    password: SecretStr


class OAuthParams(Section):
    """A refresh token, exchanged for an access token when the last one has run out."""

    address_fields: ClassVar[tuple[str, ...]] = ("token_refresh_endpoint",)

    token_refresh_endpoint: str
    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr
    scopes: tuple[str, ...] = ()
    grant_type: str = "refresh_token"
    access_token_name: str = "access_token"
    expires_in_name: str = "expires_in"
    refresh_request_body: dict[str, SecretStr] = Field(
        {}, description="More keys for the body of the exchange."
    )
    response_field_path: str = Field("", description="Dotted path to the tokens in the answer.")


class CookieParams(Section):
    """Cookies of a session, and headers to send with them."""

    cookies: dict[str, SecretStr]
    headers: dict[str, SecretStr] = Field({})


class ApiKeyAuthentication(Section):
    """An API key."""

    type: Literal["api_key"]
    params: TokenParams


class BearerAuthentication(Section):
    """A bearer token."""

    type: Literal["bearer"]
    params: TokenParams


class BasicAuthentication(Section):
    """HTTP Basic."""

    type: Literal["basic"]
    params: BasicParams


class OAuthAuthentication(Section):
    """OAuth 2 with a refresh token (RFC 6749, section 6)."""

    type: Literal["oauth"]
    params: OAuthParams


class CookiesAuthentication(Section):
    """A session's cookies."""

    type: Literal["cookies"]
    params: CookieParams


Authentication = Annotated[
    ApiKeyAuthentication
    | BearerAuthentication
    | BasicAuthentication
    | OAuthAuthentication
    | CookiesAuthentication,
    Field(discriminator="type"),
]
