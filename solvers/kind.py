"""The one declaration a kind of job makes. Adding an optimizer is adding a folder that holds one of these."""

from collections.abc import Callable
from enum import StrEnum
from functools import cached_property
from importlib import import_module, resources
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from solvers.issues import Issue
from solvers.limits import SolveLimits
from solvers.persons import SubjectField
from solvers.progress import Progress
from solvers.report import Report, Unit
from solvers.result import SolveResult, Violation

P = TypeVar("P", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)
F = TypeVar("F", bound=msgspec.Struct)


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


class Forced(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to force something into the answer, or what is wrong with asking for it.

    patch: merge patch of the problem. lifted: names of the constraints that the forced thing breaks by itself, which
    the patch therefore lifts. issues: pointers start at the force's root; with an error the rest is of no use.
    """

    patch: dict[str, Any] = {}
    lifted: list[str] = []
    issues: list[Issue] = []


class WhyNot(msgspec.Struct, Generic[P, F], frozen=True, kw_only=True):
    """What people may ask "why not" about: something to force, and the change of the problem that forces it."""

    force: type[F]
    forced: Callable[[P, F], Forced]


class SweptField(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """A limit of the problem against which a frontier can be drawn: solved at several values, all else as given.

    name: the field. better: which way the limit costs the objective and pleases its owner: MINIMIZE for a cap such as
    risk, MAXIMIZE for a floor such as debt service cover. whole: it takes whole numbers. span: lowest and highest value
    worth looking at, from the problem and the solution there is; None: there is nothing to go by. patch: merge patch
    that sets it, `{name: value}` when left out.
    """

    name: str
    label: str
    unit: Unit
    better: Sense
    span: Callable[[P, Any], tuple[float, float] | None]
    whole: bool = False
    patch: Callable[[P, float], dict[str, Any]] | None = None


class JobKind(msgspec.Struct, Generic[P, S], frozen=True, kw_only=True, dict=True):
    """A kind of job: its words, its types, and where its thinking is.

    package: `__name__` of the kind's folder; `model.py` and `verify.py` there are imported when a solve starts, never
    before. sense_of: the sense of one problem, where the problem decides it. main_table: the field of the problem whose
    rows people keep in spreadsheets, or None. why_not, frontier: what can be asked of an answer beside what-if and
    compare, which every kind has. subjects: where a problem names persons.
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
    sense_of: Callable[[P], Sense] | None = None
    why_not: WhyNot[P, Any] | None = None
    frontier: tuple[SweptField[P], ...] = ()
    subjects: tuple[SubjectField, ...] = ()

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
