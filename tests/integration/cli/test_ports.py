import socket

import pytest

from headrace.cli.platform.ports import BadAddress, PortTaken, claim, reachable


def test_a_taken_port_is_refused_by_its_number_and_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(PortTaken, match=rf"Port {port} on 127\.0\.0\.1 \(--port\)"):
            claim("127.0.0.1", port, "--port")


def test_port_0_gives_a_free_one() -> None:
    port = claim("127.0.0.1", 0, "--port")

    socket.create_server(("127.0.0.1", port)).close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(BadAddress, match=r"192\.0\.2\.1"):
        claim("192.0.2.1", 0, "--port")


def test_a_name_that_nobody_has_is_refused() -> None:
    with pytest.raises(BadAddress, match="no such address"):
        claim("nobody.invalid", 0, "--port")


@pytest.mark.parametrize(
    ("host", "url_host"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("localhost", "localhost")]
)
def test_what_listens_everywhere_is_reached_on_loopback(host: str, url_host: str) -> None:
    assert reachable(host) == url_host
