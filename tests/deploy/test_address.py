"""The address of a local stack."""

import pytest

from deploy.local.address import listen, url
from milpa.errors import UsageError


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - on any port, for a moment
def test_a_browser_on_this_machine_finds_it(host: str) -> None:
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        assert url(listening) == f"http://127.0.0.1:{port}"


def test_a_taken_port_and_a_foreign_address_are_the_callers_mistakes() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="--port 0") as raised:
        listen("127.0.0.1", taken.getsockname()[1])
    assert raised.value.code == "port_taken"
    with pytest.raises(UsageError) as raised:
        listen("192.0.2.1", 0)
    assert raised.value.code == "bad_address"
