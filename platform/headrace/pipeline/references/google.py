"""References to Google's Secret Manager: `gsm://secret`, with a version as `gsm://secret/versions/3`."""

import re
from functools import cached_property
from typing import ClassVar

from headrace.keepers.faults import KeeperRefused
from headrace.keepers.google import Google
from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved, not_given

_FORM = re.compile(r"gsm://(?:projects/([\w.:-]+)/secrets/)?([\w-]+)(?:/versions/(\d+|latest))?")


class GoogleProvider(Provider):
    """Reads secrets."""

    scheme: ClassVar[str] = "gsm"

    @cached_property
    def _google(self) -> Google:
        return Google(self.settings)

    def value(self, reference: str) -> str:
        """Return the payload of a version as text. The default is the newest version."""
        form = _FORM.fullmatch(reference)
        if form is None:
            raise ReferenceUnresolved(reference, "write it as gsm://secret or gsm://secret/versions/1.")
        project, secret, version = form.groups()
        try:
            return self._google.secret(project, secret, version or "latest").decode()
        except KeeperRefused as refused:
            raise not_given(reference, refused) from None
        except UnicodeDecodeError:
            raise ReferenceUnresolved(reference, "the version holds no text.") from None
