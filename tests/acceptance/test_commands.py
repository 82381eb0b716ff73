"""The command line beside a running Milpa."""

import json
import os
import pty
import re
import signal
import subprocess
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from milpa import Client
from tests.support.milpa_up import MILPA, Up, run_milpa
from tests.support.waiting import wait_until

KIND = "deal-picker"
DEALS = """id,price,yield,risk,sector,city
A,60000,6000,0,office,X
B,50000,4000,0,retail,X
C,40000,3600,0,office,Y
D,80000,5000,0,logistics,Y
"""


@pytest.fixture
def deals(tmp_path: Path) -> Path:
    path = tmp_path / "deals.csv"
    path.write_text(DEALS)
    return path


def test_a_table_and_options_become_an_answer_with_figures_and_files(up: Up, deals: Path, tmp_path: Path) -> None:
    options = ["--budget", "1e5", "--set", 'sector_caps={"office": 1.5}', "--files", "xlsx,pdf"]
    said = up.milpa("submit", KIND, str(deals), *options, "--name", "Worked example", "--wait", "--out", str(tmp_path))
    assert "Worked example" in said
    assert "optimal" in said
    assert "9,400" in said
    for suffix in (".xlsx", ".pdf"):
        (file,) = tmp_path.glob(f"*{suffix}")
        assert str(file) in said


def test_programs_get_json(up: Up, deals: Path) -> None:
    answer = json.loads(
        up.milpa("submit", KIND, str(deals), "--budget", "1e5", "--mode", "whole", "--wait", "--json", stderr=False)
    )
    assert answer["job"]["outcome"] == "optimal"
    assert answer["result"]["objective"] == pytest.approx(9_600)
    job = answer["job"]["id"]
    assert json.loads(up.milpa("jobs", "--json"))[0]["id"] == job
    assert "9,400" not in up.milpa("watch", job)


def test_a_bad_cell_is_shown_with_its_row_and_column(up: Up, deals: Path) -> None:
    deals.write_text(DEALS.replace("B,50000", "B,cheap"))
    said = up.milpa("submit", KIND, str(deals), "--budget", "1e5", code=2)
    row = next(line for line in said.splitlines() if "price" in line)
    assert row.split()[:2] == ["3", "price"]


def test_a_json_problem_can_be_changed_on_the_line(up: Up, tmp_path: Path) -> None:
    with Client(up.url, up.key) as client:
        body = {"problem": client.example(KIND), "name": "From the file"}
    path = tmp_path / "problem.json"
    path.write_bytes(msgspec.json.encode(body))
    answer = json.loads(up.milpa("submit", KIND, str(path), "--budget", "1", "--json"))
    assert answer["name"] == "From the file"
    with Client(up.url, up.key) as client:
        assert client.problem(answer["id"])["budget"] == 1
    path.write_bytes(msgspec.json.encode({**body, "nmae": "Misspelt"}))
    for words in ((), ("--check",)):
        assert "says nmae beside its problem" in up.milpa("submit", KIND, str(path), *words, code=2)


def test_a_check_makes_no_job(up: Up) -> None:
    before = up.milpa("jobs", "--json")
    assert "Nothing is wrong" in up.milpa("submit", KIND, "--example", "--check")
    assert up.milpa("jobs", "--json") == before


def test_a_check_looks_at_all_that_a_submit_does_and_its_exit_code_is_that_of_a_refusal(up: Up) -> None:
    too_long = ("submit", KIND, "--example", "--time-limit", "999999")
    said = up.milpa(*too_long, "--check", code=2)
    assert "/options/time_limit_seconds" in said
    assert "/options/time_limit_seconds" in up.milpa(*too_long, code=2)
    (issue,) = json.loads(up.milpa(*too_long, "--check", "--json", code=2, stderr=False))["issues"]
    assert issue["code"] == "out_of_range"


def test_a_person_at_a_terminal_sees_the_phases_and_the_answer_as_it_grows(up: Up, tmp_path: Path) -> None:
    case = resources.files("solvers.kinds.deal_picker").joinpath("cases", "sacramento.json")
    shown = on_a_terminal(up, "submit", KIND, str(case), "--files", "pdf,png", "--wait", "--out", str(tmp_path))
    for words in ("render", "incumbent 1,522,289", "bound 1,522,289", "gap 0.00 %"):
        assert words in shown
    assert "Deals" in shown


