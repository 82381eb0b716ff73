"""Where webhooks do not go: whatever an address is called and wherever it leads, nothing inside is connected to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from milpa.settings import Settings
from milpa.web_addresses import is_public, port_of, wrong_with
from storage.webhook_rows import Attempted
from tests.workers.sink import Sink, running_sink
from tests.workers.test_webhooks import parcel
from workers.deliver_webhook import Sender
from workers.safe_address import Address, RefusedAddressError, SafeBackend, SystemLookup

NAMES = {
    "inside.example.org": ["10.1.2.3"],
    "loopback.example.org": ["127.0.0.1"],
    "loopback6.example.org": ["::1"],
    "metadata.example.org": ["169.254.169.254"],
    "mapped.example.org": ["::ffff:127.0.0.1"],
    "nat64.example.org": ["64:ff9b::7f00:1"],
    "both.example.org": ["127.0.0.1", "::1", "fd00::1"],
}
"""Names that an attacker's own DNS answers for."""

HOSTS = [
    # Loopback in every spelling
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "0.0.0.0",  # noqa: S104  sent to, not bound to
    "0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    # IPv4 inside IPv6
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    # Private, link-local, metadata, carriers' NAT
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "[fe80::1]",
    "[fec0::1]",
    # Nobody's
    "224.0.0.1",
    "239.255.255.250",
    "[ff02::1]",
    "255.255.255.255",
    "240.0.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "[2001:db8::1]",
    "[100::1]",
    *NAMES,
]


class Recorder(httpcore.AnyIOBackend):
    """Dials as usual, and remembers whom."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    async def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        return await super().connect_tcp(host, *args, **kwargs)


class NoAnswer(Recorder):
    """Dials in vain, and remembers whom."""

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        raise httpcore.ConnectError("no answer")


class Names:
    """Looks up the attacker's names as told, and everything else as the system does."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self._names = names
        self._system = SystemLookup(10)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        if host in self._names:
            return [ip_address(text) for text in self._names[host]]
        return await self._system(host)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


def guarded(names: dict[str, list[str]], **changes: Any) -> tuple[Sender, Recorder, Names]:
    """A sender as installed, but for the ports, and what it asks and dials."""
    settings = msgspec.structs.replace(Settings(), webhook_ports=(), webhook_timeout_seconds=10.0, **changes)
    lookup, dial = Names(names), Recorder()
    sender = Sender(settings, lookup)
    sender._backend = SafeBackend(lookup, private_targets=settings.webhook_private_targets, dial=dial)
    return sender, dial, lookup


async def sent(sender: Sender, url: str) -> Attempted:
    return await sender.send(parcel(url))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", HOSTS)
async def test_no_connection_is_made_to_a_hostile_target(sink: Sink, host: str, scheme: str) -> None:
    sender, dial, _ = guarded(NAMES)
    attempted = await sent(sender, f"{scheme}://{host}:{sink.port}/hook")
    assert not attempted.delivered
    assert attempted.status is None
    assert attempted.error
    assert dial.dialled == []
    assert sink.connections == 0


@pytest.mark.parametrize("host", HOSTS)
async def test_the_guard_where_it_connects_holds_by_itself(sink: Sink, host: str) -> None:
    dial = Recorder()
    backend = SafeBackend(Names(NAMES), dial=dial)
    with contextlib.suppress(RefusedAddressError, httpcore.ConnectError):
        await backend.connect_tcp(host.strip("[]"), sink.port, 10.0)
    assert dial.dialled == []
    assert sink.connections == 0


def test_there_are_targets_enough() -> None:
    assert len(set(HOSTS)) >= 25


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "unix:/run/docker.sock",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://example.org:22/",
        "https://example.org:6379/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: inside",
        "https://[::1/",
        "https://xn--a/",
        "https://[fe80::1%25lo]/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://example.org/" + "x" * 2000,
    ],
)
async def test_what_is_no_address_to_send_to_is_said_before_anything_is_asked(url: str) -> None:
    settings = Settings()
    assert wrong_with(url, settings.webhook_ports, private_targets=False)
    lookup = Names({})
    attempted = await Sender(settings, lookup).send(parcel(url))
    assert (attempted.delivered, attempted.status) == (False, None)
    assert lookup.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/hook?token=x#part",
        "http://example.org:8080/",
        "https://bücher.example/",
        "https://[2606:4700::1111]/",
        "https://93.184.215.14/",
    ],
)
def test_what_is_a_public_address_is_taken(url: str) -> None:
    settings = Settings()
    assert wrong_with(url, settings.webhook_ports, private_targets=False) is None


