"""Where a client finds its server when it isn't told."""

import subprocess
import sys
from pathlib import Path

import pytest

from milpa.client.local import find_key, find_url
from milpa.errors import UsageError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MILPA_URL", "MILPA_API_KEY", "MILPA_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_given_wins_over_the_environment_and_that_over_the_local_stack(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".milpa").mkdir()
    (elsewhere / ".milpa/admin.key").write_text("local\n")
    (elsewhere / ".milpa/address").write_text("http://127.0.0.1:9\n")
    assert (find_url(None), find_key(None)) == ("http://127.0.0.1:9", "local")
    monkeypatch.setenv("MILPA_URL", "https://milpa.example/")
    monkeypatch.setenv("MILPA_API_KEY", "environment")
    assert (find_url(None), find_key(None)) == ("https://milpa.example", "environment")
    assert (find_url("http://given"), find_key("given")) == ("http://given", "given")


def test_another_data_directory_is_found_by_its_variable(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "data").mkdir()
    (elsewhere / "data/admin.key").write_text("key\n")
    monkeypatch.setenv("MILPA_DATA_DIR", "data")
    assert find_key(None) == "key"


def test_no_key_anywhere_says_what_to_do() -> None:
    assert find_url(None) == "http://127.0.0.1:8080"
    with pytest.raises(UsageError, match="milpa up") as raised:
        find_key(None)
    assert raised.value.code == "no_api_key"


def test_an_address_without_its_scheme_and_a_key_that_no_header_holds_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'localhost:8080' does not") as raised:
        find_url("localhost:8080")
    assert raised.value.code == "bad_url"
    for key in ("mlp_ü", "mlp_a\nb"):
        with pytest.raises(UsageError) as refused:
            find_key(key)
        assert refused.value.code == "bad_api_key"
        assert key not in refused.value.message


def test_the_package_loads_no_client_until_it_is_asked_for() -> None:
    program = "import milpa, milpa.settings, sys; assert 'httpx' not in sys.modules; milpa.Client; import milpa.client"
    subprocess.run([sys.executable, "-c", program], check=True)
