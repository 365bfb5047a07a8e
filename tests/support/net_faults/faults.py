"""The faults of a network and of the servers behind it: what happens, and what must become of a run."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

from net_faults.cases import Case, DestinationCase, Place, ReferenceCase
from net_faults.peer import (
    Fault,
    Peer,
    closed_port,
    http_answer,
    server_tls,
    unanswered_port,
    with_broken_document,
    with_longer_length,
)

UNREACHABLE = {"connector.unreachable", "reference.unreachable"}
LIMITED = {"connector.rate_limited", *UNREACHABLE}
TRANSPORT = "transport"
DAY = "86400"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A fault, and what a run that meets it ends with."""

    name: str
    makes: Callable[[Case], AbstractContextManager[Place]]
    codes: frozenset[str]
    temporary: bool = True
    applies: Callable[[type[Case]], bool] = lambda case: True
    may_succeed: bool = False  # the client gets over it
    is_done: bool = False  # the load was committed all the same


@contextmanager
def at(case: Case, **changes: Any) -> Iterator[Place]:
    """Lead the pipeline to another place."""
    yield Place(**{"port": case.peer.port} | changes)


@contextmanager
def faulty(case: Case, fault: Fault) -> Iterator[Place]:
    """Let the proxy misbehave."""
    case.peer.fault = fault
    try:
        yield Place(port=case.peer.port)
    finally:
        hits = case.peer.hits
        case.peer.heal()
    assert hits, f"{case.name} never came to the fault: no {fault.word!r}."


def middle(action: Any) -> Callable[[Case], AbstractContextManager[Place]]:
    """Misbehave in the middle of the answer."""
    return lambda case: faulty(case, Fault(action=action, word=case.word, after=case.after))


def changed(change: Callable[[bytes], bytes]) -> Callable[[Case], AbstractContextManager[Place]]:
    """Change the answer."""
    return lambda case: faulty(case, Fault(action="change", word=case.word, change=change))


def answered(status: str, **headers: str) -> Callable[[Case], AbstractContextManager[Place]]:
    """Answer for the server, each time."""
    answer = http_answer(status, b'{"message": "not now"}', **headers)
    return lambda case: faulty(case, Fault(action="answer", word=case.word, answer=answer))


def at_commit(action: Any) -> Callable[[Case], AbstractContextManager[Place]]:
    """Misbehave where a load is published."""
    return lambda case: faulty(case, Fault(action=action, word=case.commit, skip=case.skip))


@contextmanager
def _unanswered(case: Case) -> Iterator[Place]:
    with unanswered_port() as port:
        yield Place(port=port)


@contextmanager
def _name(case: Case, *, hangs: bool) -> Iterator[Place]:
    """Lead to a name whose look-up fails, or hangs: no process can be given a resolver of its own."""
    look_up, released = socket.getaddrinfo, threading.Event()

    def looked_up(host: Any, *args: Any, **options: Any) -> Any:
        if host not in ("db.test", b"db.test"):
            return look_up(host, *args, **options)
        if hangs:
            released.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with patch("socket.getaddrinfo", looked_up):
        try:
            yield Place(host="db.test", port=case.peer.port)
        finally:
            released.set()


@contextmanager
def _tls(case: Case, *, hangs: bool) -> Iterator[Place]:
    """Encrypt the connection: with a handshake that never ends, or a certificate that nobody knows."""
    tls: Literal["any", "trusted"] = "any" if hangs else "trusted"
    with ExitStack() as stack:
        if case.kind == "mysql":  # its handshake begins in the clear: the server's own certificate is unknown
            if hangs:
                stack.enter_context(faulty(case, Fault(action="stall", word=b"\x16\x03")))
            yield Place(port=case.peer.port, tls=tls)
            return
        folder = case.folder / "tls"
        folder.mkdir(exist_ok=True)
        greeting = b"S" if case.kind == "postgres" else b""
        peer = Peer(case.peer._target, tls=None if hangs else server_tls(folder), greeting=greeting)
        stack.callback(peer.close)
        if hangs and not greeting:
            peer.fault = Fault(action="mute")
        elif hangs:
            peer.fault = Fault(action="stall", word=b"\x16\x03")
        yield Place(port=peer.port, tls=tls)


@contextmanager
def _locked(case: Case) -> Iterator[Place]:
    assert isinstance(case, DestinationCase)
    with case.locked():
        yield Place(port=case.peer.port)


@contextmanager
def _full(case: Case) -> Iterator[Place]:
    assert isinstance(case, DestinationCase)
    with case.full():
        yield Place(port=case.peer.port)


def _has_an_end(case: type[Case]) -> bool:
    """Whether a server that says nothing more is given up: psycopg2, which dlt loads with, waits on."""
    return not case.name.startswith("dlt destination")


def _speaks_http(case: type[Case]) -> bool:
    return case.kind == "http"


def _has_tls(case: type[Case]) -> bool:
    return not case.name.startswith("dlt destination")


def _has_documents(case: type[Case]) -> bool:
    return _speaks_http(case) and case.document == "JSON" and not case.name.startswith("bigquery")


def _has_bodies(case: type[Case]) -> bool:
    return not issubclass(case, DestinationCase)


