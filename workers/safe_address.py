"""Connections to the public internet only: where a name leads is checked when connecting, and then connected to.

Between a check and a later connection a name may come to lead elsewhere (DNS rebinding), so there is no between: what
was looked up and checked is the very address that is dialled.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import httpcore
from httpcore import AsyncNetworkStream

from milpa.errors import TransientError
from milpa.web_addresses import is_public

Address = IPv4Address | IPv6Address
Lookup = Callable[[str], Awaitable[Sequence[Address]]]


class RefusedAddressError(Exception):
    """The name leads to no address of the public internet."""


class SystemLookup:
    """Looks names up as the system does, each in a thread: whoever waits may give up, and the thread can't.

    So those who ask for one name share its lookup, and a name that hangs holds one thread, however often it is asked
    for. most: threads; they take nobody else's.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="lookup")
        self._under_way: dict[str, asyncio.Future[Sequence[tuple[Any, ...]]]] = {}

    async def __call__(self, host: str) -> Sequence[Address]:
        """Return the addresses of a host, the preferred one first; every spelling of an IP address is one too.

        TransientError (`lookups_busy`): all threads are taken, and nobody was asked.
        """
        found = await asyncio.shield(self._under_way.get(host) or self._begin(host))
        return list(dict.fromkeys(ip_address(str(where[0]).partition("%")[0]) for *_, where in found))

    def _begin(self, host: str) -> asyncio.Future[Sequence[tuple[Any, ...]]]:
        if len(self._under_way) >= self._most:
            raise TransientError("lookups_busy", "Too many names are being looked up; try again shortly.")
        lookup = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)
        self._under_way[host] = lookup
        lookup.add_done_callback(lambda _: self._under_way.pop(host))
        return lookup


def _look_up(host: str) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


class SafeBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore, to addresses that are allowed."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        private_targets: bool = False,
        dial: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._lookup = lookup
        self._private_targets = private_targets
        self._dial = dial or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Look the host up, and connect to the first address that is allowed and answers."""
        try:
            found = await self._lookup(host)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("The host's name leads nowhere.") from error
        allowed = [address for address in found if self._private_targets or is_public(address)]
        if not allowed:
            raise RefusedAddressError
        for address in allowed[:-1]:
            try:
                return await self._dial.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._dial.connect_tcp(str(allowed[-1]), port, timeout, local_address, socket_options)
