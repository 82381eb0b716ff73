"""Reads tables in a throwaway process, so that a hostile file costs its caller no more than an issue.

The process: `python -m solvers.rows read <kind> <format>` takes the file on stdin and answers a `RowsRead` as msgpack;
`python -m solvers.rows template <kind> <csv|xlsx>` answers the file. It limits its own memory and processor time, and
no secret is in its environment. Exit code 0: answered; killed by a signal or TOO_COSTLY: the file's fault;
anything else: ours, with the place on stderr and none of the caller's data.
"""

import asyncio
import sys
from enum import StrEnum
from typing import Any, Final

import msgspec

from milpa.bare_environment import bare_environment
from milpa.errors import FatalError
from solvers.issues import Issue

TIMEOUT_SECONDS: Final = 30.0
TOO_COSTLY: Final = 3


class TableFormat(StrEnum):
    """What a table may come as. Templates are CSV or XLSX."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


class RowsRead(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a table in problem form, and what is wrong with its cells.

    table: pointer of the table in the problem (`/deals`). rows: one object per row; empty and bad cells are left out.
    numbers: the row each came from, as a spreadsheet counts (header = 1). issues: the first ones, pointers from the
    problem's root, with row and column; total: how many there are in all. No rows, but issues: the file or its header
    is wrong.
    """

    table: str
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    issues: list[Issue] = []
    total: int = 0


async def read_rows(
    kind: str, table: str, table_format: TableFormat, data: bytes, *, seconds: float = TIMEOUT_SECONDS
) -> RowsRead:
    """Read the main table of a kind (`deals`) from a file's bytes. FatalError: the reader itself is broken.

    A file that cannot be read within `seconds` and the memory there is for it is one issue.
    """
    answer = await _run(["read", kind, table_format], data, seconds)
    if answer is not None:
        return msgspec.msgpack.decode(answer, type=RowsRead)
    message = f"The file cannot be read within {seconds:g} seconds and the memory for it: it is damaged or too large."
    issue = Issue(code="unreadable_table", pointer=f"/{table}", message=message)
    return RowsRead(table=f"/{table}", issues=[issue], total=1)


async def template(kind: str, table_format: TableFormat, *, seconds: float = TIMEOUT_SECONDS) -> bytes:
    """Return a file with the columns of a kind's main table and two example rows. FatalError: that failed."""
    answer = await _run(["template", kind, table_format], b"", seconds)
    if answer is None:
        raise FatalError("table_process_failed", f"No template of {kind} was made within {seconds:g} seconds.")
    return answer


def combined(read: RowsRead, others: list[Issue], total: int, *, prefix: str = "") -> tuple[list[Issue], int]:
    """Join the issues of a table's cells and those of the problem made with its rows; return them and how many in all.

    others: what decoding or checking that problem found, `total` in all, pointers under `prefix` (`/problem`). Those
    within the table get their row and column. What could not be read is not said to be missing a second time.
    """
    own = [msgspec.structs.replace(issue, pointer=prefix + issue.pointer) for issue in read.issues]
    told = {issue.pointer for issue in own}
    hopeless = read.total > 0 and (not read.rows or read.total > len(own))
    table = prefix + read.table
    kept = []
    for issue in others:
        within = issue.pointer == table or issue.pointer.startswith(table + "/")
        if not within:
            kept.append(issue)
        elif not hopeless and issue.pointer not in told:
            kept.append(_located(issue, read, table))
    return own + kept, read.total + total - (len(others) - len(kept))


def _located(issue: Issue, read: RowsRead, table: str) -> Issue:
    index, *fields = issue.pointer[len(table) + 1 :].split("/")
    if not index:
        return issue
    column = fields[0].replace("~1", "/").replace("~0", "~") if fields else None
    return msgspec.structs.replace(issue, row=read.numbers[int(index)], column=column)


async def _run(arguments: list[str], data: bytes, seconds: float) -> bytes | None:
    """Run the process; None: it took too long, too much memory, or fell over its input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "solvers.rows",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=bare_environment(POLARS_MAX_THREADS="1", RAYON_NUM_THREADS="1"),
    )
    try:
        async with asyncio.timeout(seconds):
            answer, complaint = await process.communicate(data)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return answer
    if process.returncode == TOO_COSTLY or (process.returncode or 0) < 0:
        return None
    raise FatalError("table_process_failed", complaint.decode("utf-8", "replace").strip()[-500:])
