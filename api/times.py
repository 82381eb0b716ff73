"""Times that callers give."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment: a time with its offset from UTC."""


def beyond_utc(value: object) -> bool:
    """Tell whether this is a time that is in the year 0 or 10000 by UTC, which neither Python nor PostgreSQL holds."""
    if not isinstance(value, datetime):
        return False
    try:
        value.astimezone(UTC)
    except OverflowError:
        return True
    return False
