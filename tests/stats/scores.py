"""Score `judge`, and the tests that people use instead, on runs whose truth is known."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from stats.fresh_runs import FRESH_INNOCENT, FRESH_LEAKING
from stats.soak_runs import (
    CYCLES,
    INNOCENT,
    LEAK_SITES,
    LEAKING,
    LOOKS,
    STACKS,
    Births,
    Observed,
    Run,
    make_run,
    observe,
)

from heaptrail.analysis.verdict import judge
from heaptrail.model.verdict import Interval, JudgeSettings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from heaptrail.model.evidence import Evidence

SITE_OF = {frames: site for site, frames in STACKS.items()}


def _three_counts() -> list[int]:
    """Runs, leak verdicts at the end, leak verdicts at any look."""
    return [0, 0, 0]


def _no_misses() -> list[str]:
    return []


@dataclass
class Score:
    """Counts over the runs of one detector; shares are of the kind of run that the name says."""

    innocent: int = 0
    false_end: int = 0
    false_any: int = 0
    cleared: int = 0
    leaking: int = 0
    found: int = 0
    named: int = 0
    named_right: int = 0
    real_sites: int = 0
    real_sites_named: int = 0
    intervals: int = 0
    covered: int = 0
    broken: int = 0
    false_clear: int = 0
    outlooks: int = 0
    outlooks_right: int = 0
    widths: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    by_regime: dict[str, list[int]] = field(default_factory=lambda: defaultdict(_three_counts))
    missed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(_no_misses))

    def join(self, other: Score, *, counted: bool = True) -> None:
        """Add another score's runs; those not `counted` only to the table by regime."""
        for name, row in other.by_regime.items():
            mine = self.by_regime[name]
            mine[:] = [a + b for a, b in zip(mine, row, strict=True)]
        if not counted:
            return
        for name, value in vars(other).items():
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)
        self.widths += other.widths
        self.delays += other.delays
        for name, misses in other.missed.items():
            self.missed[name] += misses

    def rate(self, part: int, whole: int) -> float:
        """A share in percent; of nothing it is 0."""
        return 100.0 * part / whole if whole else 0.0

    def table(self) -> dict[str, float]:
        return {
            "false leak, end": self.rate(self.false_end, self.innocent),
            "false leak, any look": self.rate(self.false_any, self.innocent),
            "power": self.rate(self.found, self.leaking),
            "site precision": self.rate(self.named_right, self.named),
            "site recall": self.rate(self.real_sites_named, self.real_sites),
            "rate interval covers": self.rate(self.covered, self.intervals),
            "rate interval width": float(np.median(self.widths)) if self.widths else 0.0,
            "bound broken": self.rate(self.broken, self.leaking),
            "exhaustion covers": self.rate(self.outlooks_right, self.outlooks),
            "cleared": self.rate(self.cleared, self.innocent),
            "false clear": self.rate(self.false_clear, self.leaking),
            "median delay": float(np.median(self.delays)) if self.delays else 0.0,
        }


def _inside(interval: Interval | None, value: float) -> bool:
    if interval is None:
        return False
    low = interval.low if interval.low is not None else 0.0
    high = interval.high if interval.high is not None else np.inf
    return low <= value <= high


def _note_run(score: Score, name: str, run: Run, verdicts: Sequence[tuple[int, Verdict]]) -> None:
    end = verdicts[-1][1]
    alarms = [look for look, verdict in verdicts if verdict.verdict == "leak"]
    row = score.by_regime[name]
    row[0] += 1
    row[1] += end.verdict == "leak"
    row[2] += bool(alarms)
    if run.rate is None:
        score.innocent += 1
        score.false_end += end.verdict == "leak"
        score.false_any += bool(alarms)
        score.cleared += end.verdict == "no_leak"
        return
    score.leaking += 1
    score.found += end.verdict == "leak"
    broken = any(
        verdict.upper_bound is not None and verdict.upper_bound.bytes_per_cycle < run.rate_at(look)
        for look, verdict in verdicts
    )
    score.broken += broken
    score.false_clear += any(
        verdict.verdict == "no_leak"
        and verdict.upper_bound is not None
        and verdict.upper_bound.bytes_per_cycle < run.rate_at(look)
        for look, verdict in verdicts
    )
    if broken:
        score.missed[name].append("bound")
    if end.verdict == "leak":
        score.delays.append(alarms[0] - run.onset)
        _note_leak(score, name, run, end)


