"""A local server that speaks BigQuery's REST API v2, for Google's own client; DuckDB executes its SQL.

It issues tokens for JWTs that its key signed, takes multipart and resumable uploads, runs load, copy and
query jobs that are polled for, and keeps what the tests look at: datasets, tables, rows. Statements are
GoogleSQL as the connector writes it: backticks, named parameters, scripts of one transaction, ASSERT.
"""

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Json = dict[str, Any]
PROJECT = "my-project"
_DUCKDB = {
    "STRING": "VARCHAR", "INT64": "BIGINT", "FLOAT64": "DOUBLE", "BOOL": "BOOLEAN", "BYTES": "BLOB",
    "NUMERIC": "DECIMAL(38, 9)", "BIGNUMERIC": "DECIMAL(38, 18)", "DATE": "DATE", "TIME": "TIME",
    "DATETIME": "TIMESTAMP", "TIMESTAMP": "TIMESTAMPTZ",
}  # fmt: skip
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
_STANDARD = {legacy: name for name, legacy in _LEGACY.items()}
_LOADABLE = {  # what of a Parquet file a load job takes as a type
    "STRING": pa.types.is_string, "INT64": pa.types.is_int64, "FLOAT64": pa.types.is_float64,
    "BOOL": pa.types.is_boolean, "BYTES": pa.types.is_binary, "NUMERIC": pa.types.is_decimal,
    "BIGNUMERIC": pa.types.is_decimal, "DATE": pa.types.is_date32, "TIME": pa.types.is_time64,
    "DATETIME": lambda kind: pa.types.is_timestamp(kind) and kind.tz is None,
    "TIMESTAMP": lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
}  # fmt: skip
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Refused(Exception):
    """An answer that is an error, as the API writes it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error = status, {"reason": reason, "message": message}


@dataclass
class FakeBigQuery:
    """The state behind the server."""

    url: str = ""
    datasets: dict[str, Json] = field(default_factory=dict)
    tables: dict[tuple[str, str], Json] = field(default_factory=dict)
    jobs: dict[str, Json] = field(default_factory=dict)
    uploads: dict[str, tuple[Json, bytearray]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    fail_next: list[tuple[str, int, str]] = field(default_factory=list)  # path's end, status, reason
    asynchronous: bool = False  # say RUNNING first, as the API does: the client then waits a second
    scripts: list[str] = field(default_factory=list)
    uploaded: list[str] = field(default_factory=list)  # how each load's file came
    database: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.database.execute(f"ATTACH ':memory:' AS \"{PROJECT}\"")
        self.database.execute("SET TimeZone = 'UTC'")

    def service_account_key(self) -> Json:
        """A key file whose token endpoint is this server."""
        pem = _KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "k1",
            "token_uri": self.url + "/token", "private_key": pem.decode(), "client_id": "1",
            "client_email": "loader@my-project.iam.gserviceaccount.com",
        }  # fmt: skip

    def config(self, **changes: Any) -> Json:
        """A destination's configuration for this server."""
        authentication = {"service_account_key": self.service_account_key()}
        return {
            "project_id": PROJECT, "dataset": "raw_data", "api_endpoint": self.url,
            "authentication": authentication, **changes,
        }  # fmt: skip

    def rows(self, query: str) -> list[Json]:
        """The rows of a query on `dataset.table`."""
        with self.lock:
            self.database.execute(f'USE "{PROJECT}"')
            return _rows(self.database.execute(query))

    def arrow(self, query: str) -> pa.Table:
        """The same as Arrow."""
        with self.lock:
            self.database.execute(f'USE "{PROJECT}"')
            return self.database.sql(query).to_arrow_table()

    # Datasets and tables

    def get_dataset(self, name: str) -> Json:
        if name not in self.datasets:
            raise Refused(404, "notFound", f"Not found: Dataset {PROJECT}:{name}")
        return self.datasets[name]

    def insert_dataset(self, body: Json) -> Json:
        name = body["datasetReference"]["datasetId"]
        if name in self.datasets:
            raise Refused(409, "duplicate", f"Already Exists: Dataset {PROJECT}:{name}")
        self.database.execute(f'CREATE SCHEMA "{PROJECT}"."{name}"')
        self.datasets[name] = body
        return body

    def get_table(self, dataset: str, name: str) -> Json:
        if (dataset, name) not in self.tables:
            raise Refused(404, "notFound", f"Not found: Table {PROJECT}:{dataset}.{name}")
        return self.tables[dataset, name]

    def insert_table(self, dataset: str, body: Json) -> Json:
        self.get_dataset(dataset)
        name = body["tableReference"]["tableId"]
        if (dataset, name) in self.tables:
            raise Refused(409, "duplicate", f"Already Exists: Table {PROJECT}:{dataset}.{name}")
        for column in body["schema"]["fields"]:
            column["type"] = _LEGACY.get(column["type"], column["type"])
        columns = ", ".join(f'"{c["name"]}" {_kind(c)}' for c in body["schema"]["fields"])
        self.database.execute(f"CREATE TABLE {_sql(dataset, name)} ({columns})")
        self.tables[dataset, name] = {**body, "type": "TABLE"}
        return self.tables[dataset, name]

    def list_tables(self, dataset: str) -> Json:
        self.get_dataset(dataset)
        return {"tables": [table for (where, _), table in self.tables.items() if where == dataset]}

    def patch_table(self, dataset: str, name: str, body: Json) -> Json:
        table = self.get_table(dataset, name)
        known = {column["name"].lower() for column in table["schema"]["fields"]}
        for column in body["schema"]["fields"]:
            if column["name"].lower() not in known:
                self.database.execute(
                    f'ALTER TABLE {_sql(dataset, name)} ADD COLUMN "{column["name"]}" {_kind(column)}'
                )
                column["type"] = _LEGACY.get(column["type"], column["type"])
        return self._with_schema(table, body["schema"])

    def delete_table(self, dataset: str, name: str) -> Json:
        self.get_table(dataset, name)
        self.database.execute(f"DROP TABLE {_sql(dataset, name)}")
        del self.tables[dataset, name]
        return {}

    @staticmethod
    def _with_schema(table: Json, schema: Json) -> Json:
        table["schema"] = schema
        return table

    # Jobs

    def run_job(self, body: Json, file: bytes | None = None) -> Json:
        """Execute a job at once."""
        job_id = body["jobReference"]["jobId"]
        if job_id in self.jobs:
            raise Refused(409, "duplicate", f"Already Exists: Job {PROJECT}:{job_id}")
        configuration = body["configuration"]
        job: Json = {**body, "status": {"state": "DONE"}, "statistics": {}, "rows": None}
        job["configuration"] = {**configuration, "jobType": next(iter(configuration)).upper()}
        self.jobs[job_id] = job
        try:
            if "load" in configuration:
                rows = self._load(configuration["load"], file or b"")
                job["statistics"] = {"load": {"outputRows": str(rows)}}
            elif "copy" in configuration:
                self._copy(configuration["copy"])
            else:
                job["rows"] = self._query(configuration["query"])
        except Refused as error:
            job["status"] |= {"errorResult": error.error, "errors": [error.error]}
        except duckdb.Error as error:
            refused = {"reason": "invalidQuery", "message": str(error)}
            job["status"] |= {"errorResult": refused, "errors": [refused]}
        return {**job, "status": {"state": "RUNNING"} if self.asynchronous else job["status"], "rows": None}

    def job(self, job_id: str) -> Json:
        return {key: value for key, value in self.jobs[job_id].items() if key != "rows"}

    def query_results(self, job_id: str) -> Json:
        job = self.jobs[job_id]
        if error := job["status"].get("errorResult"):
            raise Refused(400, error["reason"], error["message"])
        found: list[Json] = job["rows"] or []
        rows = [{"f": [{"v": None if v is None else str(v)} for v in row.values()]} for row in found]
        fields = [
            {"name": name, "type": "STRING", "mode": "NULLABLE"} for name in (found[0] if found else ())
        ]
        return {
            "jobComplete": True, "jobReference": job["jobReference"], "schema": {"fields": fields},
            "rows": rows, "totalRows": str(len(rows)),
        }  # fmt: skip

    def _load(self, load: Json, file: bytes) -> int:
        assert load["sourceFormat"] == "PARQUET"
        data = pq.read_table(io.BytesIO(file))
        fields = load["schema"]["fields"]
        if [column["name"] for column in fields] != data.schema.names:
            raise Refused(400, "invalid", "The file's columns are not those of the schema")
        for column, held in zip(fields, data.schema, strict=True):
            if not _LOADABLE[column["type"]](held.type):
                raise Refused(400, "invalid", f"Field {column['name']} has incompatible types: {held.type}")
        place = load["destinationTable"]
        dataset, name = place["datasetId"], place["tableId"]
        if (dataset, name) not in self.tables:
            self.insert_table(dataset, {"tableReference": place, "schema": load["schema"]})
        self.database.register("incoming", data)
        self.database.execute(f"INSERT INTO {_sql(dataset, name)} BY NAME SELECT * FROM incoming")
        self.database.unregister("incoming")
        return data.num_rows

    def _copy(self, copy: Json) -> None:
        (source,), target = copy["sourceTables"], copy["destinationTable"]
        held = self.get_table(source["datasetId"], source["tableId"])
        place = target["datasetId"], target["tableId"]
        before = self.tables.get(place)
        if before and before.get("timePartitioning") != held.get("timePartitioning"):
            raise Refused(400, "invalid", "Incompatible table partitioning specification.")
        from_table = _sql(source["datasetId"], source["tableId"])
        self.database.execute(f"CREATE OR REPLACE TABLE {_sql(*place)} AS FROM {from_table}")
        self.tables[place] = {**json.loads(json.dumps(held)), "tableReference": target}

    def _query(self, query: Json) -> list[Json]:
        assert query["useLegacySql"] is False
        parameters = {
            parameter["name"]: parameter["parameterValue"].get("value")
            for parameter in query.get("queryParameters", [])
        }
        self.scripts.append(query["query"])
        answer: list[Json] = []
        try:
            for statement in filter(str.strip, query["query"].split(";\n")):
                answer = self._statement(statement.strip().rstrip(";"), parameters)
        except BaseException:
            if "BEGIN TRANSACTION" in query["query"]:
                self.database.execute("ROLLBACK")
            raise
        return answer

    def _statement(self, statement: str, parameters: Json) -> list[Json]:
        sql = statement.replace("`", '"').replace("CURRENT_TIMESTAMP()", "now()")
        sql = re.sub(r"@(\w+)", r"$\1", sql)
        sql = re.sub(r"(AS|DATA TYPE) ([A-Z]+[0-9]*)\b", lambda m: f"{m[1]} {_DUCKDB.get(m[2], m[2])}", sql)
        asserted = re.fullmatch(r"ASSERT (.*) AS '(.*)'", sql, re.DOTALL)
        if asserted:
            sql = f"SELECT {asserted[1]}"
        used = {name: value for name, value in parameters.items() if f"${name}" in sql}
        result = self.database.execute(sql, used or None)
        rows = _rows(result) if sql.startswith("SELECT") else []
        if asserted and not next(iter(rows[0].values())):
            raise Refused(400, "invalidQuery", asserted[2])
        altered = re.match(r'ALTER TABLE "[^"]+"\."(\w+)"\."(\w+)" ALTER COLUMN "(\w+)"', sql)
        if altered:
            self._altered(altered[1], altered[2], altered[3], statement.rpartition(" ")[2])
        return rows

    def _altered(self, dataset: str, table: str, column: str, kind: str) -> None:
        for held in self.tables[dataset, table]["schema"]["fields"]:
            if held["name"] == column:
                held["type"] = _LEGACY.get(kind, kind)


