"""Watchers and small models for the tests of the backends."""

import numpy as np

from solvers.backends.model import Model, Row, model_from_rows


class Watcher:
    """A progress that remembers, and asks to stop when told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.phases: list[str] = []
        self.incumbents: list[tuple[float | None, float | None]] = []
        self._stop_after = stop_after

    def phase(self, name: str, fraction: float | None = None) -> None:  # noqa: ARG002 - a Progress
        self.phases.append(name)

    def incumbent(self, objective: float | None, bound: float | None) -> None:
        self.incumbents.append((objective, bound))

    def stop_requested(self) -> bool:
        found = sum(objective is not None for objective, _ in self.incumbents)
        return self._stop_after is not None and found >= self._stop_after


def knapsack(n: int, rows: int, seed: int = 0, *, whole: bool = True, hard: bool = False) -> Model:
    """A 0-1 knapsack with several rows; a hard one has worth that follows weight, and takes minutes to prove."""
    generator = np.random.default_rng(seed)
    weights = generator.integers(100, 1000, (rows, n)).astype(float)
    worth = generator.integers(100, 1000, n).astype(float)
    if hard:
        worth = weights.mean(axis=0).round() + generator.integers(1, 100, n)
    return model_from_rows(
        costs=worth,
        lower=np.zeros(n),
        upper=np.ones(n),
        rows=[Row(f"row:{i}", np.arange(n), weights[i], upper=float(weights[i].sum() // 2)) for i in range(rows)],
        integer=np.ones(n, dtype=bool) if whole else None,
        maximize=True,
    )
