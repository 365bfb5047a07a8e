"""Files as they come: drifting, quoted, compressed, broken, by HTTP."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather
from pydantic import ValidationError

from headrace.connectors import ReadRequest, Unauthorized, Unreachable, Unreadable
from headrace.connectors.files import csv as file_csv
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.files.formats import NotWhole
from headrace.connectors.files.found import FileChanged
from headrace.connectors.kit.network import addresses
from headrace.connectors.kit.network.addresses import ForbiddenAddress


def read(*paths: Path | str, **config: Any) -> list[dict[str, Any]]:
    source = FilesSource.model_validate({"paths": [str(path) for path in paths], **config})
    rows: list[dict[str, Any]] = []
    for batch in source.read(ReadRequest(stream="things")):
        rows += batch.to_pylist() if isinstance(batch, pa.RecordBatch) else list(batch)
    return rows


@pytest.fixture
def csv(tmp_path):
    def write(text: str | bytes, name: str = "things.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


class _Handler(BaseHTTPRequestHandler):
    """Answers as the path says, and remembers the headers it was sent."""

    seen: ClassVar[list[tuple[str, dict[str, str]]]]
    redirect_to = ""

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        answer = getattr(self, "_" + self.path.split("?")[0].strip("/").split(".")[0])
        answer()

    def _things(self) -> None:
        self._send(200, b"id,name\n1,a\n2,b\n")

    def _missing(self) -> None:
        self._send(404, b"secret-body")

    def _secret(self) -> None:
        self._send(200 if self.headers.get("X-Key") == "k" else 401, b"id\n1\n")

    def _broken(self) -> None:
        self._send(200, b"id\n1\n", length=1000)

    def _moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.redirect_to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Handler]]]:
    class Handler(_Handler):
        seen: ClassVar[list[tuple[str, dict[str, str]]]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Handler
        server.shutdown()
        thread.join()


@pytest.fixture
def no_private_networks() -> Iterator[None]:
    addresses.allow_private_networks(False)
    yield
    addresses.allow_private_networks(True)


def test_a_csv_column_of_numbers_is_a_column_of_numbers(csv):
    path = csv("id,price,active,name\n1,1.50,true,a\n2,10,false,\n")

    assert read(path) == [
        {"id": 1, "price": 1.5, "active": True, "name": "a"},
        {"id": 2, "price": 10.0, "active": False, "name": None},
    ]


def test_a_csv_column_that_turns_to_text_late_is_text_as_it_was_written(csv, monkeypatch):
    monkeypatch.setattr(file_csv, "_BLOCKS", (64 * 1024, 128 * 1024))
    path = csv("id,code\n" + "".join(f"{number},{number}\n" for number in range(50_000)) + "50000,007\n")

    rows = read(path)

    assert rows[7] == {"id": 7, "code": "7"}
    assert rows[-1] == {"id": 50_000, "code": "007"}


@pytest.mark.parametrize(
    "value", ["007", "1e5", "12345678901234567890", "0.1234567890123456789", "+1", "NaN", "NA"]
)
def test_a_csv_value_that_a_number_would_change_is_text(csv, value):
    assert read(csv(f"a,b\n{value},x\n")) == [{"a": value, "b": "x"}]


def test_an_empty_csv_field_is_null_and_empty_quotes_are_an_empty_text(csv):
    assert read(csv('a,b\n,""\n')) == [{"a": None, "b": ""}]


def test_csv_quotes_hold_delimiters_line_ends_and_quotes(csv):
    assert read(csv('a;b\n"x;y\nz";"say ""hi"""\n'), delimiter=";") == [{"a": "x;y\nz", "b": 'say "hi"'}]


def test_a_byte_order_mark_is_no_part_of_the_first_name(csv):
    assert read(csv("\ufeffa\nx\n")) == [{"a": "x"}]


@pytest.mark.parametrize("text", ["", "\n", "a,b\n"])
def test_a_csv_file_without_rows_has_none(csv, text):
    assert read(csv(text)) == []


