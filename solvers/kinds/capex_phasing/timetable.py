"""A plan being made: what is still free in each month, where another project fits, and whether it gains there."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from solvers.backends.model import Floats, Whole
from solvers.kinds.capex_phasing.instance import LEFT_OUT, Instance, Starts

_ROUNDING = 1e-9
"""Of a limit: less than any verification asks for, more than sums of floats are off."""


class Timetable:
    """Placed projects, and what they leave.

    starts: of the projects, as in a plan. free: of each capacity, by month. slack: of cash, by month.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        months = instance.horizon
        self.starts: Starts = np.full(instance.size, LEFT_OUT, dtype=np.int64)
        self.free = [np.full(months, float(capacity.limit)) for capacity in instance.capacities]
        carried = instance.problem.carry_over
        self.slack = np.cumsum(instance.income) if carried else instance.income.copy()
        self._room = _ROUNDING * np.maximum(1.0, self.slack)

    def copy(self) -> "Timetable":
        """Return the same timetable, to try something on."""
        other = Timetable(self.instance)
        other.starts = self.starts.copy()
        other.free = [free.copy() for free in self.free]
        other.slack = self.slack.copy()
        return other

    def window(self, place: int) -> tuple[int, int]:
        """Return first and last start of a project behind those placed before it; (0, −1): one of those is missing."""
        of = self.instance
        finishes = [self.starts[j] + of.durations[j] for j in of.before[place]]
        if not of.may_start(place) or any(self.starts[j] < 0 for j in of.before[place]):
            return 0, -1
        return max([of.earliest[place], *map(int, finishes)]), of.latest[place]

    def fitting(self, place: int, *, cash: bool = True, capacity: bool = True) -> Whole:
        """Return the months in which a project can start; cash, capacity: whether these have to suffice."""
        first, last = self.window(place)
        if last < first:
            return np.empty(0, dtype=np.int64)
        fits = np.ones(last - first + 1, dtype=bool)
        if capacity:
            fits &= self._has_capacity(place, first, last)
        if cash:
            fits &= self._has_cash(place, first, last)
        return first + np.flatnonzero(fits)

    def place(self, place: int, start: int) -> None:
        """Let a project start in a month."""
        of = self.instance
        length = of.durations[place]
        end = start + length
        self.starts[place] = start
        for free, shared in zip(self.free, of.capacities, strict=True):
            free[start:end] -= shared.uses[place]
        gained = of.uplift[place] if of.problem.reinvest_uplift else 0.0
        if of.problem.carry_over:
            self.slack[start:end] -= of.spent[place]
            self.slack[end:] -= of.spent[place][-1] - gained * np.arange(1, of.horizon - end + 1)
        else:
            self.slack[start:end] -= np.diff(of.spent[place], prepend=0.0)
            self.slack[end:] += gained

    @property
    def holds(self) -> bool:
        """Whether no month has less than nothing left."""
        enough = all(
            free.min() >= -_ROUNDING * max(1.0, shared.limit)
            for free, shared in zip(self.free, self.instance.capacities, strict=True)
        )
        return enough and bool((self.slack >= -self._room).all())

    def _has_capacity(self, place: int, first: int, last: int) -> Floats:
        length = self.instance.durations[place]
        fits = np.ones(last - first + 1, dtype=bool)
        for free, shared in zip(self.free, self.instance.capacities, strict=True):
            used = shared.uses[place]
            if used > 0:
                least = used - _ROUNDING * max(1.0, shared.limit)
                fits &= (sliding_window_view(free[first : last + length], length) >= least).all(axis=1)
        return fits

    def _has_cash(self, place: int, first: int, last: int) -> Floats:
        """Tell for each start whether no month runs short, while the project is paid and (carried over) after."""
        of = self.instance
        length = of.durations[place]
        slack = self.slack + self._room
        spent = of.spent[place]
        running = sliding_window_view(slack[first : last + length], length)
        if not of.problem.carry_over:
            return np.asarray((running >= np.diff(spent, prepend=0.0)).all(axis=1))
        gained = of.uplift[place] if of.problem.reinvest_uplift else 0.0
        months = np.arange(of.horizon)
        # Once paid for, a project only gives: what counts is the shortest month from then on.
        least = np.minimum.accumulate((slack + gained * months)[::-1])[::-1]
        finish = np.arange(first + length - 1, last + length)
        return np.asarray((running >= spent).all(axis=1) & (least[finish] - gained * finish >= spent[-1]))


def placed(instance: Instance, starts: Starts) -> Timetable:
    """Return the timetable of a plan."""
    table = Timetable(instance)
    for place in np.flatnonzero(starts >= 0):
        table.place(int(place), int(starts[place]))
    return table


def added(table: Timetable, place: int, *, cash: bool = True, capacity: bool = True) -> Timetable | None:
    """Return the timetable with a left-out project added, and what waits for it, if that gains; else None.

    cash, capacity: whether these have to suffice. Alone it is put where it gains most; before others also where it is
    earliest.
    """
    of = table.instance
    fits = table.fitting(place, cash=cash, capacity=capacity)
    if not len(fits):
        return None
    worth = of.values[place][fits - of.earliest[place]]
    for at in dict.fromkeys((int(worth.argmax()), 0)):
        tried = table.copy()
        tried.place(place, int(fits[at]))
        if worth[at] + _follow(tried, place, cash=cash, capacity=capacity) > 0:
            return tried
    return None


def _follow(table: Timetable, place: int, *, cash: bool, capacity: bool) -> float:
    """Add what waits for a project, each where it gains most; return what that gains."""
    of, gain = table.instance, 0.0
    todo = list(of.behind[place])
    for later in todo:
        fits = table.fitting(later, cash=cash, capacity=capacity)
        if table.starts[later] < 0 and len(fits):
            worth = of.values[later][fits - of.earliest[later]]
            if worth.max() > 0:
                table.place(later, int(fits[worth.argmax()]))
                gain += float(worth.max())
                todo += of.behind[later]
    return gain
