"""An installation as one process opens it: settings, database and keys."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import inspect

from headrace import failpoints
from headrace.connectors import local
from headrace.connectors.kit import local_paths
from headrace.connectors.kit.network import addresses
from headrace.encryption.envelope import Envelope
from headrace.encryption.keyring import (
    FollowedKeyring,
    Keyring,
    MissingKeys,
    NoKeyring,
    load_keyring,
    require,
)
from headrace.errors import HeadraceError, StartupError
from headrace.keepers.wrapping import unwrapping
from headrace.private_files import create_private, make_private_folder, read_private
from headrace.records import Principal, Role
from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.schema import VERSION
from headrace.store.sealed import key_ids_in_use
from headrace.store.token_uses import TokenUses
from headrace.store.tokens import Installation
from headrace.store.versions import NewerSchema

TOKEN_PREFIX = "headrace_"


class Unauthenticated(HeadraceError):
    """No valid API token came with the request."""

    code = "token.invalid"
    title = "Not authenticated"
    hint = "Send `Authorization: Bearer <token>`; `headrace token` prints the owner's."


class SchemaMismatch(StartupError):
    """The database's tables are not those of this version of Headrace."""

    code = "database.schema_mismatch"
    title = "Database not migrated"
    hint = "Start `headrace up` of this version once: it migrates the database."


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What every use case needs. Each process has one, which its threads share."""

    settings: Settings
    database: Database
    envelope: Envelope
    organization_id: UUID
    uses: TokenUses

    @classmethod
    def open(cls, settings: Settings, *, migrate: bool = False) -> "Platform":
        """Open an installation. With `migrate`, create what is missing and migrate the database.

        Raises StartupError, having changed nothing that was stored, when the schema is another version's,
        when a key that a stored secret needs is missing, or when a file of secrets is open to others.
        """
        make_private_folder(settings.root)
        set_up_connectors(settings)
        failpoints.use(settings.failpoints)
        database = Database(settings.sqlalchemy_url)
        try:
            if migrate:
                _migrate(database)
            _require_version(database)
            in_use = key_ids_in_use(database)
            may_create = migrate and settings.is_embedded and not in_use
            keyring = _keyring(settings, in_use, create=may_create)
            organization_id = Installation(database).organization()
            if migrate:
                token = owner_token(settings, create=True)
                Installation(database).ensure_owner(organization_id, token_hash(token))
        except BaseException:
            database.close()
            raise
        return cls(
            settings=settings,
            database=database,
            envelope=Envelope(keyring),
            organization_id=organization_id,
            uses=TokenUses(database),
        )

    def close(self) -> None:
        """Close the connections to the database."""
        self.uses.close()
        self.database.close()

    def owner(self) -> Principal:
        """Return the principal of the installation itself, for work without a client's token."""
        return Principal(
            organization_id=self.organization_id, token_id=None, role=Role.OWNER, reads_secrets=True
        )

    def authenticate(self, token: str) -> Principal:
        """Return the principal of the token. Raises Unauthenticated."""
        principal = Installation(self.database).authenticate(token_hash(token), self.uses)
        if principal is None:
            raise Unauthenticated("The token is unknown, revoked or expired.")
        return principal


def set_up_connectors(settings: Settings) -> None:
    """Apply the settings that concern connectors to this process."""
    local.use(settings.connectors)
    addresses.allow_private_networks(settings.private_networks)
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    local_paths.start_relative_paths_at(settings.data_folder)


def new_token() -> str:
    """Return a fresh token of 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Return the hash of a token, as it is stored. It needs no salt: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def owner_token(settings: Settings, *, create: bool = False) -> str:
    """Return the owner token of this home. With `create`, create it if it is missing.

    Raises FileNotFoundError where there is none, NotPrivate where others may read it.
    """
    if create:
        create_private(settings.owner_token_file, new_token().encode())
    return read_private(settings.owner_token_file).decode().strip()


def _keyring(settings: Settings, in_use: Collection[str], *, create: bool) -> Keyring:
    """Return the keyring, which must have all keys in use. Raises KeyringError."""
    try:
        if create:
            load_keyring(settings, unwrapping(settings), create=True)
        keyring = FollowedKeyring(lambda: load_keyring(settings, unwrapping(settings), create=False))
    except NoKeyring as error:
        if not in_use:
            raise
        wanted = ", ".join(sorted(in_use))
        raise MissingKeys(f"Stored secrets need key {wanted}. {error.detail}") from error
    require(keyring, in_use)
    return keyring


def _migrate(database: Database) -> None:
    # Imported here: Alembic takes 0.1 s, which run workers do not need to spend.
    from headrace.store.migrations import migrate

    migrate(database)


def _require_version(database: Database) -> None:
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            raise SchemaMismatch("The database holds no Headrace tables.")
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is not None and found > VERSION:
        raise NewerSchema(f"The database is at version {found}; this Headrace knows none after {VERSION}.")
    if found != VERSION:
        raise SchemaMismatch(f"The database is at version {found}; this Headrace needs {VERSION}.")
