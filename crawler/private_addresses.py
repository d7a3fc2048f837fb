"""Addresses that are nobody else's business: loopback, private, link-local, shared, metadata.

For those who crawl lists from strangers: a URL, a redirect or a name's second answer may lead into
the machine's own network (server-side request forgery). Judged is the address that is connected
to, by the IANA registries of special-purpose addresses (RFC 6890), and what IPv6 embeds of IPv4.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")
_SPECIAL: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))
"""Protocol assignments and 6to4 relays, which not every Python's ipaddress counts as private."""
_ISATAP: Final = frozenset((0x00005EFE, 0x02005EFE))
"""What stands before the IPv4 address in an interface identifier (RFC 5214, section 6.1)."""
_NAT64: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "fd00:ec2::254",
            "100.100.100.200",  # Alibaba Cloud
            "192.0.0.192",  # Oracle Cloud
            "168.63.129.16",  # Azure: a public address, reached from within its machines only
        ),
    )
)
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def is_loopback_name(host: str) -> bool:
    """Tell whether a host is this machine, spoken to by itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def why_private(address: str) -> str | None:
    """Say what kind of address this is, if it is no public one; None for a public one.

    What is no IP address (a path, a name with a zone that cannot be read) counts as private.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no IP address"
    for each in (parsed, *_embedded(parsed)):
        kind = _kind(each)
        if kind is not None:
            return kind
    return None


def _kind(address: _Address) -> str | None:
    if address in _METADATA:
        return "a metadata service's"
    for kind, holds in (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
        ("shared (CGNAT)", address.version == 4 and address in _SHARED),
        ("private", address.is_private or getattr(address, "is_site_local", False)),
        ("reserved", address.is_reserved and not _is_translated(address)),
        ("reserved", address.version == 4 and any(address in network for network in _SPECIAL)),
    ):
        if holds:
            return kind
    return None if address.is_global or _is_translated(address) else "not public"


def _is_translated(address: _Address) -> bool:
    return address.version == 6 and address in _NAT64[0]


def _embedded(address: _Address) -> list[ipaddress.IPv4Address]:
    """Give the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    translated = address in _COMPATIBLE or any(address in network for network in _NAT64)
    if translated or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]
