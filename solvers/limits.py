"""How long and how hard a solve may try."""

import msgspec


class SolveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one solve.

    seconds: wall time, > 0. relative_gap: fraction of |objective| within which a solution counts as optimal.
    threads: of the solver, ≥ 1. seed: same seed, same answer (within one thread count).
    """

    seconds: float = 30.0
    relative_gap: float = 1e-4
    threads: int = 2
    seed: int = 0
