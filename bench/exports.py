"""How long a report of 100,000 sites takes in each format, and how large the file is.

The sites are those of a first look at a large system: one leak, and the rest held in 37 modules, with stacks of eight
frames. The formats are made in one process, one after the other. The goal is held against wall time, which is what a
user waits; the processor's time stands beside it, so that a loaded machine is told from a slow format.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from table import Row, write_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from unit.reports import samples

from heaptrail.compare import compare
from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY
from heaptrail.reports.difference_page import difference_html
from heaptrail.reports.jsonfile import load_report

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL_S = 10

Made = TypeVar("Made")


def timed(case: str, what: str, make: Callable[[], Made]) -> tuple[Made, list[Row]]:
    """What `make` returns, and a row for its wall time, which has the goal, and one for its processor time."""
    wall_s, processor_s = time.perf_counter(), time.process_time()
    made = make()
    wall_s, processor_s = time.perf_counter() - wall_s, time.process_time() - processor_s
    return made, [
        Row(case, f"{what}: wall time", round(wall_s, 2), "s", GOAL_S),
        Row(case, f"{what}: processor time", round(processor_s, 2), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=100_000)
    sites = parser.parse_args().sites
    report = samples.huge(sites)
    case = f"report of {sites:,} sites"
    rows = []
    for name in REGISTRY:
        renderer = resolve(REGISTRY, name, kind="report format")()
        content, times = timed(case, name, functools.partial(renderer.render, report))
        rows += times
        rows.append(Row(case, f"{name}: size", round(len(content) / 1e6, 2), "MB"))
        if name == "json":
            _, times = timed(case, "json read again", functools.partial(load_report, content))
            rows += times
    comparison, times = timed(case, "diff with itself", lambda: compare(report, report))
    rows += times
    _, times = timed(case, "diff as a page", lambda: difference_html(comparison))
    rows += times
    write_table("exports", rows)


if __name__ == "__main__":
    main()
