"""What holds for the configuration of every connector: nothing unknown, nothing secret shown."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from headrace.conformance.cases import Case, NotApplicable, require
from headrace.connectors import Connector, Section, json_schema
from headrace.connectors.contract.secrets import secrets_within
from headrace.errors import HeadraceError

_SECRET = re.compile(r"(?i)(token|passw|passphrase|secret|credential|dsn|cookie|api_?key|private_?key|_key$)")
_NO_SECRET = {
    "access_token_name", "links_next_key", "merge_key", "primary_key", "primary_keys",
    "token_refresh_endpoint",
}  # fmt: skip
_ADDRESS = re.compile(r"^(host|hostname|port|ur[il]|dsn|endpoint|token_refresh_endpoint|base_url|address)$")


def is_described_and_strict(case: Case, folder: Path) -> None:
    """The connector says what it is, and refuses keys that it does not know."""
    connector = type(case.connector)
    for fact in ("name", "title", "summary"):
        require(bool(getattr(connector, fact, "")), f"{connector.__name__} has no {fact}.")
    require(json_schema(connector).get("additionalProperties") is False, "Unknown keys are accepted.")
    loose = [model.__name__ for model in models_of(connector) if not issubclass(model, Section)]
    require(not loose, f"Derive from Section: {', '.join(loose)}.")
    missing = set(connector.address_fields) - set(connector.model_fields)
    require(not missing, f"`address_fields` names no field: {', '.join(missing)}.")


def declares_its_secrets(case: Case, folder: Path) -> None:
    """Fields that sound secret are `SecretStr`, and those that decide where secrets go are address fields."""
    connector = type(case.connector)
    exposed = exposed_secrets(connector)
    require(not exposed, f"Make it a SecretStr: {', '.join(exposed)}.")
    forgotten = forgotten_addresses(connector)
    require(not forgotten, f"Name it in `address_fields`: {', '.join(forgotten)}.")


def check_is_a_sentence(case: Case, folder: Path) -> None:
    """`check` says in a sentence what it found."""
    answer = case.connector.check()
    require(isinstance(answer, str) and answer.endswith("."), f"check() returned {answer!r}, not a sentence.")


def exposed_secrets(connector: type[Connector]) -> list[str]:
    """Return the fields whose names sound secret and whose type is none that is kept secret."""
    return [
        f"{model.__name__}.{name}"
        for model in models_of(connector)
        for name, field in model.model_fields.items()
        if _SECRET.search(name) and name not in _NO_SECRET
        if not any(issubclass(kind, SecretStr | BaseModel) for kind in _types_within(field.annotation))
    ]


def forgotten_addresses(connector: type[Connector]) -> list[str]:
    """Return the fields whose names say where a connection goes, and that `address_fields` leaves out.

    One that is a section of its own is not counted: its fields are.
    """
    return [
        f"{model.__name__}.{name}"
        for model in models_of(connector)
        for name, field in model.model_fields.items()
        if _ADDRESS.search(name) and name not in getattr(model, "address_fields", ())
        if not any(issubclass(kind, BaseModel) for kind in _types_within(field.annotation))
    ]


def models_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and the models nested in it."""
    yield model
    for field in model.model_fields.values():
        for kind in _types_within(field.annotation):
            if issubclass(kind, BaseModel):
                yield from models_of(kind)


def require_discretion(connector: Connector, use: Callable[[logging.Logger], object]) -> None:
    """Require that a connector's secrets stay out of its texts, its log and its errors while it is used.

    Raises NotApplicable where the configuration holds no secret.
    """
    secrets = [secret for secret in secrets_within(connector) if secret]
    if not secrets:
        raise NotApplicable("the configuration holds no secret")
    heard = _Ear()
    logger = logging.Logger("headrace.conformance", logging.DEBUG)
    logger.addHandler(heard)
    texts = [repr(connector), str(connector), connector.model_dump_json()]
    with suppress(HeadraceError):
        texts.append(connector.check())
    try:
        use(logger)
    except Exception as error:
        texts += _texts(error)
    shown = [text for text in (*texts, *heard.lines) for secret in secrets if secret in text]
    require(not shown, f"A secret is shown in a text, a log line or an error, {len(shown)} times.")


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def _texts(error: BaseException | None) -> Iterator[str]:
    """An error's own text and those of the errors that it shows as its causes."""
    while error is not None:
        yield f"{error} {error.args}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _types_within(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _types_within(inner)
