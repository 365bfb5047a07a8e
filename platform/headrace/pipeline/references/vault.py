"""References to HashiCorp Vault: `vault://secret/data/hubspot#token`, the API's path and a key there."""

import re
from typing import ClassVar

from headrace.keepers.faults import KeeperRefused
from headrace.keepers.vault import Vault
from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved, not_given

_FORM = re.compile(r"vault://([\w-][\w.-]*(?:/[\w-][\w.-]*)*)#([\w.-]+)")


class VaultProvider(Provider):
    """Reads key-value engines of both versions."""

    scheme: ClassVar[str] = "vault"

    def value(self, reference: str) -> str:
        """Return one key of one secret, its newest version."""
        try:
            vault = Vault(self.settings)
            form = _FORM.fullmatch(reference)
            if form is None:
                raise ReferenceUnresolved(reference, "write it as vault://path#key.")
            path, key = form.groups()
            value = vault.secret(path).get(key)
        except KeeperRefused as refused:
            raise not_given(reference, refused) from None
        if not isinstance(value, str) or not value:
            raise ReferenceUnresolved(reference, "the secret has no text of that key.")
        return value
