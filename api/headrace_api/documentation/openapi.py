"""The OpenAPI 3.1 document, generated from the endpoints' declarations and models."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from starlette.routing import compile_path

from headrace_api.http.idempotency import HEADER
from headrace_api.http.problems import MEDIA_TYPE, Problem
from headrace_api.http.responses import JSON
from headrace_api.http.routing import Endpoint

Json = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTION = """\
Store pipelines, run them, and read their results.

Send `Authorization: Bearer <token>`. `headrace token` prints the owner's token. Every error is a problem
document (RFC 9457) with a stable `code`. Lists are sorted newest first and paged with `limit` and `offset`.
"""
_TAGS = {
    "Pipelines": "What to read from a source, and where to write it.",
    "Runs": "Executions of pipelines: their status, logs and outputs.",
    "Domains": "Groups of pipelines, such as teams or business areas.",
    "Connectors": "The systems that pipelines read from and write to.",
    "Tokens": "API tokens and their roles.",
    "System": "The service itself.",
}


class _Readable(GenerateJsonSchema):
    """Keeps the order of the fields, and leaves out titles that only repeat a field's name."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """Return the schema unsorted."""
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out every field's title."""
        return False


class _Schemas:
    """The schemas of all models that the endpoints use, each of them once, by name."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        adapters: list[tuple[int, Literal["validation", "serialization"], TypeAdapter[Any]]] = [
            (_PROBLEM, "serialization", TypeAdapter(Problem))
        ]
        for endpoint in endpoints:
            adapters.append((id(endpoint.query), "validation", endpoint.query))
            if endpoint.body:
                adapters.append((id(endpoint.body), "validation", endpoint.body))
            if endpoint.answer:
                adapters.append((id(endpoint.answer), "serialization", endpoint.answer))
        found, definitions = TypeAdapter.json_schemas(
            adapters, ref_template=_REFERENCE, schema_generator=_Readable
        )
        self._found = {key: schema for (key, _), schema in found.items()}
        self._components: Json = definitions.get("$defs", {})
        # Query parameters are listed with each operation, so their models are not components.
        self._queries = {id(endpoint.query): self._resolved(id(endpoint.query)) for endpoint in endpoints}
        for endpoint in endpoints:
            self._components.pop(_name(self._found[id(endpoint.query)]), None)

    @property
    def components(self) -> Json:
        """The named schemas, sorted by name."""
        return dict(sorted(self._components.items()))

    def of(self, adapter: TypeAdapter[Any] | None) -> Json:
        """Return the schema of a body or an answer."""
        return self._found[_PROBLEM if adapter is None else id(adapter)]

    def query(self, endpoint: Endpoint) -> Mapping[str, Json]:
        """Return the schemas of the endpoint's query parameters, by name."""
        found: Mapping[str, Json] = self._queries[id(endpoint.query)].get("properties", {})
        return found

    def _resolved(self, key: int) -> Json:
        schema = self._found[key]
        resolved: Json = self._components.get(_name(schema), schema)
        return resolved


_PROBLEM = 0


