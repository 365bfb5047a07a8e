"""A change of a config is prepared before the transaction that stores it."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from headrace.encryption import keyring_file
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.settings import Settings
from headrace.store.pipelines import PipelineStore
from headrace.store.scoped import RevisionMismatch

MASK = "**********"

COUNTED = '''
import sqlite3
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr, model_validator

from headrace.connectors import ReadRequest, Source, Stream

# Fails while somebody holds the write lock of the platform's database.
with sqlite3.connect({database!r}, timeout=0, isolation_level=None) as connection:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
connection.close()


class Counted(Source):
    """Notes each time that it is made."""

    name: ClassVar[str] = "counted"
    title: ClassVar[str] = "Counted"
    token: SecretStr

    @model_validator(mode="after")
    def note(self) -> "Counted":
        with Path({notes!r}).open("a") as notes:
            notes.write("made\\n")
        return self

    @classmethod
    def known_streams(cls) -> tuple[Stream, ...]:
        return (Stream(name="things"),)

    def read(self, request: ReadRequest):
        yield [{{"id": 1}}]
'''


def config(**source: Any) -> dict[str, Any]:
    return {
        "name": "counted",
        "source": {"name": "counted", "stream": "things", "token": "s3cret"} | source,
        "destination": {"name": "logger"},
    }


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def platform(migrated_sqlite: Path, tmp_path: Path, notes: Path) -> Iterator[Platform]:
    """An installation with a connector of its own."""
    path = shutil.copy(migrated_sqlite, tmp_path / "records.db")
    settings = Settings(
        home=tmp_path / "home",
        config_dir=tmp_path / "config",
        database_url=SecretStr(f"sqlite:///{path}"),
        keyring_file=tmp_path / "keyring",
    )
    keyring_file.create(tmp_path / "keyring")
    opened = Platform.open(settings, migrate=True)
    settings.connectors.mkdir(parents=True, exist_ok=True)
    (settings.connectors / "counted.py").write_text(COUNTED.format(database=str(path), notes=str(notes)))
    yield opened
    opened.close()


@pytest.fixture
def owned(platform: Platform) -> Pipelines:
    return Pipelines(platform, platform.owner())


def made(notes: Path) -> int:
    """Count how often a config was parsed, and forget it."""
    count = len(notes.read_text().splitlines())
    notes.unlink()
    return count


def test_a_config_is_parsed_once_when_it_is_stored_or_changed(owned: Pipelines, notes: Path) -> None:
    pipeline = owned.create(PipelineDraft(name="Counted", config=config()))
    at_create = made(notes)

    owned.update(pipeline.id, {"config": config(token="an0ther")})
    at_update = made(notes)
    owned.update(pipeline.id, {"enabled": False})

    assert (at_create, at_update) == (1, 1)
    assert not notes.exists()


def test_where_a_secret_is_masked_the_stored_config_is_parsed_once_too(owned: Pipelines, notes: Path) -> None:
    pipeline = owned.create(PipelineDraft(name="Counted", config=config()))
    made(notes)

    owned.update(pipeline.id, {"config": config(token=MASK)})

    assert made(notes) == 2
    assert owned.get_with_config(pipeline.id)[1] == config()


def test_no_file_of_a_user_is_imported_while_the_database_is_locked(
    platform: Platform, owned: Pipelines
) -> None:
    pipeline = owned.create(PipelineDraft(name="Counted", config=config()))
    file = platform.settings.connectors / "counted.py"

    for change in ("# once", "# twice"):
        file.write_text(f"{file.read_text()}\n{change}\n")  # so it is imported anew
        owned.update(pipeline.id, {"config": config(token=MASK)})
    file.write_text(f"{file.read_text()}\n# for the copy\n")
    owned.duplicate(pipeline.id)


def test_a_change_that_loses_a_race_is_made_on_top_of_the_other(platform: Platform, owned: Pipelines) -> None:
    pipeline = owned.create(PipelineDraft(name="Counted", config=config()))

    def change(number: int) -> None:
        owned.update(pipeline.id, {"config": config(token=f"token-{number}")})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))

    found, stored = owned.get_with_config(pipeline.id)
    assert found.revision == 5
    assert stored["source"]["token"].startswith("token-")


def test_who_names_a_revision_is_not_tried_again(platform: Platform, owned: Pipelines) -> None:
    pipeline = owned.create(PipelineDraft(name="Counted", config=config()))
    store = PipelineStore(platform.database, platform.organization_id)
    store.update(pipeline.id, {"name": "Renamed"})

    with pytest.raises(RevisionMismatch):
        owned.update(pipeline.id, {"config": config()}, if_revision=pipeline.revision)
