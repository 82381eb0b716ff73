"""What processes that read strangers' files, or solve strangers' problems, are told of our environment."""

import os

OWNER_MARK = "SUPERVISED_BY_MILPA"
"""Variable of every process of an embedded stack: the data directory that it belongs to, and is found by."""

_NAMES = frozenset(
    {
        OWNER_MARK,
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHASHSEED",
        "PYTHONHOME",
        "PYTHONPYCACHEPREFIX",
        "PYTHONUTF8",
        "TMPDIR",
        "TZ",
        "TZDIR",
    }
)
_PREFIXES = ("LC_", "OMP_", "OPENBLAS_")


def bare_environment(**more: str) -> dict[str, str]:
    """Return what of our environment a program needs to run, and more; listed, for a secret may have any other name."""
    listed = {name: value for name, value in os.environ.items() if name in _NAMES or name.startswith(_PREFIXES)}
    return {**listed, **more}
