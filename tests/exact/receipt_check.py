"""A run's receipt, held against the oracle's own counts."""

from collections.abc import Iterator

from model import Rows
from oracle import Oracle
from source_system import SourceSystem

from headrace.receipts import Receipt


def problem(receipt: Receipt, oracle: Oracle, found: Rows) -> str:
    """Say which figures of a run that met no fault are wrong; empty: none."""
    checks = {"full_refresh": _replaced, "append": _appended, "merge": _merged}
    which = _replaced if oracle.is_reset else checks[oracle.plan.mode]
    wrong = [*_sums(receipt), *which(receipt, oracle)]
    if receipt.total not in (None, found.total()):
        wrong.append(f"total is {receipt.total}, but the table has {found.total()} rows")
    return "; ".join(f"receipt: {one}" for one in wrong)


def uncounted_nulls(receipt: Receipt, oracle: Oracle, source: SourceSystem) -> str:
    """Say whether rows whose values became null were not counted; empty: they were."""
    if oracle.unsure() or oracle.meanwhile:
        return ""
    counted = sum(each.count for each in receipt.warnings if each.code == "source.values_nulled")
    nulled = source.nulled(oracle.table, oracle.new().values())
    there = source.nulled(oracle.table, oracle.table.rows.values())
    if counted < nulled or (counted and not there):
        return f"receipt: {counted} rows with values that became null are counted, and {nulled} are new"
    return ""


def _sums(receipt: Receipt) -> Iterator[str]:
    written = receipt.read - receipt.repeated - receipt.dropped + receipt.added - receipt.rejected
    if receipt.written != written or receipt.loaded != written or receipt.rejected or receipt.added:
        yield f"the figures do not add up: {receipt}"


def _replaced(receipt: Receipt, oracle: Oracle) -> Iterator[str]:
    new = list(oracle.new().values())
    if oracle.meanwhile:
        return
    kept = len(oracle.passed(new))
    yield from _equal("read", receipt.read, len(new))
    yield from _equal("repeated", receipt.repeated, 0)
    yield from _equal("dropped", receipt.dropped, len(new) - kept)
    yield from _equal("inserted", receipt.inserted, kept)
    before = len(oracle.merged if oracle.plan.mode == "merge" else oracle.held)
    if before:
        yield from _equal("deleted", receipt.deleted, before)


def _appended(receipt: Receipt, oracle: Oracle) -> Iterator[str]:
    if oracle.unsure() or oracle.meanwhile:
        return
    new = list(oracle.new().values())
    kept = len(oracle.passed(new))
    yield from _equal("read less repeated", receipt.read - receipt.repeated, len(new))
    yield from _equal("dropped", receipt.dropped, len(new) - kept)
    yield from _equal("written", receipt.written, kept)
    yield from _equal("inserted", receipt.inserted, kept if receipt.written else None)


def _merged(receipt: Receipt, oracle: Oracle) -> Iterator[str]:
    if oracle.unsure() or oracle.meanwhile:
        return
    kept = {row["id"] for row in oracle.passed(oracle.new().values())}
    added = len(kept - oracle.merged.keys())
    if receipt.written is None or receipt.written < len(kept):
        yield f"written is {receipt.written}, but {len(kept)} rows are new"
    if not receipt.written:
        return
    yield from _equal("inserted", receipt.inserted, added)
    if receipt.updated is not None:
        yield from _equal("updated", receipt.updated, receipt.written - added)


def _equal(name: str, found: int | None, expected: int | None) -> Iterator[str]:
    if found is not None and found != expected:
        yield f"{name} is {found}, not {expected}"
