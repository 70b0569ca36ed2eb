"""How long a report of 100,000 sites takes in each format, and how large the file is.

The sites are those of a first look at a large system: one leak, and the rest held in 37 modules, with stacks of eight
frames. The formats are made in one process, one after the other. Time is that of the processor, which on a machine with
nothing else to do is what a user waits: making a report waits for nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from table import Row, write_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from unit.reports import samples

from heaptrail.compare import compare
from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY
from heaptrail.reports.difference_page import difference_html

GOAL_S = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=100_000)
    sites = parser.parse_args().sites
    report = samples.huge(sites)
    case = f"report of {sites:,} sites"
    rows = []
    for name in REGISTRY:
        renderer = resolve(REGISTRY, name, kind="report format")()
        started = time.process_time()
        content = renderer.render(report)
        taken = time.process_time() - started
        rows.append(Row(case, f"{name}: time", round(taken, 2), "s", GOAL_S))
        rows.append(Row(case, f"{name}: size", round(len(content) / 1e6, 2), "MB"))
    started = time.process_time()
    comparison = compare(report, report)
    rows.append(Row(case, "diff with itself: time", round(time.process_time() - started, 2), "s", GOAL_S))
    started = time.process_time()
    difference_html(comparison)
    rows.append(Row(case, "diff as a page: time", round(time.process_time() - started, 2), "s", GOAL_S))
    write_table("exports", rows)


if __name__ == "__main__":
    main()
