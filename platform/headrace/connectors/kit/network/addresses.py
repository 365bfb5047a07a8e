"""Which addresses a connector may connect to, when a user names the host.

A name is resolved and its addresses are checked where the connection is made (`network.py`): an earlier check
would let the name's owner change the answer in between.
"""

import ipaddress

from headrace.connectors import ConnectorError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# `ipaddress.is_global` leaves out some of these and moved between releases; so they are listed, from the
# IANA special-purpose registries (RFC 6890) and the cloud providers' own pages.
_ALWAYS_FORBIDDEN = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "169.254.0.0/16",  # link-local: metadata services
        "100.100.100.200/32",  # metadata service
        "168.63.129.16/32",  # platform service of a cloud
        "192.0.0.0/24",  # IETF protocol assignments, metadata services among them
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated
        "ff00::/8",  # multicast
        "fd00:ec2::/32",  # metadata service
        "100::/64",  # discard-only
        "2001::/32",  # Teredo: an IPv4 address in disguise
        "64:ff9b:1::/48",  # local-use NAT64
    )
]
_PRIVATE = [
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "192.0.2.0/24",  # documentation, as the next three
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:db8::/32",
        "::1/128",
        "fc00::/7",  # unique local
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")

_policy = {"private_networks": True}


class ForbiddenAddress(ConnectorError):
    """The host resolves to an address that connectors may not connect to."""

    code = "connector.forbidden_address"
    title = "Address not allowed"
    hint = "Private networks are allowed with HEADRACE_PRIVATE_NETWORKS=true; metadata services never are."


def allow_private_networks(allowed: bool) -> None:
    """Set for this process whether private and loopback addresses may be connected to."""
    _policy["private_networks"] = allowed


def is_allowed(address: Address) -> bool:
    """Whether connectors may connect to an address, looking through the forms that embed an IPv4 address."""
    inner = _embedded(address)
    if inner is not None and not is_allowed(inner):
        return False
    forbidden = _ALWAYS_FORBIDDEN if _policy["private_networks"] else [*_ALWAYS_FORBIDDEN, *_PRIVATE]
    return not any(address in network for network in forbidden)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
