"""Use cases of API tokens."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from headrace.records import Page, Principal, Role, Token
from headrace.service.platform import Platform, new_token, token_hash
from headrace.store.tokens import TokenStore


class Tokens:
    """The tokens of the principal's organization."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._store = TokenStore(platform.database, principal.organization_id)

    def create(
        self,
        *,
        name: str,
        role: Role,
        reads_secrets: bool | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[Token, str]:
        """Store a token and return it with its secret, which cannot be read again.

        `reads_secrets` None: an owner reads pipelines' secrets, the other roles do not.
        """
        secret = new_token()
        token = self._store.create(
            name=name,
            role=role,
            reads_secrets=role is Role.OWNER if reads_secrets is None else reads_secrets,
            hash_=token_hash(secret),
            expires_at=expires_at,
        )
        return token, secret

    def list(self, page: Page) -> tuple[Sequence[Token], int]:
        """Return a page of tokens, newest first, and how many there are."""
        return self._store.list(page)

    def revoke(self, token_id: UUID) -> None:
        """Revoke a token. Raises TokenNotFound, LastOwner."""
        self._store.revoke(token_id)
