"""A source for bizon that reads the benchmark's list, page after page."""

from typing import Any, Literal

from bizon.source.auth.authenticators.token import TokenAuthParams
from bizon.source.auth.builder import AuthBuilder
from bizon.source.auth.config import AuthConfig, AuthType
from bizon.source.config import SourceConfig
from bizon.source.models import SourceIteration, SourceRecord
from bizon.source.source import AbstractSource


class ContactsAuth(AuthConfig):
    """Anything: the server asks for nothing."""

    type: Literal[AuthType.API_KEY]
    params: TokenAuthParams


class ContactsConfig(SourceConfig):
    """Where the server is."""

    base_url: str
    authentication: ContactsAuth


class ContactsSource(AbstractSource):
    """The list of contacts."""

    def __init__(self, config: ContactsConfig):
        super().__init__(config)
        self.config = config

    @staticmethod
    def streams() -> list[str]:
        """Return the one stream."""
        return ["contacts"]

    @staticmethod
    def get_config_class() -> type[ContactsConfig]:
        """Return the model of the configuration."""
        return ContactsConfig

    def get_authenticator(self) -> Any:
        """Return the token's header."""
        return AuthBuilder.token(params=self.config.authentication.params)

    def check_connection(self) -> tuple[bool, None]:
        """Say yes."""
        return True, None

    def get_total_records_count(self) -> None:
        """Say nothing."""

    def get(self, pagination: dict[str, Any] | None = None) -> SourceIteration:
        """Return one page."""
        params = {"after": pagination["after"]} if pagination else {}
        answer = self.session.get(f"{self.config.base_url}/contacts", params=params).json()
        after = answer.get("paging", {}).get("next", {}).get("after")
        return SourceIteration(
            next_pagination={"after": after} if after else {},
            records=[SourceRecord(id=record["id"], data=record) for record in answer["results"]],
        )
