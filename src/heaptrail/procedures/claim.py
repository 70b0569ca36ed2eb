"""What a soak shall prove, and the looks at which it finds out whether it has.

Looks lie on a geometric grid of cycles, since a run that is looked at all the time finds what it looks for by chance
(`heaptrail.analysis.bounds` spends the error probability over the same grid). Reading and judging cost the more the
longer the run; on this grid all looks together cost about five times the last one.
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import TYPE_CHECKING, Literal

import msgspec

from heaptrail.analysis.bounds import cycles_needed, seen_rate, spent_alpha, unseen_loss
from heaptrail.analysis.verdict import judge
from heaptrail.diagnose.capacities import Declarations
from heaptrail.errors import UsageError
from heaptrail.model.verdict import JudgeSettings, Verdict
from heaptrail.reading import ReadOptions, read_logs
from heaptrail.symbols import NoSymbols
from heaptrail.units import format_rate, format_share, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from heaptrail.model.evidence import Evidence
    from heaptrail.model.report import Report
    from heaptrail.symbols import Symbolizer

State = Literal["proven", "refuted", "open"]

FIRST_LOOK_CYCLES = 24
LOOK_RATIO = 1.25
BUILT_IN_CYCLES = 3000
"""The tolerance where the user names none: the idle heap outlives so many cycles, as in `JudgeSettings`."""
_WILD = 10
"""An estimate of more than so many times the least number of cycles is too uncertain to be told."""
_HOUR_S = 3600.0
_CLAIM = re.compile(
    r"(?i)\s*(?:(?:rate|loss)\s*)?<?\s*(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>k?b|bytes?|kib)?\s*"
    r"(?:/|per\s)\s*(?P<per>cycle|round|hour|h|day|d)s?\s*"
)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The loss that shall be shown to be undercut.

    Args:
        bytes_per_unit: The limit; None stands for the built-in tolerance.
        unit: What the limit counts by.
        settings: Confidence, the largest single loss and the warm-up; its own tolerance is the claim's, per cycle,
            where that is known without a run.
    """

    bytes_per_unit: float | None = None
    unit: Literal["cycle", "hour"] = "cycle"
    settings: JudgeSettings = JudgeSettings()

    def tolerance(self, cycle_s: float | None, free_bytes: float | None) -> float | None:
        """Bytes per cycle; None while that takes the length of a cycle or a reading of the heap that is not known."""
        if self.bytes_per_unit is None:
            return None if free_bytes is None else free_bytes / BUILT_IN_CYCLES
        if self.unit == "cycle":
            return self.bytes_per_unit
        return None if cycle_s is None else self.bytes_per_unit * cycle_s / _HOUR_S

    def in_force(self, cycle_s: float | None) -> JudgeSettings:
        """The terms for the verdict on a run with cycles of this length."""
        known = None if self.bytes_per_unit is None else self.tolerance(cycle_s, None)
        return msgspec.structs.replace(self.settings, tolerate_bytes_per_cycle=known)

    def cycles_needed(self, tolerance: float, seen: float = 0.0, cycles: float = 0.0) -> int | None:
        """After about how many cycles, warm-up not counted, the claim is proven; None when the run rules that out."""
        settings, so_far = self.settings, max(cycles, 1.0)
        loss, confidence = settings.largest_single_loss_bytes, settings.confidence
        needed = cycles_needed(tolerance, loss, confidence, seen, so_far)
        if needed is None:
            return None
        look = next_look(needed - 1)
        # A later look has less error probability to spend, so the one after the first that would do may not do.
        while seen * sqrt(so_far / look) + unseen_loss(look, loss, spent_alpha(look, confidence) / 2) >= tolerance:
            look = next_look(look)
        return look

    @property
    def text(self) -> str:
        """`10 B per cycle`."""
        if self.bytes_per_unit is None:
            return "what a heap can lose that shall outlive 3,000 cycles"
        return f"{_limit(self.bytes_per_unit)} B per {self.unit}"


