from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from headrace.encryption import keyring_file
from headrace.encryption.keyring_file import KeyInUse
from headrace.service import rotation
from headrace.service.idempotency import Answer, Idempotency
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.rotation import rotate
from headrace.store.schema import pipelines
from headrace.store.sealed import Place, SealedValue, SealedValues, rows_by_key

ANSWER = Answer(status=201, headers={}, body="a token's secret")


class Killed(BaseException):
    """Stands for the process's end at the line that raises it."""


def config(number: int) -> dict[str, Any]:
    source = {"name": "dummy", "stream": "creatures", "records": number + 1}
    return {"name": "creatures", "source": source, "destination": {"name": "logger"}}


@pytest.fixture
def owned(platform: Platform) -> Pipelines:
    return Pipelines(platform, platform.owner())


@pytest.fixture
def stored(owned: Pipelines) -> list[UUID]:
    """Pipelines with a config each."""
    return [owned.create(PipelineDraft(name=str(n), config=config(n))).id for n in range(5)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "ROWS_AT_ONCE", 2)


def new_key(platform: Platform) -> tuple[str, str]:
    """Promote a fresh key; return the old one's id and its own."""
    path = platform.settings.keyring_file
    assert path is not None
    old, new = platform.envelope.current_key_id, keyring_file.add(path)
    keyring_file.promote(path, new)
    return old, new


def configs(owned: Pipelines, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    return [owned.get_with_config(id_)[1] for id_ in ids]


def test_all_that_is_stored_moves_to_the_new_key_and_reads_as_before(
    platform: Platform, owned: Pipelines, stored: list[UUID]
) -> None:
    answers = Idempotency(platform, platform.owner())
    first = answers.begin("key", route="POST /x", body=b"")
    assert isinstance(first, UUID)
    answers.finish(first, ANSWER)
    old, new = new_key(platform)

    rotated = rotate(platform)

    assert (rotated.rewrapped, rotated.unopened) == (6, ())
    assert rows_by_key(platform.database) == {new: 6}
    keyring_file.retire(platform.settings.keyring_file, old, in_use=rows_by_key(platform.database))
    assert configs(owned, stored) == [config(n) for n in range(5)]
    assert answers.begin("key", route="POST /x", body=b"") == ANSWER


def test_a_platform_that_is_up_seals_with_the_promoted_key_at_once(
    platform: Platform, owned: Pipelines, stored: list[UUID]
) -> None:
    old, new = new_key(platform)

    owned.create(PipelineDraft(name="after", config=config(9)))

    assert rows_by_key(platform.database) == {old: 5, new: 1}
    assert configs(owned, stored) == [config(n) for n in range(5)]


def test_a_rotation_that_was_killed_is_gone_on_with(
    platform: Platform, owned: Pipelines, stored: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = new_key(platform)
    replace, batches = SealedValues.replace, []

    def killed_in_the_second_batch(self: SealedValues, place: Place, changes: Any) -> int:
        batches.append(changes)
        if len(batches) == 2:
            raise Killed
        return replace(self, place, changes)

    with monkeypatch.context() as patched:
        patched.setattr(SealedValues, "replace", killed_in_the_second_batch)
        with pytest.raises(Killed):
            rotate(platform)
    in_between = rows_by_key(platform.database)
    readable = configs(owned, stored)
    rest = rotate(platform)

    assert in_between == {new: 2, old: 3}
    assert readable == [config(n) for n in range(5)]
    assert rest.rewrapped == 3
    assert rows_by_key(platform.database) == {new: 5}


def test_what_is_written_during_a_rotation_stays_as_it_was_written(
    platform: Platform, owned: Pipelines, stored: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, new = new_key(platform)
    replace = SealedValues.replace

    def after_a_change(
        self: SealedValues, place: Place, changes: list[tuple[SealedValue, bytes, str]]
    ) -> int:
        for value, _, _ in changes:
            if value.row_id == stored[0]:
                owned.update(stored[0], {"config": config(99)})
        return replace(self, place, changes)

    monkeypatch.setattr(SealedValues, "replace", after_a_change)

    rotated = rotate(platform)

    assert rotated.rewrapped == 4
    assert configs(owned, stored) == [config(99), *(config(n) for n in range(1, 5))]
    assert rows_by_key(platform.database) == {new: 5}


def test_what_does_not_open_is_named_and_keeps_its_key_from_being_retired(
    platform: Platform, stored: list[UUID]
) -> None:
    with platform.database.write() as connection:
        broken = b"\x01" + bytes.fromhex(platform.envelope.current_key_id) + bytes(120)
        connection.execute(update(pipelines).where(pipelines.c.id == stored[2]).values(config=broken))
    old, new = new_key(platform)

    rotated = rotate(platform)

    assert (rotated.rewrapped, rotated.unopened) == (4, (("pipelines", stored[2]),))
    assert rows_by_key(platform.database) == {new: 4, old: 1}
    with pytest.raises(KeyInUse):
        keyring_file.retire(platform.settings.keyring_file, old, in_use=rows_by_key(platform.database))
