import base64
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.encryption import keyring_file
from headrace.encryption.keyring_file import InvalidKeyring, KeyInUse, UnknownKey
from headrace.private_files import NotPrivate

FIRST, SECOND, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))
FIRST_ID, SECOND_ID, THIRD_ID = map(keyring_file.key_id, (FIRST, SECOND, THIRD))


def line(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    path = tmp_path / "keyring"
    path.write_text(f"# our keys\n\n{line(FIRST)}  # made in May\n{line(SECOND)}\n{line(THIRD)}\n")
    path.chmod(0o600)
    return path


def ids(path: Path) -> list[str]:
    return [keyring_file.key_id(key) for key in keyring_file.parse(path.read_bytes(), str(path))]


def test_a_key_id_never_changes():
    assert keyring_file.key_id(bytes(range(32))) == "1d404e69a59108f3"


def test_keys_are_read_in_order_with_comments_and_blank_lines_skipped():
    text = f"# comment\r\n\n  {line(FIRST)} # why\r\n{line(SECOND)}"

    assert keyring_file.parse(text.encode(), "file") == (FIRST, SECOND)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5, unique=True))
def test_any_keys_can_be_read_back(keys: list[bytes]):
    text = "\n".join(line(key) for key in keys)

    assert keyring_file.parse(text.encode(), "file") == tuple(keys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "contains no key"),
        (b"# nothing\n\n", "contains no key"),
        (b"c2hvcnQ=", "line 1 is not a key of 32 bytes"),
        (b"# one\nnot base64!", "line 2 is not base64"),
        (b"\xff\xfe", "line 1 is not base64"),
        (f"{line(FIRST)}\n{line(FIRST)}".encode(), "line 2 repeats"),
        (line(FIRST)[:-1].encode(), "line 1 is not base64"),
    ],
)
def test_a_malformed_keyring_is_refused_by_line(content: bytes, message: str):
    with pytest.raises(InvalidKeyring, match=message):
        keyring_file.parse(content, "file")


@given(st.binary(max_size=200))
def test_no_message_shows_what_the_file_holds(content: bytes):
    secret = b"ThisLooksLikeAKeyButIsNot" + content

    with pytest.raises(InvalidKeyring) as caught:
        keyring_file.parse(secret, "file")

    assert "ThisLooks" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_new_keyring_is_private_and_holds_one_random_key(tmp_path: Path):
    first, second = tmp_path / "a" / "b" / "keyring", tmp_path / "c" / "keyring"

    assert keyring_file.create(first)
    assert keyring_file.create(second)

    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    assert len(ids(first)) == 1
    assert ids(first) != ids(second)
    assert list(first.parent.iterdir()) == [first.parent / "keyring"]


def test_a_new_keyring_is_private_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        keyring_file.create(tmp_path / "folder" / "keyring")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "folder" / "keyring").stat().st_mode) == 0o600


def test_an_existing_keyring_is_never_overwritten(keyring: Path):
    keyring.parent.chmod(0o700)
    before = keyring.read_bytes()

    assert not keyring_file.create(keyring)

    assert keyring.read_bytes() == before
    assert list(keyring.parent.iterdir()) == [keyring.parent / "keyring"]


def test_no_keyring_is_made_in_a_folder_open_to_others(tmp_path: Path):
    tmp_path.chmod(0o755)

    with pytest.raises(NotPrivate, match="0755"):
        keyring_file.create(tmp_path / "keyring")

    assert list(tmp_path.iterdir()) == []


def _create_and_read(path: Path, barrier, found) -> None:
    barrier.wait()
    keyring_file.create(path)
    found.put(keyring_file.parse(path.read_bytes(), "file"))


def test_eight_processes_that_create_at_once_share_one_key(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    path = tmp_path / "folder" / "keyring"
    barrier, found = context.Barrier(8), context.Queue()
    processes = [context.Process(target=_create_and_read, args=(path, barrier, found)) for _ in range(8)]

    for process in processes:
        process.start()
    keyrings = {found.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(timeout=30)

    assert len(keyrings) == 1
    assert list(path.parent.iterdir()) == [path.parent / "keyring"]


def _add(path: Path, barrier) -> None:
    barrier.wait()
    for _ in range(5):
        keyring_file.add(path)


def test_keys_added_at_once_by_several_processes_are_all_kept(keyring: Path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    processes = [context.Process(target=_add, args=(keyring, barrier)) for _ in range(4)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=30)

    assert len(ids(keyring)) == 3 + 4 * 5


def test_an_added_key_opens_and_does_not_yet_seal(keyring: Path):
    new = keyring_file.add(keyring)

    assert ids(keyring) == [FIRST_ID, SECOND_ID, THIRD_ID, new]
    assert stat.S_IMODE(keyring.stat().st_mode) == 0o600


def test_a_key_is_added_to_a_file_without_a_last_line_end(keyring: Path):
    keyring.write_text(line(FIRST))

    new = keyring_file.add(keyring)

    assert ids(keyring) == [FIRST_ID, new]


def test_a_promoted_key_becomes_the_current_one(keyring: Path):
    keyring_file.promote(keyring, THIRD_ID)

    assert ids(keyring) == [THIRD_ID, FIRST_ID, SECOND_ID]


def test_promoting_the_current_key_changes_nothing(keyring: Path):
    before = keyring.read_bytes()

    keyring_file.promote(keyring, FIRST_ID)

    assert keyring.read_bytes() == before


def test_comments_stay_with_their_keys(keyring: Path):
    keyring_file.promote(keyring, SECOND_ID)

    assert keyring.read_text() == (
        f"# our keys\n\n{line(SECOND)}\n{line(FIRST)}  # made in May\n{line(THIRD)}\n"
    )


def test_an_unused_key_is_retired(keyring: Path):
    keyring_file.retire(keyring, SECOND_ID, in_use={FIRST_ID})

    assert ids(keyring) == [FIRST_ID, THIRD_ID]


def test_a_key_that_something_needs_is_not_retired(keyring: Path):
    with pytest.raises(KeyInUse, match=SECOND_ID):
        keyring_file.retire(keyring, SECOND_ID, in_use={SECOND_ID})

    assert SECOND_ID in ids(keyring)


def test_the_current_key_is_not_retired(keyring: Path):
    with pytest.raises(KeyInUse, match="current"):
        keyring_file.retire(keyring, FIRST_ID, in_use=())

    assert ids(keyring)[0] == FIRST_ID


@pytest.mark.parametrize("unknown", ["0" * 16, ""])
def test_a_key_that_is_not_there_is_neither_promoted_nor_retired(keyring: Path, unknown: str):
    with pytest.raises(UnknownKey):
        keyring_file.promote(keyring, unknown)
    with pytest.raises(UnknownKey):
        keyring_file.retire(keyring, unknown, in_use=())


def test_a_malformed_keyring_is_not_edited(keyring: Path):
    keyring.write_text("broken\n")

    with pytest.raises(InvalidKeyring):
        keyring_file.add(keyring)

    assert keyring.read_text() == "broken\n"
