"""Requests that are sent again: the first answer is kept for a day, sealed, since it may hold a secret."""

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from headrace.encryption.envelope import Binding
from headrace.records import Principal
from headrace.service.platform import Platform
from headrace.store.idempotency import IdempotencyStore
from headrace.store.sealed import ANSWER


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer as it was first given."""

    status: int
    headers: dict[str, str]
    body: str


class Idempotency:
    """The Idempotency-Keys of one principal's organization."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._database = platform.database
        self._envelope = platform.envelope
        self._principal = principal
        self._store = IdempotencyStore(platform.database, principal.organization_id)

    def begin(self, key: str, *, route: str, body: bytes) -> UUID | Answer:
        """Take the key for this request, or return the answer that it was given before.

        The request is answered next, within `change`, and `finish` or `abandon` is called with the id.
        Raises KeyReused, KeyInProgress.
        """
        asked = f"{self._principal.token_id}\n{route}\n".encode() + body
        kept = self._store.take(key, hashlib.sha256(asked).hexdigest())
        if kept.sealed is None:
            return kept.id
        return Answer(**json.loads(self._envelope.open(kept.sealed, self._binding(kept.id))))

    def change(self) -> AbstractContextManager[None]:
        """Make one transaction of what the request changes and of its answer's `finish`.

        So a kill leaves either neither, and the request may be sent again, or both, and it gets its answer.
        """
        return self._database.joined()

    def finish(self, key_id: UUID, answer: Answer) -> None:
        """Keep the answer for whoever sends the request again. Raises KeyInProgress."""
        plaintext = json.dumps(vars(answer)).encode()
        sealed = self._envelope.seal(plaintext, self._binding(key_id))
        self._store.keep(key_id, sealed, self._envelope.key_id(sealed))

    def abandon(self, key_id: UUID) -> None:
        """Forget the request unless its answer is kept: it may be sent again with the same key."""
        self._store.release(key_id)

    def _binding(self, key_id: UUID) -> Binding:
        return ANSWER.binding(self._principal.organization_id, key_id)
