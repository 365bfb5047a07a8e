"""Local servers that behave as HashiCorp Vault and as Google's Secret Manager with its accounts."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from http_servers.server import Answer, Asked

_TOKENS = ("Bearer ya29.of-the-key", "Bearer ya29.of-the-machine")


class WrappingKeys:
    """The keys of a key management service, by name: AES-GCM, made when they are first used."""

    def __init__(self) -> None:
        self._keys: dict[str, AESGCM] = {}

    def encrypted(self, name: str, plaintext: bytes) -> bytes:
        key = self._keys.setdefault(name, AESGCM(AESGCM.generate_key(256)))
        nonce = os.urandom(12)
        return nonce + key.encrypt(nonce, plaintext, None)

    def decrypted(self, name: str, ciphertext: bytes) -> bytes | None:
        key = self._keys.get(name)
        try:
            return None if key is None else key.decrypt(ciphertext[:12], ciphertext[12:], None)
        except InvalidTag:
            return None


def vault(secrets: Mapping[str, Mapping[str, Any]], token: str) -> Any:
    """A Vault with key-value engines of version 2 at `secret/`, of version 1 at `kv/`, and `transit/`."""
    keys = WrappingKeys()

    def transit(action: str, name: str, body: Mapping[str, str]) -> Answer:
        if action == "encrypt":
            made = keys.encrypted(name, base64.b64decode(body["plaintext"]))
            return Answer(body={"data": {"ciphertext": f"vault:v1:{base64.b64encode(made).decode()}"}})
        found = keys.decrypted(name, base64.b64decode(body["ciphertext"].removeprefix("vault:v1:")))
        if found is None:
            return Answer(status=400, body={"errors": ["invalid ciphertext: no prefix"]})
        return Answer(body={"data": {"plaintext": base64.b64encode(found).decode()}})

    def handle(asked: Asked) -> Answer:
        if asked.headers.get("x-vault-token") != token:
            return Answer(status=403, body={"errors": ["permission denied"]})
        path = asked.path.removeprefix("/v1/")
        if path.startswith("transit/"):
            return transit(*path.removeprefix("transit/").split("/"), json.loads(asked.body))
        if path not in secrets:
            return Answer(status=404, body={"errors": []})
        data: Any = dict(secrets[path])
        if path.startswith("secret/data/"):
            data = {"data": data, "metadata": {"version": 3, "destroyed": False}}
        return Answer(body={"request_id": "x", "lease_id": "", "renewable": False, "data": data})

    return handle


@dataclass
class Google:
    """A project's secrets, by name and version, and its wrapping keys; one account, whose key it knows."""

    secrets: Mapping[str, Mapping[str, bytes]]
    project: str = "acme"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    url: str = ""
    wrapping_keys: WrappingKeys = field(default_factory=WrappingKeys)

    def key_file(self) -> str:
        """The service account's key file."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": self.project,
                "client_email": "reader@acme.iam.gserviceaccount.com",
                "private_key": pem.decode(),
                "token_uri": f"{self.url}/token",
            }
        )

    def __call__(self, asked: Asked) -> Answer:
        match asked.path.strip("/").split("/"):
            case ["token"]:
                return self._exchange(asked.form)
            case ["computeMetadata", "v1", *rest]:
                return self._metadata(asked, rest)
            case ["v1", "projects", project, "secrets", name, "versions", version]:
                return self._access(asked, project, name, version)
            case ["v1", *name, last] if "cryptoKeys" in name:
                return self._wrapping(asked, "/".join([*name, last]))
        return Answer(status=404, body={"error": {"code": 404, "status": "NOT_FOUND"}})

    def _exchange(self, form: Mapping[str, str]) -> Answer:
        """RFC 7523: the assertion must be signed by the account's key, and name its claims."""
        head, claims, signature = form["assertion"].split(".")
        self.key.public_key().verify(
            _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        said = json.loads(_decoded(claims))
        is_right = (
            form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            and json.loads(_decoded(head))["alg"] == "RS256"
            and said["iss"] == "reader@acme.iam.gserviceaccount.com"
            and said["aud"] == f"{self.url}/token"
            and 0 < said["exp"] - said["iat"] <= 3600
        )
        if not is_right:
            return Answer(status=400, body={"error": "invalid_grant"})
        return Answer(body={"access_token": "ya29.of-the-key", "expires_in": 3599, "token_type": "Bearer"})

    def _metadata(self, asked: Asked, rest: list[str]) -> Answer:
        if asked.headers.get("metadata-flavor") != "Google":
            return Answer(status=403)
        if rest == ["instance", "service-accounts", "default", "token"]:
            return Answer(body={"access_token": "ya29.of-the-machine", "expires_in": 3599})
        return Answer(body={"project": {"projectId": self.project}})

    def _wrapping(self, asked: Asked, path: str) -> Answer:
        if asked.headers.get("authorization") not in _TOKENS:
            return Answer(status=401, body={"error": {"code": 401, "status": "UNAUTHENTICATED"}})
        name, _, action = path.partition(":")
        body = json.loads(asked.body)
        if action == "encrypt":
            made = self.wrapping_keys.encrypted(name, base64.b64decode(body["plaintext"]))
            return Answer(body={"name": f"{name}/cryptoKeyVersions/1", "ciphertext": _text(made)})
        found = self.wrapping_keys.decrypted(name, base64.b64decode(body["ciphertext"]))
        if found is None:
            return Answer(status=400, body={"error": {"code": 400, "status": "INVALID_ARGUMENT"}})
        return Answer(body={"plaintext": _text(found)})

    def _access(self, asked: Asked, project: str, name: str, version: str) -> Answer:
        if asked.headers.get("authorization") not in _TOKENS:
            return Answer(status=401, body={"error": {"code": 401, "status": "UNAUTHENTICATED"}})
        number = version.removesuffix(":access")
        versions = self.secrets.get(name, {})
        if project != self.project:
            return Answer(status=403, body={"error": {"code": 403, "status": "PERMISSION_DENIED"}})
        number = max(versions, default="") if number == "latest" else number
        if number not in versions:
            return Answer(status=404, body={"error": {"code": 404, "status": "NOT_FOUND"}})
        data = base64.b64encode(versions[number]).decode()
        return Answer(
            body={"name": f"projects/1/secrets/{name}/versions/{number}", "payload": {"data": data}}
        )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