def test_a_mistyped_option_is_refused_with_a_suggestion(up: Up) -> None:
    assert "did you mean --budget" in up.milpa("submit", KIND, "--budgte", "1", code=2)


def test_a_table_to_fill_in_is_written_once_and_fits(up: Up, tmp_path: Path) -> None:
    for name in ("deals.csv", "deals.xlsx"):
        path = tmp_path / name
        assert str(path) in up.milpa("kinds", KIND, "--template", str(path))
        assert "Nothing is wrong" in up.milpa("submit", KIND, str(path), "--budget", "1e6", "--check")
        path.write_bytes(b"mine")
        assert "is there already" in up.milpa("kinds", KIND, "--template", str(path), code=2)
        assert path.read_bytes() == b"mine"
    assert ".csv or .xlsx" in up.milpa("kinds", KIND, "--template", str(tmp_path / "deals.ods"), code=2)
    assert "needs a KIND" in up.milpa("kinds", "--template", str(tmp_path / "other.csv"), code=2)


def test_every_kind_lists_the_columns_of_its_table(up: Up, client: Client) -> None:
    for kind in client.kinds():
        (header, *_rows) = client.template(kind.name).decode().splitlines()
        said = [line.split()[0] for line in up.milpa("kinds", kind.name).splitlines() if line.strip()]
        start = said.index("column")
        assert set(header.split(",")) <= set(said[start : said.index("option")])


def test_kinds_list_their_fields_as_options(up: Up) -> None:
    assert KIND in up.milpa("kinds")
    said = up.milpa("kinds", KIND)
    assert "--budget" in said
    assert "--set sector_caps=JSON" in said


def test_files_are_made_later_and_fetched(up: Up, tmp_path: Path) -> None:
    job = json.loads(up.milpa("submit", KIND, "--example", "--wait", "--json", stderr=False))["job"]["id"]
    assert "csv" in up.milpa("files", job, "--make", "csv")
    said = up.milpa("files", job, "--out", str(tmp_path / "files"))
    assert [path.name in said for path in (tmp_path / "files").iterdir()] == [True]


def test_what_cannot_be_done_has_its_exit_code(up: Up) -> None:
    job = json.loads(up.milpa("submit", KIND, "--example", "--wait", "--json", stderr=False))["job"]["id"]
    assert "✗" in up.milpa("cancel", job, code=2)
    assert "✗" in up.milpa("watch", "00000000-0000-7000-8000-000000000000", code=2)
    assert "'nightly' is not a valid UUID" in up.milpa("watch", "nightly", code=2)
    assert "There is no format 'docx': there are xlsx" in up.milpa(
        "submit", KIND, "--example", "--files", "docx", code=2
    )
    assert "There are no such jobs" in up.milpa("jobs", "--name", "nobody has called a job so")


