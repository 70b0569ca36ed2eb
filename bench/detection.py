"""Error rates of the verdict against the trend tests in use, on soak runs whose truth is known.

    python bench/detection.py            30 seeds of every regime, about ten minutes on two cores
    python bench/detection.py --seeds 4  a quick look

Regimes and generator: tests/stats/soak_runs.py. Seeds from 0 are for reporting; thresholds were set on seeds from 1000.
Rows that begin with "fresh:" are of the regimes in tests/stats/fresh_runs.py, written after the thresholds were set.
The last rows are what a verdict costs.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "bench"))

from stats.fresh_runs import FRESH_INNOCENT, FRESH_LEAKING  # noqa: E402 - after the paths
from stats.scores import PEERS, score_judge, score_peer  # noqa: E402 - after the paths
from stats.sizes import big_run, seconds  # noqa: E402 - after the paths
from stats.soak_runs import INNOCENT, LEAKING, UNDECIDABLE  # noqa: E402 - after the paths
from table import Row, write_table  # noqa: E402 - after the paths

if TYPE_CHECKING:
    from stats.scores import Score

GOALS = {
    "false leak, end": 1.0,
    "false leak, any look": 5.0,
    "power": 93.0,
    "site precision": 97.0,
    "site recall": 95.0,
    "rate interval covers": 95.0,
    "bound broken": 1.0,
    "exhaustion covers": 95.0,
}
ALONE = {"false leak, end": 2.0, "power": 88.0}
CYCLES = {"median delay"}
CASES: dict[str, dict[str, object]] = {
    "blocks, births to the cycle": {},
    "blocks, births by sequence": {"births": "sequence"},
    "blocks, first seen in dump j": {"births": "first_seen"},
    "blocks, no declared warm-up": {"warmup": 0},
    "blocks, warm-up of 120 declared": {"warmup": 120},
    "curve alone": {"blocks": False},
    "counters of call stacks": {"blocks": False, "counters": True},
}


FRESH = "fresh: "
FRESH_CASES = (
    "blocks, births to the cycle",
    "blocks, first seen in dump j",
    "counters of call stacks",
    "curve alone",
    *PEERS,
)


def one(case: str, regime: str, seeds: int) -> Score:
    """One case on one regime."""
    case = case.removeprefix(FRESH)
    if case in PEERS:
        return score_peer(case, range(seeds), regimes=[regime])
    return score_judge(range(seeds), regimes=[regime], **CASES[case])  # type: ignore[arg-type]


def rows_of(case: str, score: Score) -> list[Row]:
    name, case = case, case.removeprefix(FRESH)
    goals = {} if case in PEERS or "warm-up" in case else ALONE if case == "curve alone" else GOALS
    figures = score.table()
    if case in PEERS:
        figures = {key: figures[key] for key in ("false leak, end", "false leak, any look", "power")}
    elif case == "curve alone":
        figures = {key: value for key, value in figures.items() if not key.startswith("site")}
    rows = [
        Row(name, metric, value, "cycles" if metric in CYCLES else "%", goals.get(metric))
        for metric, value in figures.items()
    ]
    if name == "blocks, births to the cycle":
        found = score.by_regime["error_path"]
        rows.append(Row(case, "power on rare clustered error paths", 100 * found[1] / max(found[0], 1), "%", 33.0))
    return rows


def costs() -> list[Row]:
    """What one verdict costs: a night of 200 sites, and curves of ever more readings."""
    rows = [Row("240 cycles x 20 readings, 200 sites", "judge", seconds(big_run(240, 20, 200, 24)), "s", 0.5)]
    for cycles in (1_000, 10_000, 100_000):
        spent = seconds(big_run(cycles, 10, 1, 2))
        case = f"{10 * cycles:,} readings"
        rows += [Row(case, "judge", spent, "s"), Row(case, "judge per reading", 1e6 * spent / (10 * cycles), "us")]
    return rows


def by_regime(scores: dict[str, Score], kind: dict[str, object]) -> str:
    """A Markdown table: leak verdict at the end / at any look, in percent."""
    lines = ["| regime | " + " | ".join(scores) + " |", "|---|" + "---|" * len(scores)]
    for regime in kind:
        cells = []
        for score in scores.values():
            runs, end, ever = score.by_regime[regime]
            cells.append(f"{100 * end / max(runs, 1):.0f} / {100 * ever / max(runs, 1):.0f}")
        lines.append(f"| {regime.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--regimes", action="store_true", help="also print the verdicts by regime, as Markdown")
    options = parser.parse_args()
    started = time.perf_counter()
    regimes = [*INNOCENT, *LEAKING, *UNDECIDABLE]
    work = [(case, regime) for case in (*CASES, *PEERS) for regime in regimes]
    work += [(FRESH + case, regime) for case in FRESH_CASES for regime in (*FRESH_INNOCENT, *FRESH_LEAKING)]
    scores: dict[str, Score] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        results = pool.map(one, *zip(*work, strict=True), [options.seeds] * len(work))
        for (case, regime), score in zip(work, results, strict=True):
            total = scores.setdefault(case, type(score)())
            total.join(score, counted=regime not in UNDECIDABLE)
    rows = [row for case, score in scores.items() for row in rows_of(case, score)] + costs()
    path = write_table("detection", rows)
    print(f"\n{options.seeds} seeds of {len(INNOCENT)} leak-free and {len(LEAKING)} leaking regimes, "
          f"{time.perf_counter() - started:.0f} s; {path.relative_to(ROOT)}")  # fmt: skip
    if options.regimes:
        known = {case: score for case, score in scores.items() if not case.startswith(FRESH)}
        fresh = {case: score for case, score in scores.items() if case.startswith(FRESH)}
        for kind in (INNOCENT, LEAKING, UNDECIDABLE):
            print("\n" + by_regime(known, kind))  # type: ignore[arg-type]
        for kind in (FRESH_INNOCENT, FRESH_LEAKING):
            print("\n" + by_regime(fresh, kind))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
