"""Everything that is wrong with a problem, at once, and what is only odd about it."""

from collections import Counter
from collections.abc import Iterable, Iterator

from solvers.amounts import MOST
from solvers.issues import Issue, error, warning
from solvers.kinds.deal_picker.problem import Deal, Problem

MOST_DEALS = 1_000_000
_LOWEST_RATE, _HIGHEST_RATE = -0.05, 1.0
_AT_MOST = f"at most {MOST:,.0f}"


def check(problem: Problem) -> list[Issue]:
    """Return every issue; the warnings are caps that no deal falls under and shares above 1."""
    if not problem.deals:
        return [*_check_limits(problem), error("too_few", "There is no deal to choose from.", "deals")]
    if len(problem.deals) > MOST_DEALS:
        return [error("too_many", f"At most {MOST_DEALS:,} deals, not {len(problem.deals):,}.", "deals")]
    return [
        *_check_limits(problem),
        *_check_deals(problem),
        *_check_ids(problem),
        *_check_lists(problem),
        *_check_caps_apply(problem),
    ]


def _check_limits(problem: Problem) -> Iterator[Issue]:
    if not 0 < problem.budget <= MOST:
        yield error("out_of_range", f"The budget must be above 0 and {_AT_MOST}.", "budget")
    if not 0 <= problem.risk_penalty <= MOST:
        yield error("out_of_range", f"The risk penalty must be 0 or more, {_AT_MOST}.", "risk_penalty")
    if problem.max_risk is not None and not 0 <= problem.max_risk <= MOST:
        yield error("out_of_range", f"The risk limit must be 0 or more, {_AT_MOST}.", "max_risk")
    if problem.max_deals is not None and problem.max_deals < 0:
        yield error("out_of_range", "The number of deals must be 0 or more.", "max_deals")
    for name, caps in (("sector_caps", problem.sector_caps), ("city_caps", problem.city_caps)):
        for key, cap in caps.items():
            if not 0 <= cap <= MOST:
                yield error("out_of_range", f"A cap must be 0 or more, {_AT_MOST}.", name, key)
            elif problem.cap_basis == "share_of_budget" and cap > 1:
                yield warning("out_of_range", f"A share of {cap:g} of the budget never binds.", name, key)


def _check_deals(problem: Problem) -> Iterator[Issue]:
    whole, is_rate = problem.mode == "whole", problem.yield_basis == "rate"
    low, high = (_LOWEST_RATE, _HIGHEST_RATE) if is_rate else (0.0, MOST)
    penalty = min(max(1.0, problem.risk_penalty), MOST)
    for index, deal in enumerate(problem.deals):
        most_risk = MOST / penalty / (min(max(1.0, deal.price), MOST) if is_rate else 1.0)
        if (
            0 < deal.price <= MOST
            and low <= deal.yield_ <= high
            and 0 <= deal.risk <= most_risk
            and 0 <= deal.min_allocation <= deal.max_allocation <= 1
            and not (whole and (deal.min_allocation or deal.max_allocation < 1))
        ):
            continue
        yield from _check_deal(index, deal, (low, high), most_risk, whole=whole)


def _check_deal(
    index: int, deal: Deal, yields: tuple[float, float], most_risk: float, *, whole: bool
) -> Iterator[Issue]:
    """Yield what is wrong with a deal. most_risk: with which its risk, weighted and penalized, is an amount at most."""
    low, high = yields
    if not 0 < deal.price <= MOST:
        yield error("out_of_range", f"A price must be above 0 and {_AT_MOST}.", "deals", index, "price")
    if not low <= deal.yield_ <= high:
        bounds = f"0 or more, {_AT_MOST}" if high == MOST else f"between {low:g} and {high:g} as a rate"
        yield error("out_of_range", f"A yield must be {bounds}.", "deals", index, "yield")
    if not 0 <= deal.risk <= most_risk:
        message = f"A risk must be 0 or more; of the whole deal, and times the penalty, {_AT_MOST}."
        yield error("out_of_range", message, "deals", index, "risk")
    for name, share in (("min_allocation", deal.min_allocation), ("max_allocation", deal.max_allocation)):
        if not 0 <= share <= 1:
            yield error("out_of_range", "An allocation must be between 0 and 1.", "deals", index, name)
    if deal.min_allocation > deal.max_allocation:
        yield error("bad_value", "min_allocation is above max_allocation.", "deals", index, "min_allocation")
    if whole and deal.min_allocation:
        yield error("bad_value", "Whole deals have no min_allocation.", "deals", index, "min_allocation")
    if whole and deal.max_allocation < 1:
        yield error("bad_value", "Whole deals have no max_allocation below 1.", "deals", index, "max_allocation")


def _check_ids(problem: Problem) -> Iterator[Issue]:
    first: dict[str, int] = {}
    for index, deal in enumerate(problem.deals):
        earlier = first.setdefault(deal.id, index)
        if earlier != index:
            yield error("duplicate_id", f"Deal {earlier} has the id {deal.id!r} too.", "deals", index, "id")
        if not deal.id:
            yield error("bad_value", "An id must not be empty.", "deals", index, "id")


def _check_lists(problem: Problem) -> Iterator[Issue]:
    known = {deal.id for deal in problem.deals}
    yield from _check_references(problem.must_include, known, ("must_include",))
    yield from _check_references(problem.exclude, known, ("exclude",))
    excluded = set(problem.exclude)
    for index, deal_id in enumerate(problem.must_include):
        if deal_id in excluded:
            yield error("bad_value", f"{deal_id!r} is also excluded.", "must_include", index)
    for number, group in enumerate(problem.exclusive_groups):
        yield from _check_references(group, known, ("exclusive_groups", number))


def _check_references(ids: Iterable[str], known: set[str], path: tuple[str | int, ...]) -> Iterator[Issue]:
    seen: Counter[str] = Counter()
    for index, deal_id in enumerate(ids):
        seen[deal_id] += 1
        if deal_id not in known:
            yield error("unknown_id", f"There is no deal {deal_id!r}.", *path, index)
        elif seen[deal_id] > 1:
            yield error("duplicate_id", f"{deal_id!r} is listed twice.", *path, index)


def _check_caps_apply(problem: Problem) -> Iterator[Issue]:
    if problem.sector_caps:
        yield from _check_used("sector_caps", problem.sector_caps, {deal.sector for deal in problem.deals})
    if problem.city_caps:
        yield from _check_used("city_caps", problem.city_caps, {deal.city for deal in problem.deals})


def _check_used(field: str, caps: Iterable[str], names: set[str]) -> Iterator[Issue]:
    for name in caps:
        if name not in names:
            yield warning("unused_cap", f"No deal falls under {name!r}.", field, name)
