"""`headrace keys`: the encryption keys of stored secrets."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.console import OUT, print_json, print_table
from headrace.cli.options import AsJson, Home
from headrace.errors import Conflict
from headrace.settings import Settings, load_settings

if TYPE_CHECKING:
    from headrace.encryption.keyring import Keyring
    from headrace.encryption.keyring_file import Wrap

app = typer.Typer(help="Encryption keys of the stored secrets.", no_args_is_help=True)

Keeper = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Wrap the key with that of a keeper: `vault://transit/keys/NAME` or `gcpkms://projects/...`.",
    ),
]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, from `keys status`.")]


_COLUMNS = {"key": "KEY", "seals": "SEALS", "stored": "STORED", "missing": "MISSING"}


class KeyringExists(Conflict):
    """There is already a keyring, which is never overwritten."""

    code = "cli.keyring_exists"
    title = "Keyring exists"
    hint = "Add a key to it with `headrace keys add`."


@app.command()
def init(keeper: Keeper = None, home: Home = None) -> None:
    """Create the keyring of a new installation. An existing keyring is never changed."""
    from headrace.encryption import keyring_file

    settings = load_settings(home)
    path = _keyring(settings)
    if not keyring_file.create(path, _wrap(settings, keeper)):
        raise KeyringExists(f"{path} already exists.")
    OUT.print(f"Created {path}. Keep a copy elsewhere: without it all stored secrets are lost.", markup=False)


@app.command()
def status(as_json: AsJson = False, home: Home = None) -> None:
    """List the keys, current key first, with the number of stored values that need each."""
    settings = load_settings(home)
    keyring, stored = _load(settings), _rows_by_key(settings)
    listed = (*keyring.ids, *sorted(set(stored) - set(keyring.ids)))
    rows = [
        {
            "key": key,
            "seals": key == keyring.current_id,
            "stored": stored.get(key, 0),
            "missing": key not in keyring.ids,
            "keeper": keyring.keepers.get(key),
        }
        for key in listed
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, {**_COLUMNS, "keeper": "KEEPER"} if keyring.keepers else _COLUMNS)


@app.command()
def add(keeper: Keeper = None, home: Home = None) -> None:
    """Add a new key and print its id. It only decrypts until it is promoted.

    Without `--keeper` it is wrapped as the current key is.
    """
    from headrace.encryption import keyring_file

    settings = load_settings(home)
    keyring = _load(settings)
    wrap = _wrap(settings, keeper or keyring.keepers.get(keyring.current_id))
    OUT.print(keyring_file.add(_keyring(settings), wrap))


@app.command()
def wrap(
    keeper: Annotated[str, typer.Argument(metavar="ADDRESS", help="The keeper's key.")], home: Home = None
) -> None:
    """Wrap all keys of the keyring with a keeper's key, such as Vault's. Nothing that is stored changes."""
    from headrace.encryption import keyring_file
    from headrace.keepers.wrapping import unwrapping

    settings = load_settings(home)
    keyring_file.rewrite(_keyring(settings), unwrapping(settings), _wrap(settings, keeper))
    OUT.print(f"Wrapped all keys with {keeper}. Copies of the older file still hold them as they were.")


@app.command()
def unwrap(home: Home = None) -> None:
    """Write all keys of the keyring without a keeper. Do this before you give a keeper up."""
    from headrace.encryption import keyring_file
    from headrace.keepers.wrapping import unwrapping

    settings = load_settings(home)
    path = _keyring(settings)
    keyring_file.rewrite(path, unwrapping(settings), None)
    OUT.print(f"{path} now holds the keys themselves. Keep it as secret as they are.", markup=False)


@app.command()
def promote(key: KeyId, home: Home = None) -> None:
    """Make a key the current one, which encrypts. Do this when every machine has the key."""
    from headrace.encryption import keyring_file

    keyring_file.promote(_keyring(load_settings(home)), key)
    OUT.print(f"{key} is now the current key. Use `headrace keys rotate` to change stored secrets to it.")


@app.command()
def rotate(as_json: AsJson = False, home: Home = None) -> None:
    """Change all stored secrets to the current key. An interrupted rotation can be continued.

    Exits with 1 if a secret cannot be decrypted, because its key is missing or it was changed.
    """
    from headrace.service.platform import Platform
    from headrace.service.rotation import rotate as rotate_all

    with closing(Platform.open(load_settings(home))) as platform:
        rotated, key = rotate_all(platform), platform.envelope.current_key_id
    unopened = [f"{table} {row_id}" for table, row_id in rotated.unopened]
    if as_json:
        print_json({"key": key, "rewrapped": rotated.rewrapped, "unopened": unopened})
    else:
        OUT.print(f"Changed {rotated.rewrapped} stored values to key {key}.")
        for place in unopened:
            OUT.print(f"Cannot be decrypted: {place}", markup=False)
    if unopened:
        raise typer.Exit(1)


@app.command()
def retire(key: KeyId, home: Home = None) -> None:
    """Delete a key. Refused if it is the current key or if stored values need it."""
    from headrace.encryption import keyring_file

    settings = load_settings(home)
    keyring_file.retire(_keyring(settings), key, in_use=_rows_by_key(settings))
    OUT.print(f"Deleted {key}.")


def _load(settings: Settings) -> "Keyring":
    from headrace.encryption.keyring import load_keyring
    from headrace.keepers.wrapping import unwrapping

    return load_keyring(settings, unwrapping(settings), create=False)


def _wrap(settings: Settings, keeper: str | None) -> "Wrap | None":
    from headrace.keepers.wrapping import wrapping

    return None if keeper is None else wrapping(settings, keeper)


def _keyring(settings: Settings) -> Path:
    from headrace.encryption.keyring import user_keyring

    return settings.keyring_file or user_keyring(settings)


def _rows_by_key(settings: Settings) -> dict[str, int]:
    from headrace.store.database import Database
    from headrace.store.sealed import rows_by_key

    with closing(Database(settings.sqlalchemy_url)) as database:
        return rows_by_key(database)
