"""The connectors' HTTP client against real servers that misbehave."""

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
from http_servers.server import Answer, Asked, serving

from headrace.connectors import ConnectorError, Unauthorized, Unreachable, Unreadable
from headrace.connectors.kit.http.client import (
    Authorization,
    HttpClient,
    RequestRefused,
    ResponseTooLarge,
    Stopped,
)
from headrace.connectors.kit.http.messages import NotJSON, Request, Response
from headrace.connectors.kit.network import addresses
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.kit.network.tries import RateLimited

SECRET = "s3cr3t-of-the-tests"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("headrace.connectors.kit.network.tries._FIRST_WAIT", 0.01)


def answers(*given: Answer):
    """Answer with each in turn, and with the last one from then on."""
    left = list(given)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


def get(url: str, **options) -> Response:
    limits = Limits(**options.pop("limits", {}))
    with HttpClient(limits=limits, **options) as client:
        return client.send(Request(url=url))


def test_a_request_carries_its_parameters_and_brings_the_answer():
    with serving(answers(Answer(body={"ok": True}))) as server, HttpClient() as client:
        request = Request(url=f"{server.url}/x?a=1", params={"b": "ü&", "c": [1, 2], "d": None, "e": True})
        answer = client.send(request)

        assert answer.json() == {"ok": True}
        assert server.asked[0].query == {"a": "1", "b": "ü&", "c": "2", "e": "true"}


def test_a_post_carries_its_json_and_a_connection_is_used_again():
    with serving(answers(Answer(body=[]))) as server, HttpClient() as client:
        for _ in range(2):
            client.send(Request(url=server.url, method="POST", json={"a": [1]}))

        assert [asked.json for asked in server.asked] == [{"a": [1]}] * 2
        assert server.asked[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int):
    with serving(answers(Answer(status=status), Answer(status=status), Answer(body=[1]))) as server:
        answer = get(server.url)

        assert (answer.json(), server.count) == ([1], 3)


def test_a_broken_connection_is_tried_again():
    whole = Answer(body={"n": list(range(1000))})
    with serving(answers(Answer(body=b"x" * 4000, breaks_off=True), whole)) as server:
        answer = get(server.url)

        assert len(answer.json()["n"]) == 1000


def test_retry_after_in_seconds_is_obeyed():
    with serving(answers(Answer(status=429, headers={"Retry-After": "1"}), Answer(body=[]))) as server:
        started = time.monotonic()
        get(server.url)

        assert time.monotonic() - started >= 1


def test_retry_after_as_a_date_is_read():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    answer = Response(label="", url="", status=429, headers={"Retry-After": date}, body=b"")

    assert answer.retry_after == pytest.approx(60, abs=2)


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "Tue, 99 Nov"])
def test_a_senseless_retry_after_counts_as_none(value: str):
    assert (
        Response(label="", url="", status=429, headers={"Retry-After": value}, body=b"").retry_after is None
    )


def test_a_longer_wait_than_allowed_fails_at_once():
    with serving(answers(Answer(status=429, headers={"Retry-After": "86400"}))) as server:
        with pytest.raises(RateLimited):
            get(server.url)

        assert server.count == 1


def test_a_server_that_stays_down_is_unreachable_after_the_last_attempt():
    with serving(answers(Answer(status=503))) as server:
        with pytest.raises(Unreachable, match="GET / answered 503"):
            get(server.url, limits={"attempts": 3})

        assert server.count == 3


def test_nobody_listening_is_unreachable():
    with serving(answers(Answer())) as server:
        url = server.url

    with pytest.raises(Unreachable, match="does not take connections"):
        get(url, limits={"attempts": 2})


@pytest.mark.parametrize(
    ("status", "error"), [(400, RequestRefused), (401, Unauthorized), (403, Unauthorized)]
)
def test_a_refusal_is_not_tried_again(status: int, error: type[ConnectorError]):
    with serving(answers(Answer(status=status, body={"message": "No such field."}))) as server:
        with pytest.raises(error, match=f"answered {status}: No such field."):
            get(server.url)

        assert server.count == 1


