"""The suite finds each kind of broken promise, and says which."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from pydantic import SecretStr

from headrace.conformance.cases import Broken, DestinationCase, SourceCase
from headrace.conformance.suite import assert_conforms, examine
from headrace.connectors import (
    Checkpoint,
    ConnectorError,
    Destination,
    Loaded,
    LoadRequest,
    LoadResult,
    MovedOn,
    ReadRequest,
    SchemaConflict,
    Source,
    Stream,
    SyncMode,
)

START = datetime(2024, 1, 1, tzinfo=UTC)


class Good(Source):
    """Forty rows by time of change, with a checkpoint after every ten unless it goes by its field."""

    name: ClassVar[str] = "good"
    title: ClassVar[str] = "Good"
    summary: ClassVar[str] = "Rows that change."
    address_fields: ClassVar[tuple[str, ...]] = ("host",)
    cursor_field: ClassVar[str | None] = "changed"
    checkpoints: ClassVar[bool] = False

    host: str = "localhost"
    token: SecretStr = SecretStr("hunter2-hunter2")

    @classmethod
    def known_streams(cls) -> list[Stream]:
        modes = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
        return [Stream(name="rows", sync_modes=modes, cursor_field="changed", primary_key=("id",))]

    def check(self) -> str:
        return "There are rows."

    def after(self, cursor: Any) -> int:
        return 0 if cursor is None else int((datetime.fromisoformat(cursor) - START).total_seconds())

    def read(self, request: ReadRequest) -> Iterator[Any]:
        if request.stream != "rows":
            raise ConnectorError("There is no such stream.")
        for first in range(self.after(request.cursor), 40, 10):
            numbers = range(first, min(first + 10, 40))
            yield [{"id": n, "changed": START + timedelta(seconds=n + 1)} for n in numbers]
            if self.checkpoints:
                yield Checkpoint(cursor=(START + timedelta(seconds=numbers.stop)).isoformat())


class WithCheckpoints(Good):
    checkpoints = True


def failures(case: Any) -> dict[str, str]:
    return {found.check: found.detail for found in examine(case) if found.outcome == "failed"}


def failures_of(source: type[Source]) -> set[str]:
    return set(failures(SourceCase(connector=source(), stream="rows")))


@pytest.mark.parametrize("source", [Good, WithCheckpoints])
def test_a_good_source_conforms(source):
    assert_conforms(SourceCase(connector=source(), stream="rows"))


def test_a_check_that_does_not_apply_says_why():
    found = {finding.check: finding for finding in examine(SourceCase(connector=Good(), stream="rows"))}

    finding = found["a read resumes from every checkpoint"]

    assert finding.outcome == "skipped"
    assert "no checkpoints" in finding.detail


def test_a_source_that_skips_a_row_after_its_cursor_is_found():
    class Skipping(Good):
        def after(self, cursor):
            return super().after(cursor) + (cursor is not None)

    assert failures_of(Skipping) == {"a read resumes from every cursor"}


def test_a_checkpoint_ahead_of_its_rows_is_found():
    class Ahead(Good):
        def read(self, request):
            for page in super().read(request):
                yield Checkpoint(cursor=page[-1]["changed"].isoformat())
                yield page

    assert "a read resumes from every checkpoint" in failures_of(Ahead)


def test_a_source_that_ignores_its_cursor_is_found():
    class Ignoring(Good):
        def after(self, cursor):
            return 0

    assert "nothing new is read twice" in failures_of(Ignoring)


def test_a_source_whose_rows_come_only_once_is_found():
    class Once(Good):
        seen: ClassVar[list[int]] = []

        def read(self, request):
            self.seen.append(1)
            yield from (page[: 10 // len(self.seen)] for page in super().read(request))

    assert "a full read can be repeated" in failures_of(Once)


@pytest.mark.parametrize(
    "leak",
    [
        lambda self, request: request.log.info("Using %s", self.token.get_secret_value()),
        lambda self, request: (_ for _ in ()).throw(ConnectorError(self.token.get_secret_value())),
    ],
    ids=["log", "error"],
)
def test_a_source_that_shows_its_secret_is_found(leak):
    class Leaking(Good):
        def read(self, request):
            leak(self, request)
            yield from super().read(request)

    case = SourceCase(connector=Leaking(), stream="rows")

    found = failures(case)

    assert "secrets stay secret" in found
    assert "hunter2" not in str(found)


def test_a_secret_in_the_cause_of_an_error_is_found():
    class Chained(Good):
        def read(self, request):
            try:
                raise ValueError(self.token.get_secret_value())
            except ValueError as error:
                raise ConnectorError("It failed.") from error
            yield

    assert "secrets stay secret" in failures_of(Chained)


def test_a_secret_that_is_no_secret_field_and_a_forgotten_address_are_found():
    class Plain(Good):
        address_fields = ()
        password: str = "x"

    found = failures(SourceCase(connector=Plain(), stream="rows"))

    assert found["declares its secrets"] == "Make it a SecretStr: Plain.password."


def test_every_fault_is_in_the_error_of_ones_own_tests():
    class Bad(Good):
        summary = ""

        def check(self):
            return "ok"

    with pytest.raises(Broken, match=r"(?s)Bad does not conform:.*described and strict.*not a sentence"):
        assert_conforms(SourceCase(connector=Bad(), stream="rows"))


class Memory(Destination):
    """Keeps tables and loads in lists."""

    name: ClassVar[str] = "memory"
    title: ClassVar[str] = "Memory"
    summary: ClassVar[str] = "Tables in memory."
    tables: ClassVar[dict[str, list[dict[str, Any]]]] = {}
    loads: ClassVar[dict[str, Loaded]] = {}

    def check(self) -> str:
        return "There is memory."

    def load(self, request: LoadRequest) -> LoadResult:
        last = self.loads.get(request.pipeline_id)
        if last is None or last.load_id != request.load_id:
            self.refuse_what_is_overtaken(request, last)
            self.refuse_what_does_not_fit(request)
            request.before_commit()
            self.tables[request.table] = self.rows_after(request)
            self.loads[request.pipeline_id] = Loaded(load_id=request.load_id, cursor=request.cursor)
        return LoadResult(rows=request.output.rows, location=f"memory: {request.table}")

    def refuse_what_is_overtaken(self, request: LoadRequest, last: Loaded | None) -> None:
        if request.continues and request.previous_load != (last.load_id if last else None):
            raise MovedOn("Another load came between.")

    def refuse_what_does_not_fit(self, request: LoadRequest) -> None:
        """Bytes and anything else are not of one column; the other rules are left out here."""
        if request.disposition == "replace":
            return
        for column in request.output.schema:
            held = {type(row.get(column.name)) for row in self.tables.get(request.table, [])} - {type(None)}
            if held and pa.types.is_binary(column.type) != (held == {bytes}):
                raise SchemaConflict(column.name, "holds bytes here and none there.")

    def rows_after(self, request: LoadRequest) -> list[dict[str, Any]]:
        rows = [row for batch in request.output.batches() for row in batch.to_pylist()]
        if request.disposition == "replace":
            return rows
        new = {row["id"] for row in rows} if request.disposition == "merge" else set()
        return [row for row in self.tables.get(request.table, []) if row["id"] not in new] + rows

    def last_load(self, pipeline_id: str) -> Loaded | None:
        return self.loads.get(pipeline_id)


def failures_of_destination(destination: type[Memory]) -> set[str]:
    return set(failures(DestinationCase(connector=destination(), rows=lambda table: Memory.tables[table])))


def test_a_good_destination_conforms():
    assert_conforms(DestinationCase(connector=Memory(), rows=lambda table: Memory.tables[table]))


def test_a_destination_that_adds_in_the_place_of_replacing_is_found():
    class Adding(Memory):
        def rows_after(self, request):
            rows = super().rows_after(request)
            return self.tables.get(request.table, []) + rows if request.disposition == "replace" else rows

    assert "a replacing load leaves nothing behind" in failures_of_destination(Adding)


def test_a_destination_that_loads_a_repeated_load_twice_is_found():
    class Twice(Memory):
        def load(self, request):
            self.loads.pop(request.pipeline_id, None)
            return super().load(request)

    assert "a load that is repeated adds nothing" in failures_of_destination(Twice)


def test_a_destination_that_goes_on_from_any_load_is_found():
    class Trusting(Memory):
        def refuse_what_is_overtaken(self, request, last):
            pass

    assert "a load that another has overtaken is refused" in failures_of_destination(Trusting)


def test_a_destination_that_asks_after_its_commit_is_found():
    class Late(Memory):
        def load(self, request):
            self.tables[request.table] = self.rows_after(request)
            return super().load(request)

    assert "a run that was lost publishes nothing" in failures_of_destination(Late)


def test_a_destination_that_never_asks_is_found():
    class Careless(Memory):
        def load(self, request):
            self.tables[request.table] = self.rows_after(request)
            return LoadResult(rows=request.output.rows, location="memory")

    assert {"a run that was lost publishes nothing", "the cursor is kept with the data"} <= (
        failures_of_destination(Careless)
    )
