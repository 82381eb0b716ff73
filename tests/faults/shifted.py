"""Run a module as a program whose clock can be set: `python -m tests.faults.shifted workers.main …`.

SIGUSR1 puts the time of day ten minutes forward, SIGUSR2 ten minutes back, as far as Python code can tell. Monotonic
clocks go on as they did, as they would on a machine whose clock is set.
"""

import runpy
import signal
import sys
from datetime import UTC, datetime

import time_machine

STEP_SECONDS = 600.0


def main() -> None:
    """Set the clock by signals, and run the program."""
    module, *arguments = sys.argv[1:]
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        signal.signal(signal.SIGUSR1, lambda *_: clock.shift(STEP_SECONDS))
        signal.signal(signal.SIGUSR2, lambda *_: clock.shift(-STEP_SECONDS))
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
