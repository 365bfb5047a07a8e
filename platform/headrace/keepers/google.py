"""Google Cloud: access tokens, the Secret Manager and the Key Management Service, by REST with urllib3.

Google's own clients would bring gRPC, for a few requests. The account is a service account's key file, whose
tokens google-auth signs, or the machine's own account, which Google Cloud's metadata server knows.
Sources: cloud.google.com/secret-manager/docs/reference/rest, cloud.google.com/kms/docs/reference/rest,
RFC 7523, cloud.google.com/compute/docs/metadata.
"""

import base64
import binascii
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from headrace.keepers.faults import KeeperRefused
from headrace.keepers.http import ask
from headrace.settings import Settings

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_METADATA_HEADERS = {"Metadata-Flavor": "Google"}
_HOUR = 3600


class Google:
    """The account of the settings, or the machine's. One access token serves all requests of an object."""

    secret_manager: ClassVar[str] = "https://secretmanager.googleapis.com"
    key_management: ClassVar[str] = "https://cloudkms.googleapis.com"
    metadata: ClassVar[str] = "http://metadata.google.internal"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token: str | None = None
        self._account: Mapping[str, Any] | None = None

    def secret(self, project: str | None, secret: str, version: str) -> bytes:
        """Return the payload of a secret's version; `latest` is the newest one. Raises KeeperRefused."""
        headers = self._headers()  # first: without an account there is no project either
        project = project or self._settings.google_project or self._key_file().get("project_id")
        project = project or self._own_project()
        url = f"{self.secret_manager}/v1/projects/{project}/secrets/{secret}/versions/{version}"
        answer = self._ask(f"{url}:access", headers=headers)
        return _bytes(answer.get("payload", {}), "data")

    def wrap(self, name: str, key: bytes) -> str:
        """Return a key encrypted by a key of the Key Management Service, `projects/…/cryptoKeys/…`."""
        document = {"plaintext": base64.b64encode(key).decode()}
        url = f"{self.key_management}/v1/{name}:encrypt"
        return base64.b64encode(
            _bytes(self._ask(url, headers=self._headers(), document=document), "ciphertext")
        ).decode()

    def unwrap(self, name: str, wrapped: str) -> bytes:
        """Return the key that `wrap` has encrypted. Raises KeeperRefused."""
        url = f"{self.key_management}/v1/{name}:decrypt"
        return _bytes(self._ask(url, headers=self._headers(), document={"ciphertext": wrapped}), "plaintext")

    def _ask(self, url: str, **request: Any) -> dict[str, Any]:
        return ask(url, seconds=self._settings.reference_seconds, **request)

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            answer = self._new_token(self._key_file())
            if not isinstance(answer.get("access_token"), str):
                raise KeeperRefused("Google gave no access token.")
            self._token = answer["access_token"]
        return {"Authorization": f"Bearer {self._token}"}

    def _key_file(self) -> Mapping[str, Any]:
        """Return the service account's key file; an empty one to use the machine's own account."""
        if self._account is None:
            path = self._settings.google_credentials_file
            self._account = {} if path is None else _account(path)
        return self._account

    def _own_project(self) -> str:
        url = f"{self.metadata}/computeMetadata/v1/?recursive=true&alt=json"
        return str(self._ask(url, headers=_METADATA_HEADERS)["project"]["projectId"])

    def _new_token(self, account: Mapping[str, Any]) -> dict[str, Any]:
        if account:
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": _assertion(account),
            }
            return self._ask(account["token_uri"], headers={}, form=form)
        url = f"{self.metadata}/computeMetadata/v1/instance/service-accounts/default/token"
        return self._ask(url, headers=_METADATA_HEADERS)


def _account(path: Path) -> dict[str, Any]:
    try:
        account: dict[str, Any] = json.loads(path.read_bytes())
        return {name: account[name] for name in ("client_email", "private_key", "token_uri")} | account
    except (OSError, ValueError, KeyError, TypeError):
        raise KeeperRefused("HEADRACE_GOOGLE_CREDENTIALS_FILE is no readable key file.") from None


def _assertion(account: Mapping[str, Any]) -> str:
    """Return a JSON web token, signed with the account's key, that asks for an access token."""
    try:
        from google.auth import crypt, jwt
    except ImportError:
        raise KeeperRefused("a service account needs google-auth: install headrace[google].") from None
    now = int(time.time())
    claims = {
        "iss": account["client_email"],
        "scope": _SCOPE,
        "aud": account["token_uri"],
        "iat": now,
        "exp": now + _HOUR,
    }
    try:
        # google-auth has no types.
        signer = crypt.RSASigner.from_service_account_info(account)  # type: ignore[no-untyped-call]
        token: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        raise KeeperRefused("the key file's key is no RSA key.") from None
    return token.decode()


def _bytes(answer: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(answer[name], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise KeeperRefused(f"the answer has no {name}.") from None