def _note_leak(score: Score, name: str, run: Run, end: Verdict) -> None:
    rate = run.rate or 0.0
    named = {SITE_OF[site.frames] for site in end.sites if site.site_class in {"leak", "held_until_teardown"}}
    real = {int(sites[0]) for sites in run.site if len(sites) and sites[0] >= LEAK_SITES}
    if end.sites:
        score.named += len(named)
        score.named_right += len(named & real)
        score.real_sites += len(real)
        score.real_sites_named += len(named & real)
        if named - real:
            score.missed[name].append("precision")
        if real - named:
            score.missed[name].append("recall")
    interval = end.rate_bytes_per_cycle
    score.intervals += 1
    inside = _inside(interval, rate)
    score.covered += inside
    if not inside:
        score.missed[name].append("cover")
    if interval is not None and interval.low is not None and interval.high is not None:
        score.widths.append(100 * (interval.high - interval.low) / rate)
    if end.exhaustion_cycles is not None:
        score.outlooks += 1
        # The program's own estimate times its own rate gives back the free memory that it started from.
        free = (end.exhaustion_cycles.estimate or 0.0) * (interval.estimate if interval and interval.estimate else 0.0)
        right = _inside(end.exhaustion_cycles, run.cycles_left(free))
        score.outlooks_right += right
        if not right:
            score.missed[name].append("outlook")


def score_judge(
    seeds: Iterable[int],
    *,
    regimes: Sequence[str] | None = None,
    births: Births = "exact",
    blocks: bool = True,
    counters: bool = False,
    samples: bool = True,
    warmup: int = 50,
    looks: Sequence[int] = LOOKS,
    dump_every: float = 10.0,
) -> Score:
    """Run `judge` at every look of every run."""
    score = Score()
    settings = JudgeSettings(warmup_cycles=warmup)
    for name in regimes or [*INNOCENT, *LEAKING]:
        for seed in seeds:
            run = make_run(name, seed, {**FRESH_INNOCENT, **FRESH_LEAKING})
            seen = observe(run, births=births, dump_every=dump_every)
            verdicts = [
                (look, judge(seen.until(look, blocks=blocks, counters=counters, samples=samples), settings))
                for look in looks
            ]
            _note_run(score, name, run, verdicts)
    return score


# --- What people use instead -----------------------------------------------------------------------------------------


def ols(evidence: Evidence) -> bool:
    """Ordinary least squares on all readings: a negative slope with p < 0.05."""
    x, y = _readings(evidence)
    result = stats.linregress(x, y)
    return bool(result.slope < 0 and result.pvalue < 0.05)


def mann_kendall(evidence: Evidence) -> bool:
    """Mann-Kendall on all readings: Kendall's tau against time, falling with p < 0.05."""
    x, y = _readings(evidence)
    result = stats.kendalltau(x, y)
    return bool(result.statistic < 0 and result.pvalue < 0.05)


def sen(evidence: Evidence) -> bool:
    """Sen's slope of the cycles' medians with its 95 % interval below zero."""
    cycles: dict[tuple[int, int], list[int]] = defaultdict(list)
    for sample in evidence.samples:
        cycles[sample.boot, sample.cycle or 0].append(sample.free_bytes or 0)
    y = np.array([np.median(values) for values in cycles.values()])
    if len(y) < 3:
        return False
    _, _, _, high = stats.theilslopes(y, np.arange(len(y)), 0.95)
    return bool(high < 0)


def _readings(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([sample.t_s for sample in evidence.samples]),
        np.array([sample.free_bytes for sample in evidence.samples], dtype=float),
    )


PEERS: dict[str, Callable[[Evidence], bool]] = {"OLS": ols, "Mann-Kendall": mann_kendall, "Sen": sen}


def score_peer(
    name: str, seeds: Iterable[int], *, regimes: Sequence[str] | None = None, looks: Sequence[int] = LOOKS
) -> Score:
    """The same runs and looks for a test that knows only the curve."""
    score = Score()
    for regime in regimes or [*INNOCENT, *LEAKING]:
        for seed in seeds:
            run = make_run(regime, seed, {**FRESH_INNOCENT, **FRESH_LEAKING})
            seen: Observed = observe(run)
            alarms = [PEERS[name](seen.until(look, blocks=False)) for look in looks]
            row = score.by_regime[regime]
            row[0] += 1
            row[1] += alarms[-1]
            row[2] += any(alarms)
            if run.rate is None:
                score.innocent += 1
                score.false_end += alarms[-1]
                score.false_any += any(alarms)
            else:
                score.leaking += 1
                score.found += alarms[-1]
    return score


__all__ = ["CYCLES", "PEERS", "Score", "score_judge", "score_peer"]
