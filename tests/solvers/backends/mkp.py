"""The multi-dimensional knapsack problems of Chu and Beasley (1998), where their folder is to be found."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from solvers.backends.model import Model, Row, model_from_rows

PROJECT = Path(__file__).parents[3]


class Instance(NamedTuple):
    """One problem with the best plan known when it was published, and the optimum of its linear relaxation."""

    name: str
    model: Model
    best_known: float
    linear_optimum: float


def folder() -> Path | None:
    """The data folder: `MILPA_BENCHMARK_DATA`, or `shared/data` beside the project; None where there is none."""
    for data in (os.environ.get("MILPA_BENCHMARK_DATA"), PROJECT.parent / "shared" / "data"):
        if data and (Path(data) / "mkp" / "mknapcb1.txt").exists():
            return Path(data) / "mkp"
    return None


def instances() -> list[Instance]:
    """All problems of `mknapcb1.txt`, or none where the folder is absent."""
    at = folder()
    if at is None:
        return []
    numbers = [float(word) for word in (at / "mknapcb1.txt").read_text().split()]
    best, relaxed = _answers(at / "best-feasible-slns.txt")
    found, position = [], 1
    for number in range(int(numbers[0])):
        n, m = int(numbers[position]), int(numbers[position + 1])
        body = np.array(numbers[position + 3 : position + 3 + n + n * m + m])
        position += 3 + n + n * m + m
        name = f"5.100-{number:02}"
        found.append(Instance(name, _model(body, n, m), best[name], relaxed[name]))
    return found


def made(seed: int, n: int = 30, m: int = 5, tightness: float = 0.5) -> Model:
    """A small problem by the recipe of the published ones, for machines where these are not.

    Weights of 1 to 1,000, limits of a share of their sums, profits of the mean weight and up to 500 more.
    """
    generator = np.random.default_rng(seed)
    weights = generator.integers(1, 1001, (m, n))
    profits = weights.mean(axis=0) + 500 * generator.random(n)
    limits = np.floor(tightness * weights.sum(axis=1))
    return _model(np.concatenate([np.round(profits), weights.ravel(), limits]), n, m)


def _model(body: np.ndarray, n: int, m: int) -> Model:
    weights, limits = body[n : n + n * m].reshape(m, n), body[n + n * m :]
    rows = [Row(f"row:{i}", np.arange(n), weights[i], upper=float(limits[i])) for i in range(m)]
    return model_from_rows(
        costs=body[:n], lower=np.zeros(n), upper=np.ones(n), rows=rows, integer=np.ones(n, dtype=bool), maximize=True
    )


def _answers(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """The two tables of the file: best plans, then optima of the relaxations."""
    tables: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 2 and words[0].startswith("5.100-"):
            tables[words[0] in tables[0]][words[0]] = float(words[1])
    return tables