def test_no_message_quotes_the_query_a_header_or_an_echoed_token():
    echo = f"Bad token {SECRET} and unknown-token-1234567890123 in {SECRET}"
    with serving(answers(Answer(status=401, body={"message": echo}))) as server:
        client = HttpClient(authorization=Authorization({"X-Key": f"Token {SECRET}"}))
        with pytest.raises(Unauthorized) as caught:
            client.send(Request(url=f"{server.url}/x", params={"signature": SECRET}))

    assert "Bad token" in caught.value.detail
    assert SECRET not in caught.value.detail
    assert "unknown-token" not in caught.value.detail


def test_an_error_page_of_html_is_not_quoted():
    with (
        serving(answers(Answer(status=404, body=b"<html>secret</html>"))) as server,
        pytest.raises(RequestRefused) as caught,
    ):
        get(f"{server.url}/x")

    assert caught.value.detail == "GET /x answered 404."


def test_malformed_json_is_told_without_quoting_it():
    with serving(answers(Answer(body=b'{"a": tok'))) as server, pytest.raises(NotJSON) as caught:
        get(f"{server.url}/x?key={SECRET}").json()

    assert caught.value.detail == (
        "GET /x answered with something that is not JSON (application/octet-stream): "
        "its syntax is wrong at line 1, column 7."
    )


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"[1e400, 2]", [Decimal("1e400"), 2]),
        (b"[123456789012345678901234567890]", [123456789012345678901234567890]),
        (rb'["\ud800"]', ["\ufffd"]),
    ],
)
def test_what_servers_write_beyond_the_standard_is_read(body: bytes, value: object):
    assert Response(label="", url="", status=200, headers={}, body=body).json() == value


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"<!doctype html><p>Sign in</p>", "text/html", "answered with a web page (text/html)"),
        (b"", "application/json", "it is empty"),
        (b'{"a": [1,', "application/json", "it ends in the middle of a value"),
        ("é".encode("latin-1"), "application/json", "the text is not UTF-8"),
        (b"[NaN]", "application/json", "NaN is not a JSON value"),
        (b'["\xe9"]', "application/json; charset=klingon", "the charset 'klingon' is not known"),
    ],
)
def test_a_body_that_is_not_json_is_refused_by_its_reason(body: bytes, kind: str, told: str):
    answer = Answer(body=body, headers={"Content-Type": kind})
    with serving(answers(answer)) as server, pytest.raises(NotJSON) as caught:
        get(server.url).json()

    assert told in caught.value.detail


def test_a_body_is_read_in_the_charset_that_it_names():
    answer = Answer(
        body='["José"]'.encode("latin-1"), headers={"Content-Type": "application/json;charset=ISO-8859-1"}
    )
    with serving(answers(answer)) as server:
        assert get(server.url).json() == ["José"]


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        ("gzip", gzip.compress(b"[1]", mtime=0)),
        ("gzip", gzip.compress(b"[", mtime=0) + gzip.compress(b"1]", mtime=0) + b"\x00\x00"),
        ("deflate", zlib.compress(b"[1]")),
        ("deflate", zlib.compress(b"[1]")[2:-4]),
        ("x-gzip", gzip.compress(b"[1]", mtime=0)),
    ],
)
def test_a_compressed_answer_is_read_whole_or_fetched_again(encoding: str, compressed: bytes):
    headers = {"Content-Encoding": encoding}
    cut = Answer(body=gzip.compress(b"[1,2,3]" * 100)[:-9], headers={"Content-Encoding": "gzip"})
    with serving(answers(cut, Answer(body=compressed, headers=headers))) as server:
        assert get(server.url).json() == [1]
        assert server.count == 2
    with serving(answers(cut)) as server, pytest.raises(Unreachable, match="compressed answer is cut short"):
        get(server.url, limits={"attempts": 1})


def test_a_compressed_answer_is_read_and_bounded_by_its_real_size():
    bomb = gzip.compress(b"[" + b"1," * 5_000_000 + b"1]")
    with serving(answers(Answer(body=bomb, headers={"Content-Encoding": "gzip"}))) as server:
        assert len(get(server.url).json()) == 5_000_001
        with pytest.raises(ResponseTooLarge):
            get(server.url, limits={"response_bytes": 1_000_000})


def test_a_server_that_drips_is_given_up():
    with (
        serving(answers(Answer(body=b"[" + b" " * 1000 + b"]", drip=0.2))) as server,
        pytest.raises(Unreachable, match=r"took longer than 0\.5 s"),
    ):
        get(server.url, limits={"response_timeout": 0.5, "attempts": 1})


