import base64
import logging
from pathlib import Path

import pytest

from headrace.encryption import keyring_file
from headrace.encryption.keyring import (
    FollowedKeyring,
    Keyring,
    MissingKeys,
    NoKeyring,
    UnreadableKeyring,
    load_keyring,
    require,
    user_keyring,
)
from headrace.encryption.keyring_file import KeyringError, UnknownKey, key_id
from headrace.private_files import NotPrivate
from headrace.settings import Settings

FIRST, SECOND = b"1" * 32, b"2" * 32


def text(*keys: bytes) -> str:
    return "".join(base64.b64encode(key).decode() + "\n" for key in keys)


def write(path: Path, *keys: bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text(*keys))
    path.chmod(mode)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", config_dir=tmp_path / "config")


def with_(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**settings.model_dump(exclude_unset=True), **changes})


def test_the_first_key_is_the_current_one():
    keyring = Keyring([SECOND, FIRST])

    assert keyring.ids == (key_id(SECOND), key_id(FIRST))
    assert keyring.current_id == key_id(SECOND)
    assert keyring.key(key_id(FIRST)) == FIRST


def test_a_key_that_is_not_there_is_named_by_its_id():
    with pytest.raises(UnknownKey, match=key_id(SECOND)):
        Keyring([FIRST]).key(key_id(SECOND))


def test_a_keyring_shows_ids_and_no_key():
    shown = repr(Keyring([FIRST])) + str(Keyring([FIRST]))

    assert key_id(FIRST) in shown
    assert repr(FIRST) not in shown
    assert "1111" not in shown.replace(key_id(FIRST), "")


def test_nothing_is_made_unless_asked_for(settings: Settings):
    with pytest.raises(NoKeyring, match=str(user_keyring(settings))):
        load_keyring(settings, create=False)

    assert not settings.user_config_dir.exists()


def test_a_fresh_machine_gets_a_keyring_outside_the_home_folder(settings: Settings):
    made = load_keyring(settings, create=True)
    found = load_keyring(settings, create=False)

    assert made.ids == found.ids
    assert not user_keyring(settings).is_relative_to(settings.root)


def test_two_homes_of_one_user_share_the_keyring(settings: Settings, tmp_path: Path):
    other = with_(settings, home=tmp_path / "other")

    assert load_keyring(settings, create=True).ids == load_keyring(other, create=True).ids


def test_the_named_file_comes_before_every_other_place(settings: Settings, tmp_path: Path):
    write(user_keyring(settings), SECOND)
    named = write(tmp_path / "named", FIRST)

    keyring = load_keyring(with_(settings, keyring_file=named, keyring=text(SECOND)), create=True)

    assert keyring.ids == (key_id(FIRST),)


def test_a_named_file_that_is_missing_ends_the_start(settings: Settings, tmp_path: Path):
    write(user_keyring(settings), SECOND)

    with pytest.raises(UnreadableKeyring, match="absent") as caught:
        load_keyring(with_(settings, keyring_file=tmp_path / "absent"), create=True)

    assert caught.value.exit_code == 78
    assert not (tmp_path / "absent").exists()


def test_systemds_credential_comes_before_the_environment(settings: Settings, tmp_path: Path):
    write(tmp_path / "credentials" / "headrace-keyring", FIRST)
    changed = with_(settings, credentials_directory=tmp_path / "credentials", keyring=text(SECOND))

    assert load_keyring(changed, create=False).ids == (key_id(FIRST),)


def test_systemds_credential_may_carry_an_acl_for_the_service(settings: Settings, tmp_path: Path):
    write(tmp_path / "credentials" / "headrace-keyring", FIRST, mode=0o440)
    changed = with_(settings, credentials_directory=tmp_path / "credentials")

    assert load_keyring(changed, create=False).ids == (key_id(FIRST),)


def test_a_service_with_other_credentials_only_is_served_from_the_next_place(
    settings: Settings, tmp_path: Path
):
    write(user_keyring(settings), SECOND)
    changed = with_(settings, credentials_directory=tmp_path)

    keyring = load_keyring(changed, create=False)

    assert keyring.ids == (key_id(SECOND),)
    assert keyring.searched == (str(tmp_path / "headrace-keyring"), str(user_keyring(settings)))