def _publishes(case: type[Case]) -> bool:
    return bool(case.commit)


def _is_database(case: type[Case]) -> bool:
    return case.name in ("postgres destination", "mysql destination")


def _is_by_name(case: type[Case]) -> bool:
    return not case.name.startswith("dlt destination")  # libpq looks up by itself there


def codes(*more: str) -> frozenset[str]:
    """Return what a network that fails is called, and other codes."""
    return frozenset({*UNREACHABLE, *more})


_BROKEN = {
    "source.unreadable", "source.not_json", "source.file_not_whole", "dlt.source_failed",
    "reference.unresolved", *UNREACHABLE,
}  # fmt: skip
CAUSES: tuple[Cause, ...] = (
    Cause(name="connections are refused", makes=lambda case: at(case, port=closed_port()), codes=codes()),
    Cause(name="connecting is never answered", makes=_unanswered, codes=codes()),
    Cause(
        name="the server takes connections and says nothing",
        makes=lambda case: faulty(case, Fault(action="mute")),
        codes=codes(),
    ),
    Cause(
        name="the look-up of the name hangs",
        makes=lambda case: _name(case, hangs=True),
        codes=codes(),
        applies=_is_by_name,
    ),
    Cause(
        name="the name is not known",
        makes=lambda case: _name(case, hangs=False),
        codes=codes(),
        applies=_is_by_name,
    ),
    Cause(
        name="the handshake of TLS hangs",
        makes=lambda case: _tls(case, hangs=True),
        codes=codes(),
        applies=_has_tls,
    ),
    Cause(
        name="the certificate is not trusted",
        makes=lambda case: _tls(case, hangs=False),
        codes=frozenset({"connector.untrusted", "reference.unresolved"}),
        temporary=False,
        applies=_has_tls,
    ),
    Cause(name="the network stops in the middle", makes=middle("stall"), codes=codes(), applies=_has_an_end),
    Cause(
        name="the server's machine is gone without a word",
        makes=middle("half-open"),
        codes=codes(),
        applies=_has_an_end,
    ),
    Cause(
        name="the connection is reset in the middle", makes=middle("reset"), codes=codes(), may_succeed=True
    ),
    Cause(name="the answer is cut off", makes=middle("truncate"), codes=codes(), may_succeed=True),
    Cause(name="the answer drips for ever", makes=middle("drip"), codes=codes(), applies=_has_an_end),
    Cause(
        name="the answer is cut off within its headers",
        makes=lambda case: faulty(case, Fault(action="truncate", word=case.word, after=25)),
        codes=codes(),
        applies=_speaks_http,
        may_succeed=True,
    ),
    Cause(
        name="the answer promises more than it holds",
        makes=changed(with_longer_length),
        codes=codes(),
        applies=lambda case: _speaks_http(case) and _has_bodies(case),
        may_succeed=True,
    ),
    Cause(
        name="the document is broken",
        makes=changed(with_broken_document),
        codes=frozenset(_BROKEN),
        temporary=False,
        applies=lambda case: _has_documents(case) and _has_bodies(case),
    ),
    Cause(
        name="429 for ever",
        makes=answered("429 Too Many Requests"),
        codes=frozenset(LIMITED),
        applies=_speaks_http,
    ),
    Cause(
        name="429 with a Retry-After of a day",
        makes=answered("429 Too Many Requests", Retry_After=DAY),
        codes=frozenset(LIMITED),
        applies=lambda case: _speaks_http(case) and not case.name.startswith("dlt"),
    ),
    Cause(name="503 for ever", makes=answered("503 Unavailable"), codes=codes(), applies=_speaks_http),
    Cause(
        name="503 with a Retry-After of a day",
        makes=answered("503 Unavailable", Retry_After=DAY),
        codes=codes(),
        applies=lambda case: _speaks_http(case) and not case.name.startswith("dlt"),
    ),
    Cause(
        name="another session holds a lock",
        makes=_locked,
        codes=frozenset({"connector.busy"}),
        applies=_is_database,
    ),
    Cause(
        name="the server's disk is full",
        makes=_full,
        codes=frozenset({"connector.out_of_space"}),
        applies=_is_database,
    ),
    Cause(
        name="507: the store is full",
        makes=answered("507 Insufficient Storage"),
        codes=frozenset({"connector.out_of_space"}),
        applies=lambda case: case.name == "file destination, s3",
    ),
    Cause(
        name="the server dies before the commit",
        makes=at_commit("swallow"),
        codes=codes(),
        applies=_publishes,
        may_succeed=True,
    ),
    Cause(
        name="the server dies in the commit, which is done",
        makes=at_commit("done-then-reset"),
        codes=codes(),
        applies=_publishes,
        may_succeed=True,
        is_done=True,
    ),
)


def cells(cases: tuple[type[Case], ...]) -> Iterator[tuple[type[Case], Cause]]:
    """Yield each connector with each fault that it can meet."""
    for case in cases:
        for cause in CAUSES:
            if cause.applies(case):
                yield case, cause


def is_reference(case: type[Case]) -> bool:
    """Whether it is no connector but a keeper of secrets."""
    return issubclass(case, ReferenceCase)
