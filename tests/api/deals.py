"""A small problem of the deal picker, and bodies around it."""

from typing import Any

from tests.support.planted import MARK

EXAMPLE: dict[str, Any] = {
    "budget": 100_000,
    "sector_caps": {"office": 1.5},
    "deals": [
        {"id": "A", "name": f"A {MARK}", "price": 60_000, "yield": 6_000, "sector": "office"},
        {"id": "B", "name": f"B {MARK}", "price": 50_000, "yield": 4_000, "sector": "retail"},
        {"id": "C", "name": f"C {MARK}", "price": 40_000, "yield": 3_600, "sector": "office"},
        {"id": "D", "name": f"D {MARK}", "price": 80_000, "yield": 5_000, "sector": "logistics"},
    ],
}
KIND = "deal-picker"
SUBMIT = f"/v1/{KIND}/jobs"
CSV = b"id,name,price,yield,sector\nA,A,60000,6000,office\nB,B,50000,4000,retail\n"


def problem(**changes: Any) -> dict[str, Any]:
    return {**EXAMPLE, **changes}


def deal(**changes: Any) -> dict[str, Any]:
    return {**EXAMPLE["deals"][0], **changes}


def body(**more: Any) -> dict[str, Any]:
    return {"problem": EXAMPLE, **more}