async def test_a_name_that_leads_elsewhere_the_second_time_is_dialled_as_it_was_checked(sink: Sink) -> None:
    class Rebinding(Names):
        async def __call__(self, host: str) -> Sequence[Address]:
            self.asked.append(host)
            return [ip_address("93.184.215.14" if len(self.asked) == 1 else "127.0.0.1")]

    lookup, dial = Rebinding({}), NoAnswer()
    backend = SafeBackend(lookup, dial=dial)
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("rebinding.example.org", sink.port, 10.0)
    with pytest.raises(RefusedAddressError):
        await backend.connect_tcp("rebinding.example.org", sink.port, 10.0)
    assert dial.dialled == ["93.184.215.14"], "dialled by the address checked, never again by name"
    assert len(lookup.asked) == 2, "one lookup for each connection"
    assert sink.connections == 0


async def test_of_several_addresses_only_the_public_ones_are_tried(sink: Sink) -> None:
    dial = NoAnswer()
    mixed = {"mixed.example.org": ["127.0.0.1", "93.184.215.14", "10.0.0.1", "2606:4700::1111", "::1"]}
    with pytest.raises(httpcore.ConnectError):
        await SafeBackend(Names(mixed), dial=dial).connect_tcp("mixed.example.org", sink.port, 10.0)
    assert dial.dialled == ["93.184.215.14", "2606:4700::1111"]


async def test_a_setting_allows_private_targets_and_the_next_address_is_tried(sink: Sink) -> None:
    names = {"inside.example.org": ["127.0.0.2", "127.0.0.1"]}
    sender, dial, _ = guarded(names, webhook_private_targets=True)
    attempted = await sent(sender, sink.url("hook", "inside.example.org"))
    assert attempted.delivered
    assert dial.dialled == ["127.0.0.2", "127.0.0.1"]
    assert sink.received[0].headers["host"] == f"inside.example.org:{sink.port}"


async def test_a_name_that_leads_nowhere_is_a_failure() -> None:
    sender, dial, _ = guarded({})
    attempted = await sent(sender, "https://nowhere.invalid/")
    assert "leads nowhere" in (attempted.error or "")
    assert dial.dialled == []


async def test_a_lookup_that_hangs_is_a_failure_after_its_time(sink: Sink) -> None:
    async def hanging(_host: str) -> Sequence[Address]:
        await sink.released.wait()
        return []

    settings = msgspec.structs.replace(Settings(), webhook_timeout_seconds=0.2)
    async with asyncio.timeout(30):
        attempted = await Sender(settings, hanging).send(parcel())
    assert "No answer" in (attempted.error or "")


async def test_a_server_whose_certificate_is_nobodys_is_not_told(tmp_path: Path) -> None:
    sender, dial, _ = guarded({"inside.example.org": ["127.0.0.1"]}, webhook_private_targets=True)
    async with running_sink(self_signed(tmp_path, "inside.example.org")) as sink:
        attempted = await sent(sender, f"https://inside.example.org:{sink.port}/hook")
        assert sink.received == []
    assert dial.dialled == ["127.0.0.1"]
    assert not attempted.delivered
    assert "certificate" in (attempted.error or "").lower()


async def test_a_server_whose_certificate_is_known_is_told_under_its_name(tmp_path: Path) -> None:
    sender, _, _ = guarded(
        {name: ["127.0.0.1"] for name in ("inside.example.org", "other.example.org")}, webhook_private_targets=True
    )
    tls = self_signed(tmp_path, "inside.example.org")
    sender._tls.load_verify_locations(tmp_path / "cert.pem")
    async with running_sink(tls) as sink:
        assert (await sent(sender, f"https://inside.example.org:{sink.port}/hook")).delivered
        assert not (await sent(sender, f"https://other.example.org:{sink.port}/hook")).delivered


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """Make a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@given(st.ip_addresses())
def test_what_is_public_to_us_is_public_to_python_and_carries_no_other_address(address: Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        if address.version == 6:
            assert (address.ipv4_mapped, address.sixtofour, address.teredo) == (None, None, None)


def test_ports_are_those_of_the_scheme_when_left_out() -> None:
    assert port_of(httpx.URL("http://example.org")) == 80
    assert port_of(httpx.URL("https://example.org")) == 443
    assert port_of(httpx.URL("https://example.org:8443")) == 8443


@pytest.mark.parametrize("port", ["65536", "99999999", "-1"])
def test_a_port_that_there_is_not_is_none_even_where_any_may_be(port: str) -> None:
    assert wrong_with(f"https://example.org:{port}/", (), private_targets=True)
