"""When each token was last used: recorded beside the requests, which never wait for it."""

import threading
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from sqlalchemy import update

from headrace.errors import HeadraceError
from headrace.store.database import Database
from headrace.store.schema import tokens

DELAY_SECONDS = 1.0


class TokenUses:
    """Writes the uses of the last second at once, in a thread of its own.

    A use that cannot be written is dropped: the next request notes it again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._due: dict[UUID, datetime] = {}
        self._timer: threading.Timer | None = None

    def note(self, token_id: UUID, now: datetime) -> None:
        """Take note of a use. Returns at once."""
        with self._lock:
            self._due[token_id] = now
            if self._timer is None:
                self._timer = threading.Timer(DELAY_SECONDS, self.write)
                self._timer.daemon = True
                self._timer.start()

    def write(self) -> None:
        """Write what was noted."""
        with self._lock:
            due, self._due, self._timer = self._due, {}, None
        with suppress(HeadraceError), self._database.write() as connection:
            for token_id, at in due.items():
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(last_used_at=at))

    def close(self) -> None:
        """Drop what was noted, and wait for what is being written."""
        with self._lock:
            timer, self._due = self._timer, {}
        if timer is not None:
            timer.cancel()
            timer.join()
