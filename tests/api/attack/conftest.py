"""How long the attack goes on: a short form with every run of the tests, a long one by `make attack`."""

import pytest


@pytest.fixture(scope="session")
def longer(request: pytest.FixtureRequest) -> int:
    """How many times as long as in the short form."""
    return int(request.config.getoption("--attack"))
