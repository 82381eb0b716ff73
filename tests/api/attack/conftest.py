"""Who is attacked, and how long: a short form with every run of the tests, a long one by `make attack`."""

from collections.abc import AsyncIterator

import pytest
from litestar import Litestar

from api.main import create_app
from tests.api.attack.wire import Wire
from tests.api.conftest import running


@pytest.fixture(scope="session")
async def wire(app: Litestar) -> AsyncIterator[Wire]:
    """Two APIs, both in this process, so that whatever they raise comes out here."""
    async with running(create_app(app.state.settings)) as other:
        yield Wire(app, other)


@pytest.fixture(scope="session")
def longer(request: pytest.FixtureRequest) -> int:
    """How many times as long as in the short form."""
    return int(request.config.getoption("--attack"))
