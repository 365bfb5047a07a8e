"""Stored organizations and API tokens. Of a token's secret, only the SHA-256 is stored."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select

from headrace.errors import Conflict, NotFound
from headrace.records import Page, Principal, Role, Token
from headrace.store.database import Database
from headrace.store.schema import organizations, tokens
from headrace.store.scoped import Scoped, insert_unless_taken, page_of
from headrace.store.token_uses import TokenUses

USE_RESOLUTION = timedelta(minutes=1)
"""Resolution of a token's last use. A write for each request would be too expensive."""


class TokenNotFound(NotFound):
    """The organization has no token with this id."""

    code = "token.not_found"
    title = "Token not found"
    hint = "List the tokens with GET /api/tokens."


class LastOwner(Conflict):
    """The organization's last owner token cannot be revoked, because nobody could create another."""

    code = "token.last_owner"
    title = "Last owner token"
    hint = "Create another owner token first."


class TokenStore(Scoped):
    """The tokens of one organization."""

    def create(
        self, *, name: str, role: Role, reads_secrets: bool, hash_: str, expires_at: datetime | None
    ) -> Token:
        """Store a token."""
        with self._database.write() as connection:
            row = {
                "id": uuid4(),
                "organization_id": self._organization_id,
                "name": name,
                "role": role,
                "reads_secrets": reads_secrets,
                "hash": hash_,
                "created_at": self._database.now(connection),
                "expires_at": expires_at,
            }
            connection.execute(insert(tokens).values(row))
            return _token_of(connection.execute(self._select(tokens).where(tokens.c.id == row["id"])).one())

    def list(self, page: Page) -> tuple[Sequence[Token], int]:
        """Return a page of tokens, newest first, and their total number."""
        query = self._select(tokens).order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
        with self._database.read() as connection:
            rows, total = page_of(connection, query, page)
            return [_token_of(row) for row in rows], total

    def revoke(self, token_id: UUID) -> None:
        """Delete a token, which is then invalid. Raises TokenNotFound, LastOwner."""
        with self._database.write() as connection:
            owners = self._select(tokens, tokens.c.id).where(tokens.c.role == Role.OWNER).with_for_update()
            if list(connection.execute(owners).scalars()) == [token_id]:
                raise LastOwner("This is the organization's only owner token.")
            if not connection.execute(self._delete(tokens).where(tokens.c.id == token_id)).rowcount:
                raise TokenNotFound("There is no such token.")


class Installation:
    """The first organization, and the authentication of tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def organization(self) -> UUID:
        """Return the first organization, and create it in a new installation."""
        with self._database.write() as connection:
            oldest = select(organizations.c.id).order_by(organizations.c.created_at).limit(1)
            found: UUID | None = connection.execute(oldest).scalar()
            if found is None:
                found = uuid4()
                now = self._database.now(connection)
                connection.execute(insert(organizations).values(id=found, name="Default", created_at=now))
            return found

    def ensure_owner(self, organization_id: UUID, hash_: str) -> None:
        """Store the installation's own owner token unless it is stored."""
        with self._database.write() as connection:
            row = {
                "id": uuid4(),
                "organization_id": organization_id,
                "name": "Owner (made at the first start)",
                "role": Role.OWNER,
                "reads_secrets": True,
                "hash": hash_,
                "created_at": self._database.now(connection),
            }
            insert_unless_taken(connection, tokens, row)

    def authenticate(self, hash_: str, uses: TokenUses) -> Principal | None:
        """Return the principal of the token with this hash; None if the token is unknown or expired."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            row = connection.execute(select(tokens).where(tokens.c.hash == hash_)).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            return None
        if row.last_used_at is None or now - row.last_used_at >= USE_RESOLUTION:
            uses.note(row.id, now)
        return Principal(
            organization_id=row.organization_id,
            token_id=row.id,
            role=Role(row.role),
            reads_secrets=row.reads_secrets,
        )


def _token_of(row: Any) -> Token:
    columns = {name: row._mapping[name] for name in Token.__dataclass_fields__}
    return Token(**columns | {"role": Role(row.role)})
