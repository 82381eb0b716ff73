from typing import Literal

import msgspec

from solvers.issues import Issue

Act = Literal[
    "answer", "climb", "hang", "linger", "tell_limits", "print", "print_in_c", "print_half_a_line", "flood",
    "segfault", "exit", "allocate", "keep",
    "usage_error", "transient_error", "fatal_error", "print_and_fail", "bug", "lie",
]  # fmt: skip


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    act: Act = "answer"
    seconds: float = 0.0
    value: float = 1.0
    text: str = ""


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    value: float
    pid: int
    warm: bool = False
    tasks: int = 0


def check(problem: Problem) -> list[Issue]:
    del problem
    return []