def openapi(endpoints: list[Endpoint]) -> Json:
    """Return the document for these endpoints."""
    schemas = _Schemas(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(_path(endpoint), {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    used = {endpoint.tag for endpoint in endpoints}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace",
            "version": version("headrace"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag, "description": text} for tag, text in _TAGS.items() if tag in used],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, `headrace_...`."}
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Json:
    summary, _, description = (inspect.getdoc(endpoint.handler) or "").partition("\n\n")
    operation: Json = {
        "operationId": endpoint.handler.__name__,
        "summary": summary.removesuffix("."),
        "tags": [endpoint.tag],
    }
    if description:
        operation["description"] = description
    parameters = [*_path_parameters(endpoint), *_query_parameters(endpoint, schemas), *_headers(endpoint)]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body:
        operation["requestBody"] = {
            "required": endpoint.needs_body,
            "content": {JSON: {"schema": schemas.of(endpoint.body)}},
        }
    operation["responses"] = dict(sorted(_responses(endpoint, schemas)))
    if endpoint.role is None:
        operation["security"] = []
    else:
        operation["x-role"] = endpoint.role.value
    return operation


def _path(endpoint: Endpoint) -> str:
    path: str = compile_path(endpoint.path)[1]
    return path


def _path_parameters(endpoint: Endpoint) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)", endpoint.path):
        schema = TypeAdapter(endpoint.hints.get(name, str)).json_schema()
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(endpoint: Endpoint, schemas: _Schemas) -> Iterator[Json]:
    for name, found in schemas.query(endpoint).items():
        schema = {key: value for key, value in found.items() if key not in ("title", "description")}
        yield {"name": name, "in": "query", "description": found.get("description", ""), "schema": schema}


def _headers(endpoint: Endpoint) -> Iterator[Json]:
    """Yield the request headers that the endpoint reads."""
    if endpoint.method == "POST":
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"}
        yield _header(HEADER, "The same key and body within a day return the first answer.", key)
    if 412 in endpoint.problems:
        yield _header("If-Match", "The ETag that the change is based on. 412 if it has changed since.")
    if endpoint.method == "GET" and endpoint.role and endpoint.answer and not endpoint.answers_list:
        yield _header("If-None-Match", "The ETag that the client has. 304 if the resource has not changed.")
    if "text/event-stream" in endpoint.content:
        yield _header("Last-Event-ID", "The id of the last event received. The log continues after it.")
    if 416 in endpoint.problems:
        yield _header("Range", "One byte range of the Parquet file, such as `bytes=0-1023`.")


def _header(name: str, description: str, schema: Json | None = None) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}}


def _responses(endpoint: Endpoint, schemas: _Schemas) -> Iterator[tuple[str, Json]]:
    yield str(endpoint.status), _success(endpoint, schemas)
    if "If-None-Match" in [header["name"] for header in _headers(endpoint)]:
        yield "304", {"description": "Not modified"}
    if 416 in endpoint.problems:
        yield "206", {"description": "The requested range", "content": _media(endpoint.content)}
        yield "304", {"description": "Not modified"}
    if "text/event-stream" in endpoint.content:
        yield "204", {"description": "The whole log has been sent"}
    if endpoint.role is None:
        if 503 in endpoint.problems:
            answer = {JSON: {"schema": schemas.of(endpoint.answer)}}
            yield "503", {"description": "Not ready", "content": answer}
        return
    for status in sorted({*_statuses(endpoint), *endpoint.problems}):
        content = {MEDIA_TYPE: {"schema": schemas.of(None)}}
        yield str(status), {"description": HTTPStatus(status).phrase, "content": content}


def _statuses(endpoint: Endpoint) -> Iterator[int]:
    """Yield the error statuses that every endpoint of this kind may answer."""
    yield from (401, 422, 503)
    if endpoint.role and endpoint.role != "viewer":
        yield 403
    if endpoint.method in ("POST", "PUT"):
        yield from (400, 413, 415)
    if endpoint.method == "POST":
        yield 409
    if endpoint.method != "POST" and any(h["name"].startswith("If-") for h in _headers(endpoint)):
        yield 400


def _success(endpoint: Endpoint, schemas: _Schemas) -> Json:
    response: Json = {"description": HTTPStatus(endpoint.status).phrase}
    content = _media(endpoint.content)
    if endpoint.answer:
        content = {JSON: {"schema": schemas.of(endpoint.answer)}, **content}
    if content:
        response["content"] = content
    headers = dict(_answer_headers(endpoint, schemas))
    if headers:
        response["headers"] = headers
    return response


def _answer_headers(endpoint: Endpoint, schemas: _Schemas) -> Iterator[tuple[str, Json]]:
    text = {"schema": {"type": "string"}}
    if "limit" in schemas.query(endpoint):
        yield "X-Total-Count", {"description": "The total number of items.", "schema": {"type": "integer"}}
        yield (
            "Link",
            {"description": "Links `first`, `prev`, `next` and `last` (RFC 8288).", **text},
        )
    if endpoint.status == 201:
        yield "Location", {"description": "The URL of the new resource.", **text}


def _media(content: Mapping[str, Any]) -> Json:
    return {media_type: {"schema": schema} for media_type, schema in content.items()}


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