def test_keys_in_the_environment_are_used_and_warned_about(
    settings: Settings, caplog: pytest.LogCaptureFixture
):
    value = ",".join(text(SECOND, FIRST).split())

    with caplog.at_level(logging.WARNING):
        keyring = load_keyring(with_(settings, keyring=value), create=True)

    assert keyring.ids == (key_id(SECOND), key_id(FIRST))
    assert "HEADRACE_KEYRING" in caplog.text
    assert text(FIRST).strip() not in caplog.text
    assert not user_keyring(settings).exists()


def test_a_keyring_that_others_may_read_is_refused(settings: Settings):
    write(user_keyring(settings), FIRST, mode=0o640)

    with pytest.raises(NotPrivate, match="mode 0640"):
        load_keyring(settings, create=True)


def test_a_linked_keyring_is_refused(settings: Settings, tmp_path: Path):
    target = write(tmp_path / "elsewhere", FIRST)
    user_keyring(settings).parent.mkdir(mode=0o700)
    user_keyring(settings).symlink_to(target)

    with pytest.raises(NotPrivate, match="symbolic link"):
        load_keyring(settings, create=True)


def test_a_configuration_folder_open_to_others_is_refused(settings: Settings):
    write(user_keyring(settings), FIRST)
    settings.user_config_dir.chmod(0o755)

    for create in (True, False):
        with pytest.raises(NotPrivate, match="mode 0755"):
            load_keyring(settings, create=create)


def test_a_malformed_keyring_is_not_replaced(settings: Settings):
    write(user_keyring(settings)).write_text("broken")

    with pytest.raises(KeyringError):
        load_keyring(settings, create=True)

    assert user_keyring(settings).read_text() == "broken"


def test_a_keyring_that_cannot_be_read_ends_the_start(settings: Settings, tmp_path: Path):
    (tmp_path / "file").touch()
    inside_a_file = with_(settings, keyring_file=tmp_path / "file" / "keyring")

    with pytest.raises(UnreadableKeyring, match="Not a directory"):
        load_keyring(inside_a_file, create=False)


def test_a_keyring_with_every_needed_key_is_enough(settings: Settings):
    write(user_keyring(settings), SECOND, FIRST)

    require(load_keyring(settings, create=False), [key_id(FIRST), key_id(FIRST)])


def test_missing_keys_end_the_start_naming_them_and_the_places(settings: Settings):
    write(user_keyring(settings), FIRST)
    keyring = load_keyring(settings, create=False)

    with pytest.raises(MissingKeys) as caught:
        require(keyring, {key_id(FIRST), key_id(SECOND), "0" * 16})

    assert caught.value.exit_code == 78
    assert key_id(SECOND) in caught.value.detail
    assert "0" * 16 in caught.value.detail
    assert key_id(FIRST) not in caught.value.detail
    assert str(user_keyring(settings)) in caught.value.detail


def test_a_key_made_for_this_file_is_told_from_one_that_was_lost(settings: Settings):
    lost = load_keyring(settings, create=True)
    user_keyring(settings).unlink()
    keyring_file.create(user_keyring(settings))

    with pytest.raises(MissingKeys, match=lost.current_id):
        require(load_keyring(settings, create=False), lost.ids)


def test_a_followed_keyring_sees_what_its_file_becomes(settings: Settings):
    write(user_keyring(settings), FIRST)
    followed = FollowedKeyring(lambda: load_keyring(settings, create=False))
    before = followed.current_id

    added = keyring_file.add(user_keyring(settings))
    both = followed.ids
    keyring_file.promote(user_keyring(settings), added)

    assert before == key_id(FIRST)
    assert both == (key_id(FIRST), added)
    assert followed.current_id == added
    assert followed.key(added) == load_keyring(settings, create=False).key(added)


def test_a_followed_keyring_keeps_its_keys_when_its_file_is_spoilt_or_gone(
    settings: Settings, caplog: pytest.LogCaptureFixture
):
    path = write(user_keyring(settings), FIRST)
    followed = FollowedKeyring(lambda: load_keyring(settings, create=False))

    path.write_text("spoilt")
    spoilt = followed.ids
    path.unlink()

    assert (spoilt, followed.ids) == ((key_id(FIRST),), (key_id(FIRST),))
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "Cannot use the changed keyring; keeping the previous keys. keyring.invalid",
        "Cannot use the changed keyring; keeping the previous keys. keyring.missing",
    ]
    assert "spoilt\n" not in caplog.text