def _limit(value: float) -> str:
    """A limit as the user gave it: 0.5 must not become 1."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def parse_claim(text: str | None, settings: JudgeSettings) -> Claim:
    """From `rate < 10 B/cycle`, `2 KB/hour`, or None for the workload file's tolerance.

    Raises:
        UsageError: It cannot be understood, or the limit is 0, which no run can prove.
    """
    if text is None:
        return Claim(bytes_per_unit=settings.tolerate_bytes_per_cycle, settings=settings)
    match = _CLAIM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--until {text!r} is no claim", try_this='--until "rate < 10 B/cycle", or a limit per hour or per day'
        )
    value = float(match["value"]) * (1024 if (match["unit"] or "").lower().startswith("k") else 1)
    if value <= 0:
        raise UsageError(f"--until {text!r}: no finite run proves a loss of nothing", try_this="a small limit above 0")
    per = match["per"].lower()
    if per in ("cycle", "round"):
        settings = msgspec.structs.replace(settings, tolerate_bytes_per_cycle=value)
        return Claim(bytes_per_unit=value, settings=settings)
    hours = 24.0 if per.startswith("d") else 1.0
    settings = msgspec.structs.replace(settings, tolerate_bytes_per_cycle=None)
    return Claim(bytes_per_unit=value / hours, unit="hour", settings=settings)


def next_look(cycles: float) -> int:
    """The first look after so many cycles, warm-up not counted."""
    at = float(FIRST_LOOK_CYCLES)
    while at <= cycles:
        at *= LOOK_RATIO
    return -int(-at // 1)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at one look.

    Args:
        state: Whether the claim is proven, refuted, or open still.
        verdict: On the run so far.
        settled_cycles: Cycles after the warm-up, over all boots.
        boot_cycles: Cycles of the boot that is running.
        cycles: All cycles.
        boots: Number of boots.
        tolerance: Bytes per cycle that are claimed to be undercut, None where not known yet.
        cycle_s: Usual length of a cycle, None where unknown.
        needed_cycles: Settled cycles after which the claim would be proven, None where no length would do.
        least_cycles: The same where nothing at all is lost.
        armed: The tracer was on when the capture ended.
        running: The workload had been started and not stopped.
        recorded_s: Time of the last marker or reading.
    """

    state: State
    verdict: Verdict
    settled_cycles: int
    boot_cycles: int
    cycles: int
    boots: int
    tolerance: float | None
    cycle_s: float | None
    needed_cycles: int | None
    least_cycles: int | None
    armed: bool
    running: bool
    recorded_s: float

    @property
    def sentence(self) -> str:
        """For the log of the soak: what is known, and how far there is to go."""
        verdict, text = self.verdict, f"after {plural(self.settled_cycles, 'cycle')}: "
        bound, rate = verdict.upper_bound, verdict.rate_bytes_per_cycle
        if verdict.verdict == "leak" and rate is not None and rate.estimate is not None:
            text += f"leak, {format_rate(rate.estimate)} B per cycle"
            if rate.low is not None and rate.high is not None:
                text += f" ({format_rate(rate.low)} to {format_rate(rate.high)})"
        else:
            known = f"the loss is below {format_rate(bound.value)} B per {bound.unit}" if bound else "no bound yet"
            text += f"{verdict.verdict.replace('_', ' ')}, {known}"
        if self.state != "open":
            return f"{text}; the claim is {self.state}"
        if verdict.verdict == "leak" and self.tolerance is not None:
            return f"{text}, not yet shown to be above or below {_limit(self.tolerance)}"
        if self.needed_cycles is None and bound is None and verdict.reasons:
            return f"{text}; {verdict.reasons[0]}"
        if self.needed_cycles is None:
            return f"{text}; as it stands, more cycles alone would not prove the claim"
        if self.least_cycles is not None and self.needed_cycles > _WILD * self.least_cycles:
            return f"{text}; the readings scatter too much yet to say how many more cycles would prove the claim"
        more = max(self.needed_cycles - self.settled_cycles, 1)
        return f"{text}; about {plural(more, 'more cycle')} would prove the claim"


def take_look(paths: Sequence[Path], claim: Claim, symbolizer: Symbolizer | None = None) -> Look:
    """Read and judge what is recorded so far; names are only needed for sites that are declared bounded by theirs.

    Raises `HeaptrailError` when it cannot be read.
    """
    evidence = read_logs(paths, ReadOptions())
    by_boot = _cycles_by_boot(evidence)
    warmup = claim.settings.warmup_cycles
    settled = sum(max(0, cycles - warmup) for cycles in by_boot.values())
    cycle_s = _cycle_s(evidence)
    free = next((s.free_bytes for s in reversed(evidence.samples) if s.free_bytes is not None), None)
    tolerance = claim.tolerance(cycle_s, free)
    declared = Declarations(claim.settings.capacity, symbolizer or NoSymbols()).of(evidence)
    verdict = judge(evidence, claim.in_force(cycle_s), declared)
    bound, needed = verdict.upper_bound, None
    if tolerance and bound is not None and settled:
        needed = claim.cycles_needed(tolerance, seen_rate(bound, settled), settled)
    elif tolerance and settled < FIRST_LOOK_CYCLES:
        needed = claim.cycles_needed(tolerance)
    labels = [mark.label for mark in evidence.marks if mark.what == "step" and mark.boot == evidence.boots]
    times = [moment.t_s for moment in (*evidence.marks[-1:], *evidence.samples[-1:]) if moment.t_s is not None]
    return Look(
        state=_state(verdict, claim, tolerance),
        verdict=verdict,
        settled_cycles=settled,
        boot_cycles=by_boot.get(evidence.boots, 0),
        cycles=sum(by_boot.values()),
        boots=evidence.boots,
        tolerance=tolerance,
        cycle_s=cycle_s,
        needed_cycles=needed,
        least_cycles=claim.cycles_needed(tolerance) if tolerance else None,
        armed=_last_of(labels, "tracer on", "tracer off"),
        running=_last_of(labels, "workload start", "workload stop"),
        recorded_s=max(times, default=0.0),
    )


