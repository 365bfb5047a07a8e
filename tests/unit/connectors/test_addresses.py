"""Which addresses connectors may connect to."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from headrace.connectors.kit.network.addresses import allow_private_networks, is_allowed

PRIVATE = [
    "10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "::1", "fd12::1",
    "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::7f00:1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1",
    "255.255.255.255", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "2001::1", "64:ff9b:1::1",
]  # fmt: skip
PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"]


@pytest.fixture(params=[True, False])
def private_networks(request: pytest.FixtureRequest) -> Iterator[bool]:
    allow_private_networks(request.param)
    yield request.param
    allow_private_networks(True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_where_the_setting_says_so(address, private_networks):
    assert is_allowed(ip_address(address)) is private_networks


@pytest.mark.usefixtures("private_networks")
@pytest.mark.parametrize("address", NEVER)
def test_metadata_services_and_their_like_are_never_allowed(address):
    assert not is_allowed(ip_address(address))


@pytest.mark.usefixtures("private_networks")
@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_always_allowed(address):
    assert is_allowed(ip_address(address))
