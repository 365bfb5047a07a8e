"""Stored secrets under attack and under rotation: changed bits, swapped rows, kills and writers meanwhile."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from effort import times
from sqlalchemy import insert, select, update

from headrace.encryption import keyring_file
from headrace.encryption.envelope import CannotOpen
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.store.schema import organizations, pipelines
from headrace.store.sealed import CONFIG, rows_by_key

_ROWS = times("ROTATED_ROWS", 600, 100_000)
_KILLS = times("ROTATION_KILLS", 1, 20)
_SWAPPED = times("SWAPPED_ROWS", 12, 60)
_AT_ONCE = 5_000


def config(number: int) -> dict[str, Any]:
    source = {"name": "dummy", "stream": "creatures", "records": number + 1}
    return {"name": "creatures", "source": source, "destination": {"name": "logger"}}


def stored(platform: Platform) -> dict[UUID, Any]:
    with platform.database.read() as connection:
        return {row.id: row for row in connection.execute(select(pipelines))}


def opened(platform: Platform, row: Any, sealed: bytes) -> bytes:
    binding = CONFIG.binding(row.organization_id, row.id, row.config_revision)
    return platform.envelope.open(sealed, binding)


def fill(platform: Platform, count: int) -> dict[UUID, dict[str, Any]]:
    """Store copies of one pipeline, each sealed in its own place; return their configs."""
    draft = PipelineDraft(name="first", config=config(0))
    id_of_first = Pipelines(platform, platform.owner()).create(draft).id
    first = stored(platform)[id_of_first]
    plaintext = opened(platform, first, first.config)
    ids = [uuid4() for _ in range(count - 1)]
    for start in range(0, len(ids), _AT_ONCE):
        rows = [
            first._asdict()
            | {
                "id": id_,
                "sequence": first.sequence + start + number + 1,
                "config": platform.envelope.seal(plaintext, CONFIG.binding(first.organization_id, id_, 1)),
            }
            for number, id_ in enumerate(ids[start : start + _AT_ONCE])
        ]
        with platform.database.write() as connection:
            connection.execute(insert(pipelines), rows)
    return dict.fromkeys([first.id, *ids], config(0))


def test_no_bit_of_a_stored_secret_can_be_changed_and_none_be_cut_off_or_added(platform: Platform) -> None:
    fill(platform, 1)
    (row,) = stored(platform).values()
    assert opened(platform, row, row.config)

    refused = 0
    for position in range(len(row.config)):
        for bit in range(8):
            changed = bytearray(row.config)
            changed[position] ^= 1 << bit
            with pytest.raises(CannotOpen):
                opened(platform, row, bytes(changed))
            refused += 1
        with pytest.raises(CannotOpen):
            opened(platform, row, row.config[:position])
    with pytest.raises(CannotOpen):
        opened(platform, row, row.config + b"\0")
    assert refused == 8 * len(row.config)


def test_no_two_rows_can_be_swapped_and_no_older_value_be_put_back(platform: Platform) -> None:
    owned = Pipelines(platform, platform.owner())
    ids = list(fill(platform, _SWAPPED))
    before = stored(platform)

    for one, other in permutations(ids, 2):
        with pytest.raises(CannotOpen):
            opened(platform, before[one], before[other].config)

    owned.update(ids[0], {"config": config(7)})
    with platform.database.write() as connection:
        connection.execute(
            update(pipelines).where(pipelines.c.id == ids[0]).values(config=before[ids[0]].config)
        )
    with pytest.raises(CannotOpen):
        owned.get_with_config(ids[0])
    assert owned.get_with_config(ids[1])[1] == config(0)


def test_a_row_that_is_moved_to_another_organization_cannot_be_opened_there(platform: Platform) -> None:
    (id_,) = fill(platform, 1)
    other = uuid4()
    with platform.database.write() as connection:
        first = connection.execute(select(organizations)).one()
        connection.execute(insert(organizations), [first._asdict() | {"id": other, "name": "other"}])
        connection.execute(update(pipelines).where(pipelines.c.id == id_).values(organization_id=other))

    with pytest.raises(CannotOpen):
        opened(platform, stored(platform)[id_], stored(platform)[id_].config)


def test_a_rotation_that_is_killed_again_and_again_under_writes_loses_no_secret(
    platform: Platform, record_property: Callable[[str, object], None]
) -> None:
    expected = fill(platform, _ROWS)
    path = platform.settings.keyring_file
    assert path is not None
    old, new = platform.envelope.current_key_id, keyring_file.add(path)
    keyring_file.promote(path, new)

    kills = 0
    with writing(platform, expected) as written:
        while kills < _KILLS:
            before = rows_by_key(platform.database).get(new, 0)
            process = rotation(platform)
            until_more_than(platform, new, before + len(written))
            process.kill()
            kills += process.wait() == -signal.SIGKILL
            if not rows_by_key(platform.database).get(old):
                break  # a rotation was quicker than its kill
        assert rotation(platform).wait(600) == 0

    assert len(written) > 0
    assert rows_by_key(platform.database) == {new: _ROWS}
    keyring_file.retire(path, old, in_use=rows_by_key(platform.database))
    owned = Pipelines(platform, platform.owner())
    rows = stored(platform)
    assert rows.keys() == expected.keys()
    assert all(opened(platform, row, row.config) for row in rows.values())
    assert all(owned.get_with_config(id_)[1] == expected[id_] for id_ in written)
    record_property("rotated", f"{_ROWS:,} rows, {kills} kills, {len(written):,} writes")


def rotation(platform: Platform) -> "subprocess.Popen[bytes]":
    """Start `headrace keys rotate` as an operator does."""
    settings = platform.settings
    assert settings.database_url is not None
    environment = os.environ | {
        "HEADRACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "HEADRACE_KEYRING_FILE": str(settings.keyring_file),
        "HEADRACE_CONFIG_DIR": str(settings.user_config_dir),
    }
    command = [Path(sys.executable).parent / "headrace", "keys", "rotate", "--home", settings.home]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def until_more_than(platform: Platform, key: str, rows: int) -> None:
    """Wait until the key wraps more rows, or all of them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        wrapped = rows_by_key(platform.database)
        if wrapped.get(key, 0) > rows or len(wrapped) == 1:
            return
        time.sleep(0.002)
    raise AssertionError("the rotation does not come on")


@contextmanager
def writing(platform: Platform, expected: dict[UUID, dict[str, Any]]) -> Iterator[list[UUID]]:
    """Change configs meanwhile, and note in `expected` what each pipeline's must be."""
    owned, ended = Pipelines(platform, platform.owner()), threading.Event()
    chance, ids, written = random.Random(0), list(expected), []

    def write() -> None:
        while not ended.wait(0.005):
            id_, number = chance.choice(ids), chance.randrange(1, 1_000)
            owned.update(id_, {"config": config(number)})
            expected[id_] = config(number)
            written.append(id_)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        ended.set()
        writer.join()