def test_a_silent_server_is_given_up():
    with (
        serving(answers(Answer(body=b"[]", drip=2))) as server,
        pytest.raises(Unreachable, match=r"no bytes came for 0\.3 s"),
    ):
        get(server.url, limits={"read_timeout": 0.3, "attempts": 1})


def test_a_redirect_on_the_same_host_keeps_the_credentials():
    def handler(asked: Asked) -> Answer:
        return Answer(status=302, headers={"Location": "/b?x=1"}) if asked.path == "/a" else Answer(body=[])

    with serving(handler) as server:
        get(f"{server.url}/a", authorization=Authorization({"Authorization": SECRET}))

        assert server.asked[1].headers["authorization"] == SECRET


def test_a_redirect_to_another_host_takes_no_credentials_along():
    with serving(answers(Answer(body=["other"]))) as other:
        with serving(answers(Answer(status=307, headers={"Location": f"{other.url}/x"}))) as server:
            request = Request(url=server.url, headers={"X-Key": SECRET})
            with HttpClient(authorization=Authorization({"Authorization": SECRET})) as client:
                answer = client.send(request)

        assert answer.json() == ["other"]
        assert SECRET not in json.dumps(other.asked[0].headers)


def test_a_redirect_to_a_metadata_service_is_refused():
    target = "http://169.254.169.254/latest/meta-data"
    with (
        serving(answers(Answer(status=302, headers={"Location": target}))) as server,
        pytest.raises(ForbiddenAddress),
    ):
        get(server.url)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[bad"])
def test_a_redirect_to_something_else_than_http_is_refused(location: str):
    with (
        serving(answers(Answer(status=302, headers={"Location": location}))) as server,
        pytest.raises(Unreadable),
    ):
        get(server.url)


def test_redirects_end():
    with serving(answers(Answer(status=302, headers={"Location": "/"}))) as server:
        with pytest.raises(RequestRefused):
            get(server.url)

        assert server.count == 6


def test_private_networks_can_be_forbidden():
    addresses.allow_private_networks(False)
    try:
        with serving(answers(Answer(body=[]))) as server, pytest.raises(ForbiddenAddress):
            get(server.url)
    finally:
        addresses.allow_private_networks(True)

    assert server.count == 0


def test_a_header_that_http_forbids_is_told_without_its_value():
    with serving(answers(Answer(body=[]))) as server, pytest.raises(Unreadable) as caught:
        get(server.url, authorization=Authorization({"Authorization": f"{SECRET}\nX: y"}))

    assert SECRET not in str(caught.value)


def test_requests_are_paced():
    with serving(answers(Answer(body=[]))) as server:
        started = time.monotonic()
        with HttpClient(limits=Limits(requests_per_second=20)) as client:
            for _ in range(5):
                client.send(Request(url=server.url))

        assert 0.2 <= time.monotonic() - started < 2


@pytest.fixture
def waiting_client() -> Iterator[tuple[HttpClient, str]]:
    with serving(answers(Answer(status=429, headers={"Retry-After": "200"}))) as server:
        yield HttpClient(), server.url


def test_closing_the_client_ends_its_waits(waiting_client):
    client, url = waiting_client
    threading.Timer(0.2, client.close).start()
    started = time.monotonic()

    with pytest.raises(Stopped):
        client.send(Request(url=url))

    assert time.monotonic() - started < 5


def test_headers_that_drip_are_given_up():
    def drip(listener: socket.socket) -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\n")
                for number in range(100):
                    time.sleep(0.1)
                    client.sendall(b"X-%d: y\r\n" % number)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=drip, args=(listener,))
        dripping.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        with pytest.raises(Unreachable, match=r"took longer than 0\.5 s"):
            get(url, limits={"response_timeout": 0.5, "attempts": 1})
        dripping.join()


def test_a_page_is_not_asked_for_again_after_its_time(monkeypatch):
    monkeypatch.setattr("headrace.connectors.kit.network.tries._FIRST_WAIT", 0.4)
    with serving(answers(Answer(status=503))) as server:
        with pytest.raises(Unreachable, match="answered 503"):
            get(server.url, limits={"attempts": 20, "retry_timeout": 1})

        assert 1 < server.count < 5
