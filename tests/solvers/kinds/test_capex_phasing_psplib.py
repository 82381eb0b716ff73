"""Instances of PSPLIB fit the form: the published optima are hit and proven."""

from pathlib import Path

import msgspec
import pytest

from solvers.kinds.capex_phasing import KIND
from solvers.kinds.capex_phasing.instance import instance_of
from solvers.kinds.capex_phasing.problem import Problem
from solvers.kinds.capex_phasing.search import Search
from solvers.kinds.capex_phasing.solution import solution_of
from solvers.limits import SolveLimits
from solvers.result import SolveStatus
from tests.support import psplib

FEW = psplib.instances("j30")[::3]


def test_a_file_becomes_a_problem_without_its_dummies(tmp_path: Path) -> None:
    path = tmp_path / "tiny.sm"
    path.write_text(
        "****\nPRECEDENCE RELATIONS:\njobnr.    #modes  #successors   successors\n"
        "1 1 2 2 3\n2 1 1 4\n3 1 1 4\n4 1 0\n"
        "****\nREQUESTS/DURATIONS:\njobnr. mode duration  R 1  R 2\n----\n"
        "1 1 0 0 0\n2 1 3 2 0\n3 1 2 1 4\n4 1 0 0 0\n"
        "****\nRESOURCEAVAILABILITIES:\n  R 1  R 2\n 2 5\n****\n"
    )
    problem = msgspec.convert(psplib.problem(path), Problem)
    assert KIND.check(problem) == []
    assert [(p.id, p.duration_months, p.uses, p.after) for p in problem.projects] == [
        ("2", 3, {"r1": 2}, []),
        ("3", 2, {"r1": 1, "r2": 4}, []),
    ]
    found = Search(of=instance_of(problem), limits=SolveLimits()).run()
    assert (found.objective, found.bound) == (5, 5)


@pytest.mark.skipif(not FEW, reason="PSPLIB is not here: set MILPA_BENCHMARK_DATA to the folder that holds psplib")
@pytest.mark.parametrize("path", FEW, ids=[path.stem for path in FEW])
def test_a_published_optimum_is_hit_and_proven(path: Path) -> None:
    problem = msgspec.convert(psplib.problem(path), Problem)
    found = Search(of=instance_of(problem), limits=SolveLimits(seconds=300)).run()
    assert found.status is SolveStatus.OPTIMAL
    assert found.starts is not None
    assert found.objective == found.bound == psplib.known(path).upper
    assert KIND.verify(problem, solution_of(instance_of(problem), found.starts)) == []
