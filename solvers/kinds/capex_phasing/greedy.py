"""A good plan in about a second: projects in order of their keys, each where it fits best; then better keys.

Serial schedule generation: every project is placed once, behind those it waits for, in the month that is worth most.
The keys are those of the linear program where there is one (its mean starts), else worth for money; they are improved
by small random moves. The effort is counted in projects placed, so that the same seed gives the same plan.
"""

import heapq
import time
from collections.abc import Callable

import numpy as np

from solvers.backends.model import Floats, Whole
from solvers.kinds.capex_phasing.instance import Instance, Starts
from solvers.kinds.capex_phasing.problem import Objective
from solvers.kinds.capex_phasing.timetable import Timetable, added, placed

_PLACINGS = 8_000
_FEWEST_ROUNDS, _MOST_ROUNDS = 20, 150
_FIRST = 1e6
"""Taken off the keys of needed projects: they get their places before all that is optional."""
_NUDGED = 0.08
_NUDGE = (1.0, 4.0)


def greedy(
    instance: Instance,
    *,
    seed: int,
    seconds: float,
    stop: Callable[[], bool],
    guides: list[Floats],
    start: Starts | None = None,
) -> Starts | None:
    """Return the best plan found, or None when no needed project set was placed whole.

    guides: keys to begin with, shape (n,) each: about when a project should start. start: another plan, taken as keys
    and, where it fits, as a plan.
    """
    until = time.perf_counter() + seconds
    generator = np.random.default_rng(seed)
    keys = [guide - _FIRST * np.array(instance.needed) for guide in [*guides, _by_worth(instance)]]
    if start is not None:
        keys.insert(0, np.where(start >= 0, start, instance.horizon).astype(np.float64))
    tried = [(_made(instance, key), key) for key in keys]
    found = [plan for plan in [fitted(instance, start)] if plan is not None] if start is not None else []
    (rank, plan), key = max(tried, key=lambda one: one[0][0])
    rounds = min(_MOST_ROUNDS, max(_FEWEST_ROUNDS, _PLACINGS // instance.size))
    for _ in range(rounds if instance.size > 1 else 0):
        if stop() or time.perf_counter() > until:
            break
        moved = _moved(_ranks(key), generator)
        next_rank, next_plan = _made(instance, moved)
        if next_rank >= rank:
            rank, plan, key = next_rank, next_plan, moved
    if rank[0] == 0:
        found.append(plan)
    return max(found, key=instance.rank, default=None)


def fitted(instance: Instance, starts: Starts) -> Starts | None:
    """Return a plan as it is if it fits the instance, else None."""
    for place in range(instance.size):
        if starts[place] < 0:
            if instance.needed[place]:
                return None
            continue
        ready = [
            starts[j] + instance.durations[j] if starts[j] >= 0 else instance.horizon for j in instance.before[place]
        ]
        if not max([instance.earliest[place], *ready]) <= starts[place] <= instance.latest[place]:
            return None
    return starts if placed(instance, starts).holds else None


def filled(instance: Instance, starts: Starts) -> Starts:
    """Return a plan with every left-out project added that still fits and gains."""
    table = placed(instance, starts)
    if instance.objective is not Objective.MAKESPAN:
        for place in instance.order:
            if table.starts[place] < 0:
                table = added(table, place) or table
    return table.starts


_Rank = tuple[int, tuple[float, float]]


def _made(instance: Instance, keys: Floats) -> tuple[_Rank, Starts]:
    """Place all projects in the order of their keys; the rank counts needed ones without a place first."""
    table = Timetable(instance)
    for place in _in_order(instance, keys):
        fits = table.fitting(place)
        if len(fits) and (start := _best(instance, place, fits)) is not None:
            table.place(place, start)
    missing = sum(must and table.starts[place] < 0 for place, must in enumerate(instance.needed))
    starts = _pruned(instance, table.starts)
    return (-missing, instance.rank(starts)), starts


def _in_order(instance: Instance, keys: Floats) -> list[int]:
    """Return all places by key, each behind those it waits for."""
    waiting = [len(places) for places in instance.before]
    ready = [(float(keys[place]), place) for place, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, place = heapq.heappop(ready)
        order.append(place)
        for later in instance.behind[place]:
            waiting[later] -= 1
            if waiting[later] == 0:
                heapq.heappush(ready, (float(keys[later]), later))
    return order


def _best(instance: Instance, place: int, fits: Whole) -> int | None:
    """Return the month worth most; what only burdens the plan waits, or is left to others; None: rather not."""
    if instance.objective is Objective.MAKESPAN:
        return int(fits[0])
    worth = instance.values[place][fits - instance.earliest[place]]
    if worth.max() > 0:
        return int(fits[np.argmax(worth)])
    if instance.behind[place]:
        return int(fits[0])
    return int(fits[-1]) if instance.needed[place] else None


def _pruned(instance: Instance, starts: Starts) -> Starts:
    """Take out, last first, what adds nothing, what nothing waits for, and what pays for nothing."""
    if instance.objective is Objective.MAKESPAN or instance.problem.reinvest_uplift:
        return starts
    for place in reversed(instance.order):
        if starts[place] < 0 or instance.needed[place] or any(starts[later] >= 0 for later in instance.behind[place]):
            continue
        if instance.values[place][starts[place] - instance.earliest[place]] <= 0:
            starts[place] = -1
    return starts


def _by_worth(instance: Instance) -> Floats:
    """Return keys: most worth for its money first; for makespan, the least time to spare first."""
    keys = np.zeros(instance.size)
    for place in range(instance.size):
        if instance.may_start(place):
            if instance.objective is Objective.MAKESPAN:
                keys[place] = instance.latest[place]
            else:
                keys[place] = -instance.values[place].max() / max(1e-9, instance.spent[place][-1])
    return _ranks(keys)


def _ranks(keys: Floats) -> Floats:
    return np.argsort(np.argsort(keys, kind="stable"), kind="stable").astype(np.float64)


def _moved(ranks: Floats, generator: np.random.Generator) -> Floats:
    """Return ranks with one put beside another, or with a few nudged."""
    moved = ranks.copy()
    if generator.random() < 0.5:  # noqa: PLR2004  one kind of move as often as the other
        one, other = generator.choice(len(ranks), 2, replace=False)
        moved[one] = ranks[other] + generator.choice((-0.5, 0.5))
        return moved
    chosen = generator.random(len(ranks)) < _NUDGED
    moved[chosen] += generator.normal(0.0, generator.choice(_NUDGE), int(chosen.sum()))
    return moved
