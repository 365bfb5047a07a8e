"""What becomes of each case of JSONTestSuite as a REST page and as a file; as a script it writes the page."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora import CORPORA
from http_servers.server import Answer, Asked, serving

from headrace.connectors import ConnectorError, ReadRequest
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.rest.connector import RestSource
from headrace.engine.arrow.arrowize import arrowize

CASES = CORPORA / "json"
PAGE = Path(__file__).parents[2] / "docs" / "json-cases.md"
_INTRODUCTION = (
    "What becomes of each parsing case of [JSONTestSuite](https://github.com/nst/JSONTestSuite), as a page "
    "of the `rest` source and as a file of the `files` source: both use [one reader](types.md#json-text). "
    "Cases `y_` must be read, `n_` refused; `i_` may be either. What is read is compared with another reader "
    "of JSON, value by value. A refusal is `source.not_json` of a page and `source.file_not_whole` of a "
    "file. `tests/support/json_outcomes.py` writes this page, and a test fails when it is not true."
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Rows, or why there are none."""

    rows: list[dict[str, Any]] | None = None
    refusal: str = ""

    @property
    def text(self) -> str:
        """For the page."""
        return "read" if self.rows is not None else f"refused: {self.refusal}"


def cases() -> list[Path]:
    """Return the cases; none where their folder is not there."""
    return sorted(CASES.glob("[yni]_*.json"))


def outcomes() -> Iterator[tuple[Path, Outcome, Outcome]]:
    """Yield each case with its outcome as a REST page and as a file."""

    def answer(asked: Asked) -> Answer:
        return Answer(
            body=(CASES / asked.query["case"]).read_bytes(), headers={"Content-Type": "application/json"}
        )

    with serving(answer) as server, tempfile.TemporaryDirectory() as folder:
        for case in cases():
            rest = RestSource.model_validate(
                {"base_url": server.url, "data_selector": "$", "paginator": "single_page"}
                | {"params": {"case": case.name}}
            )
            copy = Path(folder) / "case.json"
            copy.write_bytes(case.read_bytes())
            files = FilesSource.model_validate({"paths": [str(copy)]})
            yield case, _outcome(rest), _outcome(files)


def page() -> str:
    """Return the text of docs/json-cases.md."""
    lines = [
        "# JSON, case by case",
        "",
        _INTRODUCTION,
        "",
        "| Case | As a page | As a file |",
        "|---|---|---|",
    ]
    lines += [f"| `{case.stem}` | {rest.text} | {file.text} |" for case, rest, file in outcomes()]
    return "\n".join([*lines, ""])


def _outcome(source: RestSource | FilesSource) -> Outcome:
    rows: list[dict[str, Any]] = []
    try:
        for item in source.read(ReadRequest(stream="cases")):
            assert isinstance(item, Sequence), "neither source yields a checkpoint, nor Arrow, for JSON"
            rows += arrowize(list(item)).to_pylist()
    except ConnectorError as error:
        detail = error.detail.partition("): ")[2] or error.detail.partition(": ")[2] or error.detail
        return Outcome(refusal=detail.rstrip("."))
    return Outcome(rows=rows)


if __name__ == "__main__":
    PAGE.write_text(page())
