"""Make `sacramento.csv` and `sacramento.json` from the sales.

Run it as `python -m solvers.kinds.deal_picker.cases.make_sacramento`. The sales have prices and no rents. Yields and
risks are assumptions, stated here and in README.md, and nothing more.
"""

import csv
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

BASE_YIELD = {"Residential": 0.062, "Condo": 0.066, "Multi-Family": 0.072}
USUAL_SIZE = 1600
"""Square feet at which size adds nothing; half of it adds half a percentage point."""
USUAL_PRICE = 140
"""USD per square foot at which the price level adds nothing; half of it adds three quarters of a point."""

LIMITS = {
    "budget": 25_000_000,
    "currency": "USD",
    "yield_basis": "rate",
    "risk_penalty": 0.25,
    "max_risk": 600_000,
    "cap_basis": "share_of_budget",
    "sector_caps": {"Residential": 0.8, "Condo": 0.15, "Multi-Family": 0.08},
    "city_caps": {
        "Sacramento": 0.35,
        "Elk Grove": 0.15,
        "Roseville": 0.1,
        "Citrus Heights": 0.08,
        "Antelope": 0.08,
        "Rancho Cordova": 0.08,
        "North Highlands": 0.06,
        "Rio Linda": 0.04,
    },
}


def assumed_yield(kind: str, size: float, price: float) -> float:
    """Return the yield assumed for a home: by type, more for small ones and where a square foot is cheap.

    size: square feet; price: USD.
    """
    by_size = 0.010 * _between((USUAL_SIZE - size) / USUAL_SIZE)
    by_level = 0.015 * _between((USUAL_PRICE - price / size) / USUAL_PRICE)
    return round(BASE_YIELD[kind] + by_size + by_level, 4)


def assumed_risk(kind: str, size: float, price: float) -> float:
    """Return the yearly loss per price assumed for a home: more where a square foot is cheap, and for flats."""
    by_level = 0.025 * max(0.0, _between((USUAL_PRICE - price / size) / USUAL_PRICE))
    return round(0.02 + (0.0 if kind == "Residential" else 0.008) + by_level, 4)


def deals() -> list[dict[str, Any]]:
    """Return one deal per sale, in the order of the sales."""
    with (HERE / "sacramento_sales.csv").open(encoding="utf-8", newline="") as file:
        sales = list(csv.DictReader(file))
    return [_deal(number, sale) for number, sale in enumerate(sales, start=1)]


def _deal(number: int, sale: dict[str, str]) -> dict[str, Any]:
    size, price = float(sale["sqft"]), float(sale["price"])
    kind = sale["type"].replace("_", "-")
    city = sale["city"].replace("_", " ").title()
    return {
        "id": f"S{number:03}",
        "name": f"{sale['beds']} beds, {size:,.0f} sqft, {city} {sale['zip'].removeprefix('z')}",
        "price": price,
        "yield": assumed_yield(kind, size, price),
        "risk": assumed_risk(kind, size, price),
        "sector": kind,
        "city": city,
    }


def _between(value: float) -> float:
    return max(-1.0, min(1.0, value))


def main() -> None:
    """Write both files beside this one."""
    rows = deals()
    with (HERE / "sacramento.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    limits = json.dumps(LIMITS, indent=2).removesuffix("\n}").replace("\n", "\n  ")
    text = f'{{"problem": {limits},\n    "deals": [\n{lines}\n]}}}}\n'
    (HERE / "sacramento.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
