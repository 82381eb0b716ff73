"""The one declaration a kind of job makes. Adding an optimizer is adding a folder that holds one of these."""

from collections.abc import Callable
from enum import StrEnum
from functools import cached_property
from importlib import import_module, resources
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from solvers.issues import Issue
from solvers.limits import SolveLimits
from solvers.progress import Progress
from solvers.report import Report
from solvers.result import SolveResult, Violation

P = TypeVar("P", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)


class Family(StrEnum):
    """What sort of answer a kind gives."""

    OPTIMIZATION = "optimization"
    PLACEMENT = "placement"
    SCHEDULING = "scheduling"
    REPORT = "report"


class Sense(StrEnum):
    """Whether more or less of the objective is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Solve(Protocol):
    """`solve` of a kind's `model.py`: the only door to a solver."""

    def __call__(
        self, problem: Any, limits: SolveLimits, progress: Progress, warm_start: Any = None
    ) -> SolveResult[Any]:
        """Solve; `warm_start` is a solution of a similar problem, or None."""
        ...


class Verify(Protocol):
    """`verify` of a kind's `verify.py`: recomputes every constraint and the objective without the solver."""

    def __call__(self, problem: Any, solution: Any) -> list[Violation]:
        """Return what the solution breaks; an empty list says that it holds."""
        ...


class JobKind(msgspec.Struct, Generic[P, S], frozen=True, kw_only=True, dict=True):
    """A kind of job: its words, its types, and where its thinking is.

    package: `__name__` of the kind's folder; `model.py` and `verify.py` there are imported when a solve starts, never
    before. main_table: the field of the problem whose rows people keep in spreadsheets, or None.
    """

    name: str
    family: Family
    version: int
    title: str
    summary: str
    package: str
    sense: Sense
    problem: type[P]
    solution: type[S]
    check: Callable[[P], list[Issue]]
    describe: Callable[[P, SolveResult[S]], Report]
    main_table: str | None = None

    @cached_property
    def solve(self) -> Solve:
        """The kind's solver, imported on first use."""
        return cast("Solve", import_module(f"{self.package}.model").solve)

    @cached_property
    def verify(self) -> Verify:
        """The kind's independent checker, imported on first use."""
        return cast("Verify", import_module(f"{self.package}.verify").verify)

    @cached_property
    def example(self) -> dict[str, Any]:
        """A body ready to post, `{"problem": {…}}`: `cases/example.json`."""
        text = resources.files(self.package).joinpath("cases/example.json").read_bytes()
        return cast("dict[str, Any]", msgspec.json.decode(text))
