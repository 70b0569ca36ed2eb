"""The table that a bench prints and the JSON file that it leaves: `out/bench/<name>.json`, as SPEC.md describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

OUT = Path(__file__).resolve().parent.parent / "out" / "bench"


class Row(NamedTuple):
    """One figure. `goal` is what it should reach, None where there is none; `against` names what a ratio divides by."""

    case: str
    metric: str
    value: float
    unit: str
    goal: float | None = None
    against: str | None = None


def write_table(name: str, rows: list[Row]) -> Path:
    """Print `rows` as a table and write them to `out/bench/<name>.json`."""
    cells = [("case", "metric", "value", "unit", "goal", "against")]
    cells += [
        (row.case, row.metric, _number(row.value), row.unit, _number(row.goal), row.against or "") for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    for line in cells:
        texts = (
            cell.rjust(width) if column in (2, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join(texts).rstrip())
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    return path


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
