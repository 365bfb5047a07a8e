"""References to Google's Secret Manager: `gsm://secret`, with a version as `gsm://secret/versions/3`.

The provider uses REST with urllib3: Google's own client would bring gRPC, for one request. The account is a
service account's key file, whose tokens google-auth signs, or the machine's own account, which Google Cloud's
metadata server knows.
Sources: cloud.google.com/secret-manager/docs/reference/rest, RFC 7523,
cloud.google.com/compute/docs/metadata.
"""

import base64
import binascii
import json
import re
import time
from pathlib import Path
from typing import Any, ClassVar

from headrace.pipeline.references.http import ask
from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved

_FORM = re.compile(r"gsm://(?:projects/([\w.:-]+)/secrets/)?([\w-]+)(?:/versions/(\d+|latest))?")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_METADATA_HEADERS = {"Metadata-Flavor": "Google"}
_HOUR = 3600


class GoogleProvider(Provider):
    """Reads secrets. One access token serves all references of a configuration."""

    scheme: ClassVar[str] = "gsm"
    secret_manager: ClassVar[str] = "https://secretmanager.googleapis.com"
    metadata: ClassVar[str] = "http://metadata.google.internal"

    _token: str | None = None

    def value(self, reference: str) -> str:
        """Return the payload of a version as text. The default is the newest version."""
        form = _FORM.fullmatch(reference)
        if form is None:
            raise ReferenceUnresolved(reference, "write it as gsm://secret or gsm://secret/versions/1.")
        project, secret, version = form.groups()
        account = self._account(reference)
        project = project or self.settings.google_project or account.get("project_id")
        project = project or self._own_project(reference)
        url = f"{self.secret_manager}/v1/projects/{project}/secrets/{secret}/versions/{version or 'latest'}"
        headers = {"Authorization": f"Bearer {self._access_token(reference, account)}"}
        answer = self._ask(reference, f"{url}:access", headers=headers)
        try:
            return base64.b64decode(answer["payload"]["data"], validate=True).decode()
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise ReferenceUnresolved(reference, "the version holds no text.") from None

    def _ask(self, reference: str, url: str, **request: Any) -> dict[str, Any]:
        return ask(reference, url, seconds=self.settings.reference_seconds, **request)

    def _account(self, reference: str) -> dict[str, Any]:
        """Return the service account's key file; an empty one to use the machine's own account."""
        path = self.settings.google_credentials_file
        if path is None:
            return {}
        try:
            account: dict[str, Any] = json.loads(Path(path).read_bytes())
            return {name: account[name] for name in ("client_email", "private_key", "token_uri")} | account
        except (OSError, ValueError, KeyError, TypeError):
            raise ReferenceUnresolved(
                reference, "HEADRACE_GOOGLE_CREDENTIALS_FILE is no readable key file."
            ) from None

    def _own_project(self, reference: str) -> str:
        url = f"{self.metadata}/computeMetadata/v1/?recursive=true&alt=json"
        return str(self._ask(reference, url, headers=_METADATA_HEADERS)["project"]["projectId"])

    def _access_token(self, reference: str, account: dict[str, Any]) -> str:
        if self._token is None:
            if account:
                form = {
                    "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                    "assertion": _assertion(reference, account),
                }
                answer = self._ask(reference, account["token_uri"], headers={}, form=form)
            else:
                url = f"{self.metadata}/computeMetadata/v1/instance/service-accounts/default/token"
                answer = self._ask(reference, url, headers=_METADATA_HEADERS)
            if not isinstance(answer.get("access_token"), str):
                raise ReferenceUnresolved(reference, "Google gave no access token.")
            self._token = answer["access_token"]
        return self._token


def _assertion(reference: str, account: dict[str, Any]) -> str:
    """Return a JSON web token, signed with the account's key, that asks for an access token."""
    try:
        from google.auth import crypt, jwt
    except ImportError:
        raise ReferenceUnresolved(
            reference, "a service account needs google-auth: install headrace[google]."
        ) from None
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
        raise ReferenceUnresolved(reference, "the key file's key is no RSA key.") from None
    return token.decode()
