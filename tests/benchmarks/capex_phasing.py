"""Capex phasing: 60 projects over 60 months with both bounds, two forms of the model side by side, and PSPLIB.

`python -m tests.benchmarks.capex_phasing [--seconds N]`: N caps each search (60 for PSPLIB's j60, 30 else). The load of
the machine is printed with the figures: searches that a limit ends find less on a busy one.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from solvers.backends.highs import Solver
from solvers.kinds.capex_phasing import KIND
from solvers.kinds.capex_phasing.formulation import Form
from solvers.kinds.capex_phasing.instance import instance_of
from solvers.kinds.capex_phasing.problem import Problem
from solvers.kinds.capex_phasing.search import Found, Search
from solvers.kinds.capex_phasing.solution import solution_of
from solvers.kinds.capex_phasing.time_indexed import Steps, linear_program, real_amounts, rows_of, step_costs
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.result import relative_gap
from tests.support import psplib

CASES = Path(__file__).parents[2] / "solvers/kinds/capex_phasing/cases"
GOAL = 0.02

console = Console(width=130)


class Clock(Silent):
    """Notes when the goal was reached, in seconds."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.reached: float | None = None

    def incumbent(self, objective: float | None, bound: float | None) -> None:
        known = objective is not None and bound is not None
        if known and self.reached is None and relative_gap(objective, bound) <= GOAL:
            self.reached = time.perf_counter() - self.began


def main(seconds: float | None = None) -> None:
    """Measure and print."""
    _large_plan(seconds or 30.0)
    _forms(seconds or 30.0)
    _psplib("j30", seconds or 60.0)
    _psplib("j60", seconds or 60.0)


def case(name: str) -> Problem:
    """A case that lies with the kind."""
    return msgspec.convert(msgspec.json.decode((CASES / f"{name}.json").read_bytes())["problem"], Problem)


def load() -> str:
    """How many processes want to run just now, in the mean of a minute."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def _large_plan(seconds: float) -> None:
    problem, clock = case("capex_60x60"), Clock()
    result = KIND.solve(problem, SolveLimits(seconds=seconds), clock)
    total = time.perf_counter() - clock.began
    assert result.solution is not None
    assert result.objective is not None
    assert KIND.verify(problem, result.solution) == []
    table = Table("figure", "value", title=f"60 projects, 60 months, {seconds:.0f} s ({load()})")
    table.add_row("net present value", f"{result.objective:,.0f}")
    for label, bound in (
        ("bound of the time-indexed linear program (HiGHS)", result.stats["linear_bound"]),
        ("bound of CP-SAT", result.stats["cpsat_bound"]),
    ):
        table.add_row(label, f"{bound:,.0f} ({relative_gap(result.objective, bound):.2%})")
    table.add_row("within 2 % of the tighter after", "never" if clock.reached is None else f"{clock.reached:.1f} s")
    searched = result.stats["solve_seconds"]
    table.add_row("searching, of all", f"{searched:.1f} of {total:.1f} s")
    console.print(table)


def _forms(seconds: float) -> None:
    title = f"Two forms of the model, {seconds:.0f} s each ({load()})"
    table = Table("problem", "model", "status", "objective", "bound", "gap", "seconds", title=title)
    problems = {name: case(name) for name in ("example", "capex_60x60")}
    problems |= {path.stem: msgspec.convert(psplib.problem(path), Problem) for path in psplib.instances("j30")[3:9:2]}
    for name, problem in problems.items():
        for form in Form:
            began = time.perf_counter()
            found = Search(of=instance_of(problem), limits=SolveLimits(seconds=seconds), form=form).run()
            figures = _figures(found.objective, found.cpsat_bound)
            table.add_row(name, f"CP-SAT, {form}", found.status, *figures, f"{time.perf_counter() - began:.1f}")
        if name in {"example", "capex_60x60"}:
            table.add_row(name, "HiGHS, time-indexed", *_by_highs(problem, seconds))
    console.print(table)


def _by_highs(problem: Problem, seconds: float) -> tuple[str, ...]:
    of = instance_of(problem)
    steps = Steps(of)
    relaxed = linear_program(steps, rows_of(steps, real_amounts(of)), of.income, step_costs(of.values))
    model = replace(relaxed, integer=np.arange(len(relaxed.costs)) < steps.count)
    answer = Solver(model, SolveLimits(seconds=seconds)).solve()
    return answer.status, *_figures(answer.objective, answer.bound), f"{answer.seconds:.1f}"


def _figures(objective: float | None, bound: float | None) -> tuple[str, str, str]:
    if objective is None or bound is None:
        return "", "", ""
    return f"{objective:,.0f}", f"{bound:,.0f}", f"{relative_gap(objective, bound):.2%}"


def _psplib(name: str, seconds: float) -> None:
    paths = psplib.instances(name)
    if not paths:
        console.print(f"PSPLIB {name} is not here: set MILPA_BENCHMARK_DATA to the folder that holds psplib.")
        return
    title = f"PSPLIB {name}, at most {seconds:.0f} s each ({load()})"
    table = Table("instance", "best known", "ours", "bound", "status", "seconds", title=title)
    over = []
    for path in paths:
        problem, known = msgspec.convert(psplib.problem(path), Problem), psplib.known(path)
        began = time.perf_counter()
        found = Search(of=instance_of(problem), limits=SolveLimits(seconds=seconds)).run()
        took = time.perf_counter() - began
        _check(problem, found)
        assert found.objective is not None
        over.append(found.objective / known.upper - 1)
        bound = "" if found.bound is None else f"{found.bound:.0f}"
        table.add_row(path.stem, known.text, f"{found.objective:.0f}", bound, found.status, f"{took:.1f}")
    console.print(table)
    console.print(f"over the best known: {np.mean(over):.1%} in the mean, {max(over):.1%} at most\n")


def _check(problem: Problem, found: Found) -> None:
    assert found.starts is not None
    assert KIND.verify(problem, solution_of(instance_of(problem), found.starts)) == []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="cap of each search")
    main(parser.parse_args().seconds)
