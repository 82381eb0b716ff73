from solvers.result import Violation
from tests.workers.kinds.probe.problem import Problem, Solution


def verify(problem: Problem, solution: Solution) -> list[Violation]:
    if solution.value > problem.value:
        return [Violation(constraint="value", amount=solution.value - problem.value, message="more than there is")]
    return []
