"""Which addresses on the web we send to: rules without I/O, for what a caller names and for what a name leads to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

MAX_LENGTH = 2000
_PORTS = range(1, 65_536)

_PUBLIC_V6 = ip_network("2000::/3")
"""All of the global IPv6 space there is; what is outside (mapped, compatible, NAT64, local, multicast) is refused."""

_REFUSED_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carriers' NAT
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the inner services of a cloud's hosts
            "169.254.0.0/16",  # link-local, and most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_REFUSED_V6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether this is an address of the public internet, and carries no other one inside."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)


def wrong_with(url: str, ports: Sequence[int], *, private_targets: bool) -> str | None:
    """Say why nothing is sent to this URL, or None. Where a host's name leads is seen only when connecting.

    ports: those allowed; none: all are. private_targets: whether addresses that are not public are.
    """
    if len(url) > MAX_LENGTH:
        return f"An address has {MAX_LENGTH:,} characters at most."
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decoded only now: `xn--` may begin what is no name
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return "This is not a URL."
    rules = (
        (not any(character.isspace() for character in url), "An address has no spaces in it."),
        (parsed.scheme in {"http", "https"} and host, "An address starts with https:// or http:// and a host."),
        (not parsed.userinfo, "An address has no user name or password in it."),
        (port_of(parsed) in _PORTS, "There is no such port."),
        (not ports or port_of(parsed) in ports, f"The port is one of {', '.join(map(str, ports))} here."),
        (private_targets or not _is_private_literal(host), "An address is one of the public internet here."),
    )
    return next((wrong for holds, wrong in rules if not holds), None)


def port_of(url: httpx.URL) -> int:
    """Return the port of an http or https URL."""
    return url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(ip_address(host))
    except ValueError:  # a name
        return False
