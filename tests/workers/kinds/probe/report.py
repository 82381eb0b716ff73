from solvers.report import Column, Fact, Report, Table, Unit
from solvers.result import SolveResult
from tests.workers.kinds.probe.problem import Problem, Solution


def describe(problem: Problem, result: SolveResult[Solution]) -> Report:
    return Report(
        title="Probe",
        facts=[Fact(name="value", label="Value", value=result.objective)],
        sentences=[f"It was told to {problem.act}."],
        tables=[
            Table(
                name="values",
                title="Values",
                columns=[Column(name="value", label="Value", unit=Unit.NUMBER)],
                rows=[(problem.value,)],
            )
        ],
    )
