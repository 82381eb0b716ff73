"""Who the servers run as."""

import os
from pathlib import Path

import pytest

from deploy.local.accounts import server_account

NAMELESS = 54_321


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands a folder to another account")
def test_a_folder_of_an_account_without_a_name_goes_on_being_its_own(tmp_path: Path) -> None:
    """As in a container that has a folder of the machine around it."""
    data = tmp_path / "postgres"
    data.mkdir()
    os.chown(data, NAMELESS, NAMELESS + 1)
    account = server_account(data)
    assert account is not None
    assert (account.uid, account.gid) == (NAMELESS, NAMELESS + 1)
