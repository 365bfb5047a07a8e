"""The process of one check or preview: reads a task from standard input, writes JSON to standard output."""

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from headrace.connectors import Checkpoint, Connector, ReadRequest, Source, local
from headrace.connectors.contract.secrets import secrets_within
from headrace.connectors.kit import local_paths
from headrace.connectors.kit.arrow.rendering import json_lines
from headrace.connectors.kit.network import addresses
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.output import OutputWriter
from headrace.errors import HeadraceError
from headrace.masking import MaskingFilter
from headrace.pipeline.document import parse_connector

_CHARACTERS = 1_000
"""The length to which a preview cuts texts and lists."""

_GRACE_SECONDS = 5.0
_ENCODER = msgspec.json.Encoder(decimal_format="string")


def main() -> None:
    """Answer one task."""
    task, answer = json.load(sys.stdin), _private_output()
    # If the service dies, nobody else ends this process.
    signal.setitimer(signal.ITIMER_REAL, task["seconds"] + _GRACE_SECONDS)
    _be_first_to_go()
    local.use(Path(task["connectors"]))
    addresses.allow_private_networks(task["private_networks"])
    local_paths.start_relative_paths_at(Path(task["data_folder"]))
    answer.write(_ENCODER.encode(_answered(task)))
    answer.flush()
    os._exit(0)  # a thread that the connector has left behind does not keep the process


def _private_output() -> BinaryIO:
    """Return the standard output, and discard what connectors print."""
    answer = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return answer


def _be_first_to_go() -> None:
    """Let Linux kill this process before the service if the machine runs out of memory."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


def _answered(task: dict[str, Any]) -> dict[str, Any]:
    connector: Connector | None = None
    try:
        connector = parse_connector(task["kind"], task["name"], task["config"])
        return {"value": _ACTIONS[task["action"]](connector, task)}
    except HeadraceError as error:
        code, detail = error.code, f"{error.detail} {error.hint}".strip()
    except Exception as error:
        # The text of an unexpected error may quote anything.
        code, detail = (
            "connector.crashed",
            f"The connector {task['name']} stopped with {type(error).__name__}.",
        )
    masking = MaskingFilter(secrets_within(connector) if connector else ())
    return {"error": (code, masking.mask(detail))}


def _check(connector: Connector, task: dict[str, Any]) -> str:
    return MaskingFilter(secrets_within(connector)).mask(connector.check())


def _streams(source: Source, task: dict[str, Any]) -> list[dict[str, Any]]:
    return [vars(stream) for stream in source.streams()]


def _preview(source: Source, task: dict[str, Any]) -> dict[str, Any]:
    """Return the first records as a run's output file would hold them, in the forms of docs/types.md."""
    path = Path(tempfile.gettempdir()) / "preview.parquet"
    with OutputWriter(path) as writer:
        for batch in _first(source, task["stream"], task["limit"]):
            writer.add(batch)
        output = writer.finish()
    columns = [{"name": field.name, "type": str(field.type)} for field in output.schema]
    lines = [line for batch in output.batches() for line in json_lines(batch).splitlines()]
    records = [msgspec.json.decode(line) for line in lines]
    return {"columns": columns, "records": _short(records)}


def _first(source: Source, stream: str, limit: int) -> Iterator[pa.RecordBatch]:
    log = logging.Logger("headrace.preview")
    log.addHandler(logging.NullHandler())
    left = limit
    for item in source.read(ReadRequest(stream=stream, log=log)):
        if isinstance(item, Checkpoint):
            continue
        batch = item.slice(0, left) if isinstance(item, pa.RecordBatch) else arrowize(item[:left])
        yield batch
        left -= batch.num_rows
        if left == 0:
            return


def _short(value: Any) -> Any:
    """Cut long texts and lists."""
    if isinstance(value, dict):
        return {str(key): _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in islice(value, _CHARACTERS)]
    if isinstance(value, str) and len(value) > _CHARACTERS:
        return value[:_CHARACTERS] + "…"
    return value


_ACTIONS: dict[str, Any] = {"check": _check, "streams": _streams, "preview": _preview}

if __name__ == "__main__":
    main()
