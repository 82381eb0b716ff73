from solvers.report import Column, Report, Table
from solvers.result import SolveResult
from tests.workers.kinds.roster.problem import Roster, Seats


def describe(problem: Roster, result: SolveResult[Seats]) -> Report:
    del result
    return Report(
        title="Roster",
        facts=[],
        sentences=[f"{one.name} ({one.id}) sits in class A." for one in problem.students],
        tables=[
            Table(
                name="seats",
                title="Seats",
                columns=[Column(name="student", label="Student"), Column(name="name", label="Name")],
                rows=[(one.id, one.name) for one in problem.students],
            )
        ],
    )