def _state(verdict: Verdict, claim: Claim, tolerance: float | None) -> State:
    if verdict.verdict == "no_leak":
        return "proven"
    if verdict.verdict == "inconclusive":
        return "open"
    rate = verdict.rate_bytes_per_cycle
    if claim.bytes_per_unit is None or rate is None or rate.low is None or tolerance is None:
        return "refuted"
    return "refuted" if rate.low >= tolerance else "open"  # it leaks, but maybe less than the user allows


def _cycles_by_boot(evidence: Evidence) -> dict[int, int]:
    counts: dict[int, int] = {}
    for mark in evidence.marks:
        if mark.what == "cycle":
            counts[mark.boot] = counts.get(mark.boot, 0) + 1
    return counts


def _cycle_s(evidence: Evidence) -> float | None:
    ends = [(mark.boot, mark.t_s) for mark in evidence.marks if mark.what == "cycle" and mark.t_s is not None]
    if len(ends) < 2:
        return None
    lengths = [late - early for (boot, early), (same, late) in pairwise(ends) if boot == same]
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    # Rounds that are read together end at the same moment, so the median may be 0; a gap makes the mean too long.
    return (median(lengths) if lengths and median(lengths) > mean / 2 else mean) or None


def _last_of(labels: Sequence[str], on: str, off: str) -> bool:
    return next((label == on for label in reversed(labels) if label in (on, off)), False)


def claim_sentence(report: Report, claim: Claim, *, tolerance: float | None) -> tuple[State, str]:
    """How the soak ended, from its final report: the sentence that may be quoted, with all that it assumes.

    Args:
        report: On the whole run.
        claim: What was to be proven.
        tolerance: The claim in bytes per cycle, where it is known.
    """
    bound, rate = report.upper_bound, report.rate_bytes_per_cycle
    cycles = _settled_cycles(report, claim.settings.warmup_cycles)
    if report.verdict == "no_leak" and bound is not None:
        shown = f"{format_rate(bound.value)} bytes per {bound.unit}"
        if claim.bytes_per_unit is not None:
            shown = f"{_limit(claim.bytes_per_unit)} bytes per {claim.unit}"
        scope = " in what the tracer sees" if any("in what the tracer sees" in line for line in report.reasons) else ""
        return "proven", (
            f"Proven: the loss{scope} is below {shown} with {format_share(bound.confidence)} confidence, for leaks "
            f"whose single loss is at most {bound.largest_single_loss_bytes:,} bytes, over "
            f"{plural(cycles, 'cycle')} of this workload."
        )
    if report.verdict == "leak":
        lost = "memory is lost"
        if rate is not None and rate.estimate is not None and rate.low is not None and rate.high is not None:
            lost = (
                f"{format_rate(rate.estimate)} bytes are lost per cycle "
                f"({format_rate(rate.low)} to {format_rate(rate.high)})"
            )
        below = rate is not None and rate.low is not None and tolerance is not None and rate.low < tolerance
        if claim.bytes_per_unit is not None and below:
            return "open", f"A leak, but not shown to be above {claim.text}: {lost}, over {plural(cycles, 'cycle')}."
        return "refuted", f"Refuted: {lost}, over {plural(cycles, 'cycle')} of this workload."
    may = "" if bound is None else f"; the loss may be up to {format_rate(bound.value)} B per {bound.unit}"
    return "open", f"Neither proven nor refuted over {plural(cycles, 'cycle')} of this workload{may}."


def _settled_cycles(report: Report, warmup: int) -> int:
    """Cycles after the warm-up over all boots, as far as heap readings reach; from all cycles where there are none."""
    last: dict[int, int] = {}
    for series in report.series:
        for point in series.points:
            if point.cycle is not None:
                last[point.boot] = max(last.get(point.boot, 0), point.cycle)
    if not last:
        return max(0, (report.cycles or 0) - warmup)
    return sum(max(0, cycles - warmup) for cycles in last.values())
