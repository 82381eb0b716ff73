"""One running `milpa up` for the walks that only look: two APIs on one address, and two workers.

Whichever is free takes a connection or a job, so what one walk does is spread over all of them.
"""

from collections.abc import Iterator

import pytest

from milpa import Client
from tests.support.milpa_up import Up, milpa_up


@pytest.fixture(scope="session")
def up() -> Iterator[Up]:
    """A stack as a person has it after `milpa up`."""
    with milpa_up() as up:
        up.start("--apis", "2", "--workers", "2")
        yield up
        assert up.end() == 0


@pytest.fixture
def client(up: Up) -> Iterator[Client]:
    with Client(up.url, up.key) as client:
        yield client
