"""Answers of requests with an Idempotency-Key, stored for a day, so a repeated request is executed once."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, delete, update

from headrace.errors import Conflict, Invalid
from headrace.store.lifecycle.retention import IDEMPOTENCY_LIFE
from headrace.store.schema import idempotency_keys
from headrace.store.scoped import Scoped, insert_unless_taken

UNDER_WAY_LIFE = timedelta(seconds=60)
"""How long an unanswered request holds its key; a service killed before its commit changed nothing."""


class KeyReused(Invalid):
    """The Idempotency-Key was already used for another request."""

    code = "idempotency.key_reused"
    title = "Idempotency-Key reused"
    hint = "Use a new key for each new request."


class KeyInProgress(Conflict):
    """The first request with this Idempotency-Key is still in progress."""

    code = "idempotency.in_progress"
    title = "Request in progress"
    hint = "Send the request again later with the same key."


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """A key's row. Without an answer, the key was just taken, and `keep` comes next."""

    id: UUID
    sealed: bytes | None


class IdempotencyStore(Scoped):
    """The idempotency keys of one organization."""

    def take(self, key: str, request: str) -> KeptAnswer:
        """Take the key for a request, or return the stored answer.

        `request` is a digest of the client and the request. Raises KeyReused, KeyInProgress.
        """
        with self._database.write() as connection:
            self._drop_stale(connection, key)
            key_id = uuid4()
            row = {
                "id": key_id,
                "organization_id": self._organization_id,
                "key": key,
                "request": request,
                "created_at": self._database.now(connection),
            }
            if insert_unless_taken(connection, idempotency_keys, row):
                return KeptAnswer(id=key_id, sealed=None)
            query = self._select(idempotency_keys).where(idempotency_keys.c.key == key)
            kept = connection.execute(query).one()
        if kept.request != request:
            raise KeyReused("This Idempotency-Key was already used for another request.")
        if kept.answer is None:
            raise KeyInProgress("The request with this Idempotency-Key is still in progress.")
        return KeptAnswer(id=kept.id, sealed=kept.answer)

    def keep(self, key_id: UUID, sealed: bytes, sealing_key_id: str) -> None:
        """Keep the answer to the request that took the key. Raises KeyInProgress if another took it since."""
        with self._database.write() as connection:
            kept = connection.execute(
                update(idempotency_keys)
                .where(idempotency_keys.c.id == key_id)
                .values(answer=sealed, answer_key_id=sealing_key_id)
            )
        if not kept.rowcount:
            raise KeyInProgress("The request took too long, and was sent again meanwhile.")

    def release(self, key_id: UUID) -> None:
        """Give a key back whose request failed. An answer that was kept stays: its commit went through."""
        unanswered = (idempotency_keys.c.id == key_id) & idempotency_keys.c.answer.is_(None)
        with self._database.write() as connection:
            connection.execute(self._delete(idempotency_keys).where(unanswered))

    def _drop_stale(self, connection: Connection, key: str) -> None:
        table, now = idempotency_keys.c, self._database.now(connection)
        unanswered = table.answer.is_(None) & (table.created_at < now - UNDER_WAY_LIFE)
        old = table.created_at < now - IDEMPOTENCY_LIFE
        connection.execute(delete(idempotency_keys).where(table.key == key, unanswered | old))