def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(up: Up, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    said = up.milpa("submit", KIND, "--example", "--files", "csv", "--wait", "--out", str(taken), code=2)
    assert f"✗ {taken}: File exists." in said
    assert "Traceback" not in said
    assert "✗" in up.milpa("kinds", KIND, "--template", str(taken / "deals.csv"), code=2)


def test_an_interrupt_says_that_the_job_goes_on(up: Up) -> None:
    up.milpa("queue", "pause", "batch")
    try:
        words = (MILPA, "submit", KIND, "--example", "--priority", "batch", "--wait")
        waiting = subprocess.Popen(words, env=up.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert "queued" in waiting.stdout.readline()
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate()
        (job,) = json.loads(up.milpa("jobs", "--state", "queued", "--json", stderr=False))
        assert waiting.returncode == 130
        assert f"watch {job['id']}" in said
        up.milpa("cancel", job["id"])
    finally:
        up.milpa("queue", "resume", "batch")


def test_a_key_that_is_not_good_is_told_with_where_it_comes_from(up: Up) -> None:
    said = run_milpa("jobs", code=2, environ={"MILPA_URL": up.url, "MILPA_API_KEY": "mlp_wrong"})
    assert "MILPA_API_KEY" in said


def test_a_job_stopped_before_anything_was_found_is_watched_to_its_end(up: Up, tmp_path: Path) -> None:
    up.milpa("queue", "pause", "batch")
    try:
        job = json.loads(up.milpa("submit", KIND, "--example", "--priority", "batch", "--json", stderr=False))["id"]
        up.milpa("stop", job)
    finally:
        up.milpa("queue", "resume", "batch")
    said = up.milpa("watch", job, "--out", str(tmp_path))
    assert "no solution (stopped)" in said
    assert "stopped before anything was found" in said
    answer = json.loads(up.milpa("watch", job, "--json", stderr=False))
    assert (answer["result"]["outcome"], answer["result"]["solution"]) == ("no_solution", None)


def test_nobody_home_is_worth_another_try(up: Up) -> None:
    away = {"MILPA_URL": "http://127.0.0.1:1", "MILPA_API_KEY": up.key}
    said = json.loads(run_milpa("jobs", "--json", code=3, environ=away))
    assert said["error"]["code"] == "unreachable"
    assert said["error"]["message"] == "Milpa can't be reached at http://127.0.0.1:1: Connection refused."


def test_keys_are_made_listed_and_revoked(up: Up) -> None:
    asked = ("keys", "create", "nightly", "--role", "planner", "--scope", "read", "--expires", "2099-01-01")
    made = json.loads(up.milpa(*asked, "--json", stderr=False))
    assert made["secret"].startswith("mlp_")
    assert "planner: read" in up.milpa("keys", "list")
    up.milpa("keys", "revoke", made["id"])
    (listed,) = [key for key in json.loads(up.milpa("keys", "list", "--json", stderr=False)) if key["id"] == made["id"]]
    assert listed["revoked_at"] is not None
    assert made["secret"] not in json.dumps(listed)


def test_webhooks_are_made_tested_and_tried_anew(up: Up) -> None:
    said = up.milpa("webhooks", "create", "https://hook.invalid/", "--event", "job.failed", "--tag", "board")
    assert "whsec_" in said
    (made,) = json.loads(up.milpa("webhooks", "list", "--json", stderr=False))
    assert (made["events"], made["tags"], made["id"] in said) == (["job.failed"], ["board"], True)
    assert "hook.invalid" in up.milpa("webhooks", "list")
    sent = json.loads(up.milpa("webhooks", "test", made["id"], "--json", stderr=False))["id"]
    wait_until(lambda: "leads" in up.milpa("webhooks", "deliveries", made["id"], "--state", "pending"))
    assert sent in up.milpa("webhooks", "redeliver", sent)
    assert "0 are tried anew" in up.milpa("webhooks", "redeliver", "--of", made["id"], "--since", "2026-01-01")
    assert "--of" in up.milpa("webhooks", "redeliver", code=2)
    assert "✗" in up.milpa("webhooks", "create", "ftp://hook.invalid/", code=2)
    with Client(up.url, up.key) as client:
        client.delete_webhook(made["id"])


def test_an_operator_beside_a_running_milpa_needs_no_settings(up: Up) -> None:
    assert "interactive" in up.milpa("queue", "status")
    report = json.loads(up.milpa("check", "--json", stderr=False))
    assert report["lost"] == 0


def test_the_keys_of_a_running_milpa_are_rotated(up: Up) -> None:
    with Client(up.url, up.key) as client:
        problem = client.example(KIND)
        before = client.wait(client.submit(KIND, problem))
        old = up.folders.seal_keys.read_text().strip()
        assert "sealed under" in up.milpa("rotate-keys")
        up.milpa("rotate-keys", "--forget-old")
        assert old not in up.folders.seal_keys.read_text()
        assert client.result(before).outcome == "optimal"
        after = client.wait(client.submit(KIND, problem))
        assert client.result(after).outcome == "optimal"


def test_an_operator_with_no_milpa_at_hand_is_told_where_it_was_sought(tmp_path: Path) -> None:
    assert str(tmp_path / ".milpa") in run_milpa("check", code=2, folder=tmp_path)


def on_a_terminal(up: Up, *words: str) -> str:
    """Run a command on a pseudo-terminal, and return all that it showed there, without colours."""
    screen, terminal = pty.openpty()
    environ = {**up.environ, "TERM": "xterm-256color"}
    with subprocess.Popen([MILPA, *words], stdin=terminal, stdout=terminal, stderr=terminal, env=environ) as process:
        os.close(terminal)
        shown = b"".join(iter(lambda: piece(screen), b""))
    os.close(screen)
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode())


def piece(screen: int) -> bytes:
    try:
        return os.read(screen, 65_536)
    except OSError:  # how Linux says that nobody holds the terminal any more
        return b""