@pytest.mark.parametrize("text", ["a,b\n1,2,secret\n", b"a\nsecret\xff\n", "a,a\n1,2\n"])
def test_a_broken_csv_file_is_refused_without_quoting_it(csv, text):
    with pytest.raises(Unreadable) as caught:
        read(csv(text))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_json_lines_are_read_compressed_or_not(tmp_path, compress):
    rows = [{"a": 1}, {"b": {"c": [1, "x"]}}, {"a": 2**70}]
    path = tmp_path / "things.jsonl.gz"
    path.write_bytes(compress("\n\n".join(map(json.dumps, rows)).encode()))

    assert read(path) == rows


def test_broken_json_and_broken_gzip_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": secret}')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])

    for name in ("a.jsonl", "b.jsonl.gz"):
        with pytest.raises(Unreadable):
            read(tmp_path / name)


def test_parquet_files_that_match_a_pattern_are_read_in_order(tmp_path):
    for number in (2, 1):
        pq.write_table(pa.table({"id": [number]}), tmp_path / f"{number}.parquet")

    assert read(tmp_path / "*.parquet") == [{"id": 1}, {"id": 2}]


def test_a_pattern_without_a_file_is_an_error(tmp_path):
    with pytest.raises(Unreadable):
        read(tmp_path / "*.csv")


def test_a_file_of_an_unknown_kind_is_refused_unless_its_format_is_named(csv):
    path = csv("a\n1\n", "things.dat")

    with pytest.raises(Unreadable):
        read(path)
    assert read(path, format="csv") == [{"a": 1}]


@pytest.mark.parametrize("path", ["ftp://host/a.csv", "file:///etc/passwd", "http://user:pw@host/a.csv"])
def test_other_schemes_and_credentials_in_urls_are_refused_when_the_pipeline_is_made(path):
    with pytest.raises(ValidationError):
        FilesSource(paths=(path,))


def test_a_url_is_read(server):
    base, _ = server

    assert read(f"{base}/things.csv") == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]


def test_headers_go_along_and_a_refusal_is_told_as_one(server):
    base, _ = server

    assert read(f"{base}/secret.csv", headers={"X-Key": "k"}) == [{"id": 1}]
    with pytest.raises(Unauthorized):
        read(f"{base}/secret.csv")


def test_a_missing_page_is_no_data_and_its_url_is_not_told(server):
    with pytest.raises(Unreadable) as caught:
        read(f"{server[0]}/missing.csv?key=secret")

    assert "secret" not in str(caught.value)


def test_a_transfer_that_breaks_off_is_no_data(server):
    with pytest.raises(Unreachable):
        read(f"{server[0]}/broken.csv")


def test_headers_do_not_follow_a_redirect_to_another_host(server):
    base, handler = server
    handler.redirect_to = base.replace("127.0.0.1", "localhost") + "/things.csv"

    read(f"{base}/moved.csv", headers={"X-Key": "k"})

    assert [(path, headers.get("x-key")) for path, headers in handler.seen] == [
        ("/moved.csv", "k"),
        ("/things.csv", None),
    ]


def test_a_redirect_to_a_metadata_service_is_refused(server):
    base, handler = server
    handler.redirect_to = "http://169.254.169.254/latest/meta-data.csv"

    with pytest.raises(ForbiddenAddress):
        read(f"{base}/moved.csv")


@pytest.mark.usefixtures("no_private_networks")
def test_a_private_address_is_refused_where_private_networks_are(server):
    base, handler = server

    for url in (base, base.replace("127.0.0.1", "localhost"), base.replace("127.0.0.1", "2130706433")):
        with pytest.raises(ForbiddenAddress):
            read(f"{url}/things.csv")
    assert handler.seen == []


def test_numbers_that_a_double_holds_digit_by_digit_are_numbers(csv):
    rows = read(csv("a,b,c\n0.7973411560086249,12345678901,1\n-1.50,2.5,x\n"))

    assert rows == [
        {"a": 0.7973411560086249, "b": 12345678901.0, "c": "1"},
        {"a": -1.5, "b": 2.5, "c": "x"},
    ]


def test_a_row_that_is_longer_than_a_block_is_read(csv):
    long = "x" * 3_000_000

    assert read(csv(f"a,b\n1,{long}\n2,y\n")) == [{"a": 1, "b": long}, {"a": 2, "b": "y"}]