def _rows(result: duckdb.DuckDBPyConnection) -> list[Json]:
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _kind(column: Json) -> str:
    return _DUCKDB[_STANDARD.get(column["type"], column["type"])]


def _sql(dataset: str, table: str) -> str:
    return f'"{PROJECT}"."{dataset}"."{table}"'


class _Handler(BaseHTTPRequestHandler):
    """Routes requests to the state."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold back each answer for 40 ms
    state: FakeBigQuery

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client is gone
            self.close_connection = True
            return
        with self.state.lock:
            try:
                self._route(body)
            except Refused as error:
                fault = {"code": error.status, "message": error.error["message"], "errors": [error.error]}
                self._send(error.status, {"error": fault})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server names them so

    def _route(self, body: bytes) -> None:
        url = urlsplit(self.path)
        if url.path == "/token":
            return self._token(parse_qs(body.decode()))
        self._authorize(url.path)
        if url.path.startswith("/upload/"):
            return self._upload(url.query, body)
        _, _, resource = url.path.partition(f"/bigquery/v2/projects/{PROJECT}/")
        document = json.loads(body) if body else {}
        match self.command, *resource.split("/"):
            case "POST", "datasets":
                return self._send(200, self.state.insert_dataset(document))
            case "GET", "datasets", name:
                return self._send(200, self.state.get_dataset(name))
            case "POST", "datasets", dataset, "tables":
                return self._send(200, self.state.insert_table(dataset, document))
            case "GET", "datasets", dataset, "tables":
                return self._send(200, self.state.list_tables(dataset))
            case "GET", "datasets", dataset, "tables", name:
                return self._send(200, self.state.get_table(dataset, name))
            case "PATCH", "datasets", dataset, "tables", name:
                return self._send(200, self.state.patch_table(dataset, name, document))
            case "DELETE", "datasets", dataset, "tables", name:
                return self._send(200, self.state.delete_table(dataset, name))
            case "POST", "jobs":
                return self._send(200, self.state.run_job(document))
            case "GET", "jobs", job_id:
                return self._send(200, self.state.job(job_id))
            case "GET", "queries", job_id:
                return self._send(200, self.state.query_results(job_id))
        raise Refused(404, "notFound", f"No such method: {self.command} {url.path}")

    def _authorize(self, path: str) -> None:
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.state.tokens:
            raise Refused(401, "authError", "Request had invalid authentication credentials.")
        for planned in self.state.fail_next:
            if path.endswith(planned[0]):
                self.state.fail_next.remove(planned)
                raise Refused(planned[1], planned[2], "As planned by the test")

    def _token(self, form: dict[str, list[str]]) -> None:
        signed, _, signature = form["assertion"][0].rpartition(".")
        padded = signature + "=" * (-len(signature) % 4)
        try:
            _KEY.public_key().verify(
                base64.urlsafe_b64decode(padded), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return self._send(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        token = f"ya29.{uuid4()}"
        self.state.tokens.add(token)
        return self._send(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def _upload(self, query: str, body: bytes) -> None:
        parameters = parse_qs(query)
        if parameters["uploadType"] == ["multipart"]:
            self.state.uploaded.append("multipart")
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts: Any = message_from_bytes(head + body).get_payload()
            job = json.loads(parts[0].get_payload())
            # The parser of mail would change line ends in the file: take its bytes from the body.
            boundary = b"\r\n--" + parts_boundary(self.headers["Content-Type"])
            file = body.split(boundary)[1].partition(b"\r\n\r\n")[2]
            return self._send(200, self.state.run_job(job, file))
        if self.command == "POST":
            upload_id = uuid4().hex
            self.state.uploads[upload_id] = (json.loads(body), bytearray())
            place = f"{self.state.url}/upload/bigquery/v2/projects/{PROJECT}/jobs"
            return self._send(200, {}, Location=f"{place}?uploadType=resumable&upload_id={upload_id}")
        return self._chunk(parameters["upload_id"][0], body)

    def _chunk(self, upload_id: str, body: bytes) -> None:
        job, received = self.state.uploads[upload_id]
        received += body
        if not self.headers["Content-Range"].endswith(f"/{len(received)}"):
            return self._send(308, {}, Range=f"bytes=0-{len(received) - 1}")
        self.state.uploaded.append("resumable")
        return self._send(200, self.state.run_job(job, bytes(received)))

    def _send(self, status: int, document: Json, **headers: str) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Stay quiet."""


def parts_boundary(content_type: str) -> bytes:
    """The boundary that a multipart content type names."""
    found = re.search(r"boundary=\"?([^\";]+)", content_type)
    assert found
    return found[1].encode()


@contextmanager
def run_bigquery() -> Iterator[FakeBigQuery]:
    """Serve a project without datasets on loopback."""
    state = FakeBigQuery()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        server.shutdown()
        thread.join()
