"""The keyring: the keys that wrap data keys, and the places where they are searched.

The first keyring found is used, and keyrings are not merged. The order is:

1. the file that `HEADRACE_KEYRING_FILE` names; it is an error if that file is missing;
2. systemd's credential `headrace-keyring`;
3. `HEADRACE_KEYRING`, newest first and separated by commas, with a warning because other processes can read
   it;
4. `keyring` in the user's configuration folder, shared by all home folders of the user. It is outside the
   home folder, so a copy of the home folder does not contain both the secrets and their keys.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from headrace import private_files
from headrace.encryption import keyring_file
from headrace.encryption.keyring_file import KeyringError, UnknownKey, Unwrap, key_id
from headrace.errors import StartupError
from headrace.settings import Settings

_log = logging.getLogger(__name__)


class NoKeyring(KeyringError):
    """None of the places has a keyring."""

    code = "keyring.missing"
    title = "No keyring"
    hint = "Restore the keyring. For a new installation, create one with `headrace keys init`."


class UnreadableKeyring(KeyringError):
    """The operating system did not let this process read or create the keyring."""

    code = "keyring.unreadable"
    title = "Keyring not readable"
    hint = "Check that the file exists and that this user may read it."


class MissingKeys(KeyringError):
    """The keyring lacks keys that stored secrets need. Without them, those secrets are lost."""

    code = "keyring.keys_missing"
    title = "Encryption keys missing"
    hint = "Restore these keys in the keyring. A new keyring could not open the stored secrets."


class Keyring:
    """Keys in order. The first is the current key, which seals. The repr shows only ids.

    `searched` names the places that were searched, for messages. `keepers` names who wraps which key: keeper
    addresses by key id.
    """

    def __init__(
        self, keys: Sequence[bytes], *, searched: Sequence[str] = (), keepers: Mapping[str, str] | None = None
    ) -> None:
        self._keys = {key_id(key): key for key in keys}
        self.ids = tuple(self._keys)
        self.searched = tuple(searched)
        self.keepers = dict(keepers or {})

    @property
    def current_id(self) -> str:
        """The id of the key that seals."""
        return self.ids[0]

    def key(self, wanted: str) -> bytes:
        """Return the key. Raises UnknownKey."""
        try:
            return self._keys[wanted]
        except KeyError:
            raise UnknownKey(f"The keyring has no key {wanted}.", context={"key_id": wanted}) from None

    def __repr__(self) -> str:
        return f"Keyring(ids={self.ids!r})"


class FollowedKeyring(Keyring):
    """A keyring that is read again when its file changes.

    So every running process uses a key that was added or promoted in the file, and stops using a retired key.
    If a changed file is invalid, the error is logged and the last valid keys stay in use. Keys from the
    environment never change. Thread-safe.
    """

    def __init__(self, load: Callable[[], Keyring]) -> None:
        self._load = load
        self._now = load()
        self._stamp = self._stamp_of_file()

    @property
    def ids(self) -> tuple[str, ...]:  # type: ignore[override]
        """The ids of all keys. The first is the current one."""
        return self._followed().ids

    @property
    def searched(self) -> tuple[str, ...]:  # type: ignore[override]
        """The places that were searched."""
        return self._now.searched

    def key(self, wanted: str) -> bytes:
        """Return the key. Raises UnknownKey."""
        return self._followed().key(wanted)

    def _followed(self) -> Keyring:
        stamp = self._stamp_of_file()
        if stamp != self._stamp:
            # Set before reading, so the next call notices a change made while reading.
            self._stamp = stamp
            try:
                self._now = self._load()
            except StartupError as error:
                _log.error(
                    "Cannot use the changed keyring; keeping the previous keys. %s: %s",
                    error.code,
                    error.detail,
                )
        return self._now

    def _stamp_of_file(self) -> tuple[int, int] | None:
        try:
            status = Path(self._now.searched[-1]).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def user_keyring(settings: Settings) -> Path:
    """Return the path of the keyring in the user's configuration folder. It can be created automatically."""
    return settings.user_config_dir / "keyring"


def load_keyring(settings: Settings, unwrap: Unwrap = keyring_file.no_keeper, *, create: bool) -> Keyring:
    """Return the first keyring found; `unwrap` asks the keepers of wrapped keys.

    With `create`, one is created in the user's configuration folder if there is none. Use this only with a
    database without encrypted values. Raises KeyringError and NotPrivate.
    """
    searched: list[str] = []
    try:
        for place, content in _found(settings, create=create):
            searched.append(place)
            if content is not None:
                keys = keyring_file.parse(content, place, unwrap)
                return Keyring(keys, searched=searched, keepers=keyring_file.keepers(content, place))
    except OSError as error:
        raise UnreadableKeyring(f"{error.filename}: {error.strerror}.") from error
    raise NoKeyring(f"There is no keyring. Searched: {'; '.join(searched)}.")


def require(keyring: Keyring, key_ids_in_use: Collection[str]) -> None:
    """Raise MissingKeys unless the keyring has every key that the database needs."""
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
        _log.warning("The keys come from HEADRACE_KEYRING, which other processes of this user can read.")
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