def test_a_broken_row_is_told_by_its_place_alone(csv):
    with pytest.raises(NotWhole, match="Expected 2 columns, got 3") as caught:
        read(csv("a,b\n1,2\n3,4,secret\n"))

    assert "secret" not in str(caught.value)


def test_tabs_encodings_and_untyped_columns_are_read_as_they_are_configured(csv):
    assert read(csv("a\tb\n1\t2\n", "things.tsv")) == [{"a": 1, "b": 2}]
    assert read(csv("a\nn\u00e9\n".encode("latin-1")), encoding="latin-1") == [{"a": "n\u00e9"}]
    assert read(csv("a\n1\n"), infer_types=False) == [{"a": "1"}]


def test_a_file_s_name_may_be_a_column_and_takes_no_other_s_place(csv):
    path = csv("a\n1\n")

    assert read(path, file_column="file") == [{"a": 1, "file": str(path)}]
    with pytest.raises(Unreadable):
        read(path, file_column="a")


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1180591620717411303424}, {"b": [1, {"c": null}]}]',
        '{"a": 1180591620717411303424}\n{"b": [1, {"c": null}]}',
        '\ufeff[\n  {"a": 1180591620717411303424},\n  {"b": [1, {"c": null}]}\n]\n',
    ],
)
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_a_json_document_is_read_record_by_record(tmp_path, text, compression):
    path = tmp_path / "things.json"
    content = text.encode()
    path.write_bytes(pa.compress(content, compression, asbytes=True) if compression else content)

    assert read(path) == [{"a": 2**70}, {"b": [1, {"c": None}]}]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a":', '{"a": secret}', '{"a": 1}]'])
def test_a_broken_json_document_is_refused_without_quoting_it(tmp_path, text):
    (tmp_path / "things.json").write_text(text)

    with pytest.raises(NotWhole) as caught:
        read(tmp_path / "things.json")
    assert "secret" not in str(caught.value)


def test_arrow_files_and_streams_are_read_without_their_dictionaries(tmp_path):
    table = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()})
    feather.write_feather(table, tmp_path / "1.feather", compression="zstd")
    with pa.ipc.new_stream(str(tmp_path / "2.arrow"), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "3.arrow.gz").write_bytes(gzip.compress((tmp_path / "2.arrow").read_bytes()))

    assert read(tmp_path / "*") == [{"a": "x"}, {"a": "y"}, {"a": "x"}] * 3
    (tmp_path / "4.arrow").write_bytes((tmp_path / "2.arrow").read_bytes()[:-40])
    with pytest.raises(NotWhole):
        read(tmp_path / "4.arrow")


def test_two_stars_cross_folders_and_hidden_files_are_left_out(tmp_path):
    for name in ("a.csv", "b/c.csv", "b/d/e.csv", "b/.hidden/f.csv", ".g.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"a\n{name}\n")

    assert [row["a"] for row in read(tmp_path / "**" / "*.csv")] == ["a.csv", "b/c.csv", "b/d/e.csv"]
    assert [row["a"] for row in read(tmp_path / "*" / "[c-d].csv")] == ["b/c.csv"]


def test_a_file_that_two_patterns_match_is_read_once(csv):
    path = csv("a\n1\n")

    assert read(path, path.with_name("*.csv")) == [{"a": 1}]


def test_a_link_does_not_lead_a_pattern_out_of_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (tmp_path / "in" / "link.csv").symlink_to(tmp_path / "secret.csv")

    with pytest.raises(Unreadable, match="leads out"):
        read(tmp_path / "in" / "*.csv")


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_fails_the_run_for_now(csv, change):
    path = csv("a\n" + "1\n" * 1_200_000)
    rows = FilesSource(paths=(str(path),)).read(ReadRequest(stream="things"))

    next(rows)
    if change == "append":
        with path.open("a") as file:
            file.write("2\n")
    elif change == "replace":
        path.with_name("new").write_text("a\n3\n")
        path.with_name("new").replace(path)
    else:
        path.unlink()

    with pytest.raises(FileChanged) as caught:
        list(rows)
    assert caught.value.temporary
