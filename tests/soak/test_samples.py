"""What the soak looks at comes and goes while it looks."""

import shutil
import threading
from pathlib import Path

from tests.soak.samples import below


def test_folders_are_counted_while_others_make_and_remove_them(tmp_path: Path) -> None:
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for number in range(20):
                (tmp_path / f"{number}" / "inside").mkdir(parents=True, exist_ok=True)
                (tmp_path / f"{number}" / "inside" / "file").touch()
            for number in range(20):
                shutil.rmtree(tmp_path / f"{number}")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        counts = {sum(1 for _ in below(tmp_path)) for _ in range(2000)}
    finally:
        done.set()
        thread.join()
    assert len(counts) > 1
    assert max(counts) <= 60


def test_empty_folders_count_too(tmp_path: Path) -> None:
    (tmp_path / "tenant" / "job").mkdir(parents=True)
    (tmp_path / "tenant" / "job" / "file").touch()
    (tmp_path / "tenant" / "pruned").mkdir()
    assert sum(1 for _ in below(tmp_path)) == 4
