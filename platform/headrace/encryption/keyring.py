"""The keys that wrap data keys, where they are looked for, and the refusal to start without them.

Looked for in this order; the first that exists counts, and nothing is merged:

1. the file that `HEADRACE_KEYRING_FILE` names: set and missing is an error;
2. systemd's credential `headrace-keyring`;
3. `HEADRACE_KEYRING`, newest first and separated by commas: warned about, as other processes can read it;
4. `keyring` in the user's configuration folder, which all of the user's homes share. It lies outside the home
   folder, so that a copy of the home does not hold both the secrets and the keys to them.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from headrace import private_files
from headrace.encryption import keyring_file
from headrace.encryption.keyring_file import KeyringError, UnknownKey, key_id
from headrace.errors import StartupError
from headrace.settings import Settings

_log = logging.getLogger(__name__)


class NoKeyring(KeyringError):
    """No keyring exists in any of the places."""

    code = "keyring.missing"
    title = "No keyring"
    hint = "Bring the keyring back, or, for a new installation, make one with `headrace keys init`."


class UnreadableKeyring(KeyringError):
    """The system does not let this process read or create the keyring."""

    code = "keyring.unreadable"
    title = "Keyring unreadable"
    hint = "Check that the file exists and that this user may read it."


class MissingKeys(KeyringError):
    """The database holds secrets under keys that the keyring lacks: going on would lose them."""

    code = "keyring.keys_missing"
    title = "Encryption keys missing"
    hint = "Bring these keys back to the keyring. Do not make a new one: it could not open what is stored."


class Keyring:
    """Keys in order; the first is the current one, which seals. Its repr shows ids only.

    `searched` names the places that were looked at, for messages.
    """

    def __init__(self, keys: Sequence[bytes], *, searched: Sequence[str] = ()) -> None:
        self._keys = {key_id(key): key for key in keys}
        self.ids = tuple(self._keys)
        self.searched = tuple(searched)

    @property
    def current_id(self) -> str:
        """The id of the key that seals."""
        return self.ids[0]

    def key(self, wanted: str) -> bytes:
        """Return the key. Raises UnknownKey."""
        try:
            return self._keys[wanted]
        except KeyError:
            raise UnknownKey(f"The keyring holds no key {wanted}.", context={"key_id": wanted}) from None

    def __repr__(self) -> str:
        return f"Keyring(ids={self.ids!r})"


class FollowedKeyring(Keyring):
    """The keyring of an installation that goes on: read again once its file has changed.

    So a key that is added and promoted reaches every process by its file alone, and none goes on sealing with
    a key that another machine has retired. Whatever is wrong with a changed file is logged, and the keys that
    were read last stay. Keys from the environment never change. Safe to share among threads.
    """

    def __init__(self, load: Callable[[], Keyring]) -> None:
        self._load = load
        self._now = load()
        self._stamp = self._stamp_of_file()

    @property
    def ids(self) -> tuple[str, ...]:  # type: ignore[override]
        """The ids of all keys, the one that seals first."""
        return self._followed().ids

    @property
    def searched(self) -> tuple[str, ...]:  # type: ignore[override]
        """The places that were looked at."""
        return self._now.searched

    def key(self, wanted: str) -> bytes:
        """Return the key. Raises UnknownKey."""
        return self._followed().key(wanted)

    def _followed(self) -> Keyring:
        stamp = self._stamp_of_file()
        if stamp != self._stamp:
            # Before the file is read: a change during it is seen by the next call.
            self._stamp = stamp
            try:
                self._now = self._load()
            except StartupError as error:
                _log.error("The changed keyring is not used. %s: %s", error.code, error.detail)
        return self._now

    def _stamp_of_file(self) -> tuple[int, int] | None:
        try:
            status = Path(self._now.searched[-1]).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def user_keyring(settings: Settings) -> Path:
    """Return the keyring of the user's configuration folder, the one that may be made by itself."""
    return settings.user_config_dir / "keyring"


def load_keyring(settings: Settings, *, create: bool) -> Keyring:
    """Return the first keyring found.

    `create` makes one in the user's configuration folder when there is none: to be asked only for a database
    that holds nothing encrypted. Raises KeyringError and NotPrivate, which both end the start.
    """
    searched: list[str] = []
    try:
        for place, content in _found(settings, create=create):
            searched.append(place)
            if content is not None:
                return Keyring(keyring_file.parse(content, place), searched=searched)
    except OSError as error:
        raise UnreadableKeyring(f"{error.filename}: {error.strerror}.") from error
    raise NoKeyring(f"There is no keyring. Searched: {'; '.join(searched)}.")


def require(keyring: Keyring, key_ids_in_use: Collection[str]) -> None:
    """Raise MissingKeys unless the keyring holds every key that the database needs."""
    missing = sorted(set(key_ids_in_use) - set(keyring.ids))
    if missing:
        places = "; ".join(keyring.searched)
        raise MissingKeys(f"Stored secrets need key {', '.join(missing)}. Searched: {places}.")


def _found(settings: Settings, *, create: bool) -> Iterator[tuple[str, bytes | None]]:
    if settings.keyring_file is not None:
        yield str(settings.keyring_file), private_files.read_private(settings.keyring_file)
    if settings.credentials_directory is not None:
        credential = settings.credentials_directory / "headrace-keyring"
        yield str(credential), _read_if_exists(credential, group_may_read=True)
    if settings.keyring is not None:
        _log.warning("Keys come from HEADRACE_KEYRING, which other processes of this user can read.")
        yield "HEADRACE_KEYRING", settings.keyring.get_secret_value().replace(",", "\n").encode()
    path = user_keyring(settings)
    if create:
        keyring_file.create(path)
    elif path.parent.is_dir():
        private_files.check_private_folder(path.parent)
    yield str(path), _read_if_exists(path)


def _read_if_exists(path: Path, *, group_may_read: bool = False) -> bytes | None:
    try:
        return private_files.read_private(path, group_may_read=group_may_read)
    except FileNotFoundError:
        return None
