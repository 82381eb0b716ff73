"""`python -m tests.benchmarks [name …]`: run the named benchmarks, or all of them, and print their figures."""

import platform
import sys
from importlib import import_module
from pathlib import Path

import psutil


def names() -> list[str]:
    """Every benchmark: the modules beside this one that are not private."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main(wanted: list[str]) -> None:
    """Run them one after the other, so that none disturbs another."""
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    memory = psutil.virtual_memory().total / 2**30
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores, {memory:.0f} GiB\n")
    for name in wanted or names():
        print(f"## {name}\n", flush=True)
        import_module(f"tests.benchmarks.{name}").main()
        print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
