"""How large an amount of a problem may be: one limit for every kind.

It leaves room for any budget in any currency, and keeps products with rates, shares and months where solvers and
floating point still tell cents of them apart from nothing.
"""

from typing import Annotated, Final

from msgspec import Meta

MOST: Final = 1e15

Money = Annotated[float, Meta(ge=0, le=MOST)]
PositiveMoney = Annotated[float, Meta(gt=0, le=MOST)]
