"""What a child job was asked for, as it is kept with the job: its answer needs it when the job has ended."""

from typing import Any, TypeVar
from uuid import UUID

import msgspec

from solvers.kind import Sense
from solvers.report import Unit
from storage.transaction import Transaction

Q = TypeVar("Q", bound="Question")


class Question(msgspec.Struct, frozen=True, kw_only=True, tag_field="asked"):
    """A question of any sort."""


class ForceQuestion(Question, frozen=True, kw_only=True, tag="why-not"):
    """Why not: what was forced, which constraints that lifted, and the parent's objective without it."""

    force: dict[str, Any]
    lifted: list[str]
    parent_objective: float | None


class SweepQuestion(Question, frozen=True, kw_only=True, tag="frontier"):
    """One point of a frontier: the field and its value, with what the kind said of the field and the problem then."""

    against: str
    label: str
    unit: Unit
    better: Sense
    sense: Sense
    value: float


async def question_of(transaction: Transaction, job_id: UUID, type_: type[Q]) -> Q | None:
    """Return what the job was asked for, or None when that was nothing of this sort."""
    kept = await transaction.jobs.payload(job_id, "question")
    if kept is None:
        return None
    question: Question = msgspec.json.decode(kept, type=ForceQuestion | SweepQuestion)
    return question if isinstance(question, type_) else None
