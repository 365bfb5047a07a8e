"""Credentials of a configuration as headers of requests; OAuth's access tokens are fetched when needed."""

import base64
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from headrace.connectors import Unauthorized
from headrace.connectors.contract.secrets import secrets_within
from headrace.connectors.kit.arrow.json_text import NotJSON
from headrace.connectors.kit.http.authentication import (
    Authentication,
    BasicAuthentication,
    CookiesAuthentication,
    OAuthAuthentication,
    OAuthParams,
)
from headrace.connectors.kit.http.client import Authorization, HttpClient
from headrace.connectors.kit.http.messages import Request
from headrace.connectors.kit.network.limits import Limits

_EARLY = 60.0  # seconds before its end at which a token is no longer used
_LIFETIME = 1800.0  # seconds, where the answer names none


class TokenNotGiven(Unauthorized):
    """The token endpoint answered without an access token, or refused to."""

    code = "connector.token_not_given"
    title = "No access token"
    hint = "Check token_refresh_endpoint, the client's credentials and that the refresh token still works."


def authenticated_client(
    authentication: Authentication | None,
    *,
    limits: Limits | None = None,
    secrets: Iterable[str] = (),
    log: logging.Logger | None = None,
) -> HttpClient:
    """Return a client whose requests carry the credentials; `secrets` are further texts to keep quiet."""
    limits = limits or Limits()
    known = (*secrets, *secrets_within(authentication))
    if isinstance(authentication, OAuthAuthentication):
        tokens = HttpClient(limits=limits, secrets=known, log=log)
        authorization: Authorization = OAuthAuthorization(authentication.params, tokens)
    else:
        authorization = Authorization(_headers(authentication))
    return HttpClient(authorization=authorization, limits=limits, secrets=known, log=log)


class OAuthAuthorization(Authorization):
    """An access token, exchanged for a refresh token (RFC 6749, section 6) before it ends and after a 401.

    A refresh token that the answer replaces is used from then on, for as long as this object lives.
    """

    def __init__(self, params: OAuthParams, client: HttpClient) -> None:
        super().__init__()
        self._params, self._client = params, client
        self._refresh_token = params.refresh_token.get_secret_value()
        self._ends = 0.0  # of the monotonic clock
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """Return the access token's header. Raises TokenNotGiven, and what the client raises."""
        with self._lock:
            if time.monotonic() >= self._ends:
                self._exchange()
            return self._headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Fetch a new token unless another thread has done so since."""
        with self._lock:
            if self._headers == refused:
                self._exchange()
        return True

    def close(self) -> None:
        """End the wait for a token."""
        self._client.close()

    def _exchange(self) -> None:
        request = Request(url=self._params.token_refresh_endpoint, method="POST", form=self._form())
        answer = self._client.send(request, accept=(400, 401, 403))
        if answer.status >= 400:
            raise TokenNotGiven(f"The token endpoint answered {answer.status}.")
        try:
            tokens = answer.json()
        except NotJSON:
            raise TokenNotGiven("The token endpoint answered with something that is not JSON.") from None
        self._take(tokens)

    def _form(self) -> dict[str, str]:
        params = self._params
        form = {
            "grant_type": params.grant_type,
            "client_id": params.client_id,
            "client_secret": params.client_secret.get_secret_value(),
        }
        if params.grant_type == "refresh_token":
            form["refresh_token"] = self._refresh_token
        if params.scopes:
            form["scope"] = " ".join(params.scopes)
        return form | {key: value.get_secret_value() for key, value in params.refresh_request_body.items()}

    def _take(self, tokens: Any) -> None:
        for key in filter(None, self._params.response_field_path.split(".")):
            tokens = tokens.get(key) if isinstance(tokens, dict) else None
        token = tokens.get(self._params.access_token_name) if isinstance(tokens, dict) else None
        if not isinstance(token, str) or not token:
            raise TokenNotGiven("The token endpoint's answer holds no access token.")
        lifetime = _seconds(tokens.get(self._params.expires_in_name))
        # A token that lives shorter than a minute is used for half its life, or none would ever be used.
        self._ends = time.monotonic() + max(lifetime - _EARLY, lifetime / 2)
        self._headers = {"Authorization": f"Bearer {token}"}
        replaced = tokens.get("refresh_token")
        if isinstance(replaced, str) and replaced:
            self._refresh_token = replaced


def _headers(authentication: Authentication | None) -> dict[str, str]:
    """The headers of credentials that are sent as they are."""
    if authentication is None or isinstance(authentication, OAuthAuthentication):
        return {}
    if isinstance(authentication, BasicAuthentication):
        basic = authentication.params
        pair = f"{basic.username}:{basic.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    if isinstance(authentication, CookiesAuthentication):
        session = authentication.params
        cookies = "; ".join(f"{key}={value.get_secret_value()}" for key, value in session.cookies.items())
        headers = {name: value.get_secret_value() for name, value in session.headers.items()}
        return headers | {"Cookie": cookies}
    token = authentication.params
    return {token.auth_header: f"{token.auth_method} {token.token.get_secret_value()}".strip()}


def _seconds(value: Any) -> float:
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return _LIFETIME
