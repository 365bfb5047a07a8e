"""References to HashiCorp Vault: `vault://secret/data/hubspot#token`, the API's path and a key there."""

import re
from typing import ClassVar

from headrace.pipeline.references.http import ask
from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved

_FORM = re.compile(r"vault://([\w-][\w.-]*(?:/[\w-][\w.-]*)*)#([\w.-]+)")


class VaultProvider(Provider):
    """Reads key-value engines of both versions (developer.hashicorp.com/vault/api-docs/secret/kv)."""

    scheme: ClassVar[str] = "vault"

    def value(self, reference: str) -> str:
        """Return one key of one secret, its newest version."""
        address, token = self.settings.vault_address, self.settings.vault_token
        if address is None or token is None:
            raise ReferenceUnresolved(reference, "HEADRACE_VAULT_ADDRESS or HEADRACE_VAULT_TOKEN is not set.")
        form = _FORM.fullmatch(reference)
        if form is None:
            raise ReferenceUnresolved(reference, "write it as vault://path#key.")
        path, key = form.groups()
        headers = {"X-Vault-Token": token.get_secret_value(), "X-Vault-Request": "true"}
        url, seconds = f"{address.rstrip('/')}/v1/{path}", self.settings.reference_seconds
        data = ask(reference, url, headers=headers, seconds=seconds).get("data")
        if isinstance(data, dict) and "metadata" in data and isinstance(data.get("data"), dict):
            data = data["data"]  # version 2 wraps the keys
        value = data.get(key) if isinstance(data, dict) else None
        if not isinstance(value, str) or not value:
            raise ReferenceUnresolved(reference, "the secret has no text of that key.")
        return value
