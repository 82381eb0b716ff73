"""The process of its own: `python -m solvers.rows read <kind> <format>` or `… template <kind> <csv|xlsx>`.

The file comes on stdin, the answer goes to stdout; see `solvers.rows_process`, the caller's side.
"""

import gc
import resource
import sys
import traceback
from pathlib import Path
from typing import Final

import msgspec

from solvers.registry import get_kind
from solvers.rows.tables import read_table
from solvers.rows.templates import template
from solvers.rows_process import TIMEOUT_SECONDS, TOO_COSTLY, TableFormat

MEMORY_BYTES: Final = 2_000_000_000


def limit_resources() -> None:
    """Take no more memory and processor time than a table may cost, and leave no core."""
    seconds = int(TIMEOUT_SECONDS)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def main(command: str, kind: str, table_format: str) -> bytes:
    """Do what is asked and return the answer's bytes."""
    if command == "template":
        return template(get_kind(kind), TableFormat(table_format))
    return msgspec.msgpack.encode(read_table(get_kind(kind), TableFormat(table_format), sys.stdin.buffer.read()))


def _where(error: Exception) -> str:
    """Say what failed and where, and nothing of the data it failed on."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def guarded(*arguments: str) -> bytes:
    """Return the answer, or exit as the caller's side expects it."""
    try:
        return main(*arguments)
    except MemoryError:
        sys.exit(TOO_COSTLY)
    except Exception as error:  # noqa: BLE001 (a traceback would carry the caller's data into our log)
        sys.exit(_where(error))
    except BaseException:  # noqa: BLE001 (native code that panics for want of memory is no Exception)
        sys.exit(TOO_COSTLY)


if __name__ == "__main__":
    limit_resources()
    gc.disable()  # a million dictionaries without a cycle, and a life of a second
    sys.stdout.buffer.write(guarded(*sys.argv[1:]))
