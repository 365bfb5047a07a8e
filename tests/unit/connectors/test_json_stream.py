"""A long JSON text is read piece by piece, and each piece gives what the whole would."""

import io
import json
from typing import Any

import pytest
from corpora import CORPORA
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kit.arrow.json_stream import json_records
from headrace.connectors.kit.arrow.json_text import InvalidJSON, JsonRecords, NotJSON

CORPUS = CORPORA / "json"
_VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["}", "},{", "]", '"', "\\", "é", "\ud83d", ",", " "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab}"), inner, max_size=3),
    max_leaves=6,
)


def read(text: bytes, chunk: int) -> list[Any]:
    found = []
    for records in json_records(io.BytesIO(text).read, chunk):
        if isinstance(records, JsonRecords):
            found += [json.loads(bytes(item)) for item in records.items]
        else:
            found += records
    return found


def mended(value: Any) -> Any:
    return json.loads(
        json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").replace(b"?", b"\xef\xbf\xbd")
    )


@settings(max_examples=examples(100))
@given(
    values=st.lists(_VALUES, max_size=6),
    chunk=st.sampled_from([1, 2, 3, 7, 20, 1000]),
    indent=st.sampled_from([None, 1]),
)
def test_an_array_cut_anywhere_gives_its_items(values: list[Any], chunk: int, indent: int | None) -> None:
    text = b" \n" + json.dumps(values, indent=indent).encode() + b"\n"

    assert read(text, chunk) == mended(values)


@settings(max_examples=examples(100))
@given(
    values=st.lists(st.dictionaries(st.sampled_from("ab"), _VALUES, max_size=3), max_size=6),
    chunk=st.sampled_from([1, 2, 3, 7, 20, 1000]),
    indent=st.sampled_from([None, 1]),
)
def test_values_one_after_the_other_cut_anywhere_are_read(
    values: list[Any], chunk: int, indent: int | None
) -> None:
    text = b"\n".join(json.dumps(value, indent=indent).encode() for value in values)

    assert read(text, chunk) == mended(values)


BROKEN = [
    *(
        b"[1,2",
        b"[1,2,]",
        b"[1 2]",
        b"[1,2] x",
        b"[1,2]]",
        b"[,1]",
        b"[1,,2]",
        b"[",
        b'{"a":1',
        b'{"a":1},{"a":2}',
    ),
    *(
        b'[{"a":1}{"a":2}]',
        b'[{"a":NaN},{"a":1}]',
        b'[{"a":1},{"a":"x}]',
        b'[{"a":1}] [{"a":2}]',
        b'{"a":1} "x"',
    ),
]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_a_text_that_is_not_whole_is_refused(text: bytes, chunk: int) -> None:
    with pytest.raises(InvalidJSON):
        read(text, chunk)


@pytest.mark.parametrize("text", [b"", b"  \n", b"[]", b" [ ] \n"])
def test_nothing_is_no_records(text: bytes) -> None:
    assert read(text, 1) == []


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the folder of JSONTestSuite's cases is not there")
@pytest.mark.parametrize("chunk", [1, 5, 4096])
def test_every_array_of_jsontestsuite_is_read_or_refused_as_it_says(chunk: int) -> None:
    for path in sorted(CORPUS.glob("[yn]_*.json")):
        text = path.read_bytes()
        if len(text) < 50_000 and text.strip():  # larger ones take long byte by byte
            assert is_read(text, chunk) is path.name.startswith("y_"), path.name


def is_read(text: bytes, chunk: int) -> bool:
    try:
        for records in json_records(io.BytesIO(text).read, chunk):
            list(records)
    except (InvalidJSON, NotJSON):
        return False
    return True
