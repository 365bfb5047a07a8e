"""Reading a request: its body and query parameters, and the object that handlers get."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from headrace.errors import FieldError, Invalid
from headrace.records import Principal
from headrace_api.backend import Backend
from headrace_api.http import strict_json
from headrace_api.http.problems import HttpError

LARGEST_BODY = 1024 * 1024
_CODES = {"missing": "field.missing", "extra_forbidden": "field.unknown"}


class PayloadTooLarge(HttpError):
    """The body is larger than the limit, whatever its Content-Length says."""

    code = "request.too_large"
    title = "Request too large"
    status = 413

    @property
    def headers(self) -> dict[str, str]:
        """Close the connection, because the rest of the body is not read."""
        return {"Connection": "close"}


class UnsupportedMediaType(HttpError):
    """The body is not `application/json`."""

    code = "request.media_type"
    title = "Unsupported media type"
    hint = "Send uncompressed JSON with `Content-Type: application/json`."
    status = 415


class InvalidRequest(Invalid):
    """The body or the query parameters are well-formed but not valid; `errors` points to each error."""

    code = "request.invalid"
    title = "Invalid request"
    hint = "Correct the fields that `errors` points to."


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request to a public endpoint."""

    backend: Backend
    request: Request


@dataclass(frozen=True, kw_only=True)
class Call(Visit):
    """A request from an authenticated principal."""

    principal: Principal


async def read_body(request: Request) -> bytes:
    """Return the body. Raises PayloadTooLarge once the limit is exceeded, and UnsupportedMediaType."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > LARGEST_BODY):
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:  # a chunked body, or one longer than its Content-Length
            raise _too_large()
    if body:
        _require_json(request)
    return bytes(body)


def parse_body(adapter: TypeAdapter[Any], raw: bytes) -> Any:
    """Validate the body against its model. Raises MalformedJson, InvalidRequest."""
    faults = strict_json.control_characters(strict_json.parse(raw))
    if faults:
        raise _invalid(faults)
    try:
        return adapter.validate_json(raw, strict=True)
    except ValidationError as error:
        faults = _faults(error)
    # Outside the except clause, so that pydantic's error, which holds the body, is not chained.
    raise _invalid(faults)


def parse_query(adapter: TypeAdapter[Any], request: Request) -> Any:
    """Validate the query parameters against their model.

    Raises InvalidRequest, also for an unknown or a repeated parameter.
    """
    values = request.query_params
    repeated = sorted({key for key in values if len(values.getlist(key)) > 1})
    faults = [
        FieldError(
            pointer=strict_json.pointer((key,)), code="query.repeated", detail="Give this parameter once."
        )
        for key in repeated
    ] + strict_json.control_characters(dict(values))
    if faults:
        raise _invalid(faults)
    try:
        return adapter.validate_strings(dict(values))
    except ValidationError as error:
        raise _invalid(_faults(error)) from None


def _require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if media_type.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("The body must be `application/json` in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not have a content encoding.")


def _faults(error: ValidationError) -> list[FieldError]:
    return [
        FieldError(
            pointer=strict_json.pointer(fault["loc"]),
            code=_CODES.get(fault["type"], f"field.{fault['type']}"),
            detail="There is no such field." if fault["type"] == "extra_forbidden" else fault["msg"],
        )
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]


def _invalid(faults: list[FieldError]) -> InvalidRequest:
    first = f"{faults[0].pointer or 'The body'}: {faults[0].detail}"
    return InvalidRequest(
        first if len(faults) == 1 else f"{len(faults)} errors. The first: {first}", errors=faults
    )


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have at most {LARGEST_BODY} bytes.")
