"""Where a request came from.

A proxy's word for it (`X-Forwarded-For`, `X-Forwarded-Proto`) is taken by the server in front of the app, and from
`trusted_proxies` only: here the connection's own address is the client's.
"""

from ipaddress import ip_address
from typing import Any

from litestar.connection import ASGIConnection


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the client's IP address in its shortest form; empty when it is not known (a local socket)."""
    client = connection.scope.get("client")
    if client is None:
        return ""
    try:
        address = ip_address(client[0])
    except ValueError:  # what a proxy passed on is no address
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)
