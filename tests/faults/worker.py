"""A real worker process that serves the kinds of `tests.workers.kinds`."""

from workers.main import main

if __name__ == "__main__":
    main(kinds="tests.workers.kinds")
