"""Keyrings whose keys a keeper wraps: Vault's transit engine, and Google's Key Management Service."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from http_servers.secret_keepers import Google, vault
from http_servers.server import Answer, Asked, Server, serving
from pydantic import SecretStr

from headrace.encryption import keyring_file
from headrace.encryption.envelope import Binding, Envelope
from headrace.encryption.keyring import FollowedKeyring, Keyring, load_keyring
from headrace.encryption.keyring_file import InvalidKeyring
from headrace.keepers import google as google_cloud
from headrace.keepers.wrapping import KeeperUnusable, unwrapping, wrapping
from headrace.settings import Settings

TOKEN = "hvs.of-the-platform"
IN_VAULT = "vault://transit/keys/headrace"
IN_GOOGLE = "gcpkms://projects/acme/locations/global/keyRings/main/cryptoKeys/headrace"


class Keepers:
    """Settings whose keepers are local servers, one of them switched off at will."""

    def __init__(self, settings: Settings, server: Server) -> None:
        self.settings, self.server = settings, server
        self.path = settings.user_config_dir / "keyring"
        self.is_away = False

    def keyring(self) -> Keyring:
        return load_keyring(self.settings, unwrapping(self.settings), create=False)


@pytest.fixture
def keepers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keepers]:
    cloud, transit = Google({}), vault({}, TOKEN)
    found: list[Keepers] = []

    def handle(asked: Asked) -> Answer:
        if found and found[0].is_away:
            return Answer(status=503)
        return transit(asked) if "x-vault-token" in asked.headers else cloud(asked)

    with serving(handle) as server:
        monkeypatch.setattr(google_cloud.Google, "key_management", server.url)
        monkeypatch.setattr(google_cloud.Google, "metadata", server.url)
        monkeypatch.setattr("headrace.keepers.http._PAUSE_SECONDS", 0.0)
        settings = Settings(
            home=tmp_path / "home",
            config_dir=tmp_path / "config",
            vault_address=server.url,
            vault_token=TOKEN,
        )
        found.append(Keepers(settings, server))
        yield found[0]


@contextmanager
def away(keepers: Keepers) -> Iterator[None]:
    keepers.is_away = True
    yield
    keepers.is_away = False


@pytest.mark.parametrize("address", [IN_VAULT, IN_GOOGLE])
def test_the_keyring_holds_no_key_and_opens_what_it_has_sealed(keepers: Keepers, address: str) -> None:
    keyring_file.create(keepers.path, wrapping(keepers.settings, address))
    keyring = keepers.keyring()
    place = Binding(table="t", column="c", organization_id=uuid4(), row_id=uuid4(), revision=1)

    sealed = Envelope(keyring).seal(b"s3cret", place)

    assert Envelope(keepers.keyring()).open(sealed, place) == b"s3cret"
    assert keyring.keepers == {keyring.current_id: address}
    key = keyring.key(keyring.current_id)
    assert base64.b64encode(key) not in keepers.path.read_bytes()
    assert key not in keepers.path.read_bytes()


@pytest.mark.parametrize("address", [IN_VAULT, IN_GOOGLE])
def test_a_running_process_goes_on_while_its_keys_are_wrapped_and_unwrapped(
    keepers: Keepers, address: str
) -> None:
    keyring_file.create(keepers.path)
    keyring_file.add(keepers.path)
    running = FollowedKeyring(keepers.keyring)
    before = {name: running.key(name) for name in running.ids}

    keyring_file.rewrite(keepers.path, unwrapping(keepers.settings), wrapping(keepers.settings, address))
    wrapped = {name: running.key(name) for name in running.ids}
    text = keepers.path.read_text()
    keyring_file.rewrite(keepers.path, unwrapping(keepers.settings), None)

    assert wrapped == before == {name: running.key(name) for name in running.ids}
    assert list(wrapped) == list(before)  # the current key stays the first
    assert text.count(address) == 2
    assert text.startswith("# Headrace encryption keys")


def test_a_keeper_that_is_away_stops_no_running_process_and_every_new_one(keepers: Keepers) -> None:
    keyring_file.create(keepers.path, wrapping(keepers.settings, IN_VAULT))
    running = FollowedKeyring(keepers.keyring)

    with away(keepers):
        os.utime(keepers.path)  # as after a change: it is read again
        assert running.key(running.current_id)
        with pytest.raises(KeeperUnusable, match="status is 503"):
            keepers.keyring()
    assert keepers.keyring().ids == running.ids


def test_a_change_needs_no_keeper(keepers: Keepers) -> None:
    keyring_file.create(keepers.path, wrapping(keepers.settings, IN_VAULT))
    new = keyring_file.add(keepers.path, wrapping(keepers.settings, IN_VAULT))
    (old,) = set(keepers.keyring().ids) - {new}

    with away(keepers):
        keyring_file.promote(keepers.path, new)
        keyring_file.retire(keepers.path, old, in_use=())

    assert keepers.keyring().ids == (new,)


def test_a_wrapped_key_under_another_id_is_refused(keepers: Keepers) -> None:
    keyring_file.create(keepers.path, wrapping(keepers.settings, IN_VAULT))
    (name,) = keepers.keyring().ids
    keepers.path.write_text(keepers.path.read_text().replace(name, "0" * 16))

    with pytest.raises(InvalidKeyring, match="gave another key"):
        keepers.keyring()


def test_a_key_of_another_keeper_is_refused(keepers: Keepers) -> None:
    keyring_file.create(keepers.path, wrapping(keepers.settings, IN_VAULT))
    keepers.path.write_text(keepers.path.read_text().replace("keys/headrace", "keys/other"))

    with pytest.raises(KeeperUnusable, match="status is 400"):
        keepers.keyring()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("vault://transit/headrace", "no address of a keeper"),
        ("gcpkms://projects/acme", "no address of a keeper"),
        ("https://keeper.example/keys/headrace", "no address of a keeper"),
        ("vault://transit/keys/../../sys/seal", "no address of a keeper"),
    ],
)
def test_an_address_that_is_none_is_refused_and_no_file_is_made(
    keepers: Keepers, address: str, reason: str
) -> None:
    with pytest.raises(KeeperUnusable, match=reason):
        keyring_file.create(keepers.path, wrapping(keepers.settings, address))
    assert not keepers.path.exists()
    assert not keepers.server.asked


def test_a_token_that_is_refused_is_told_without_the_token(keepers: Keepers) -> None:
    settings = keepers.settings.model_copy(update={"vault_token": SecretStr("hvs.wrong")})

    with pytest.raises(KeeperUnusable, match="status is 403") as caught:
        keyring_file.create(keepers.path, wrapping(settings, IN_VAULT))
    assert "hvs.wrong" not in str(caught.value)


def test_a_line_without_an_id_is_refused_by_its_number() -> None:
    with pytest.raises(InvalidKeyring, match="line 1 is no wrapped key"):
        keyring_file.parse(f"{IN_VAULT} vault:v1:AAAA\n".encode(), "file")
