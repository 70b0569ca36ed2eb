"""One heap's readings judged by themselves: warm-up taken off, trend, bound and what the run was long enough for."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from msgspec.structs import replace

from heaptrail.analysis.bounds import spent_alpha, unseen_loss
from heaptrail.analysis.fitting import Piece
from heaptrail.analysis.largest import LargestBlock, largest_block
from heaptrail.analysis.ratchet import lasting_losses
from heaptrail.analysis.trend import Trend, fit_trend

if TYPE_CHECKING:
    from heaptrail.analysis.ratchet import Lasting
    from heaptrail.analysis.series import Curve, HeapSeries
    from heaptrail.model.evidence import Evidence
    from heaptrail.model.verdict import JudgeSettings

MIN_POINTS_ALONE = 24  # of a series that has no listing beside it; fewer cannot tell a cache from a leak
BUILT_IN_CYCLES = 3000.0
BUILT_IN_HOURS = 30 * 24.0


@dataclass(frozen=True, slots=True)
class HeapView:
    """What one heap's readings say.

    Args:
        series: The readings.
        trend: The fall after the warm-up, None with too few points.
        after: Units of x after the warm-up, over all boots.
        alpha: The error probability of this look.
        looks: What looks are counted by: cycles, or points where time takes their place.
        tolerance: Bytes per unit that are tolerated.
        allowed: The run went on past the declared warm-up for at least as long again.
        bound: The greatest loss per unit that the readings leave possible, None where neither cycles nor times tell.
        largest: What the largest free block does, None where it is not printed.
    """

    series: HeapSeries
    trend: Trend | None
    after: float
    alpha: float
    looks: float
    tolerance: float
    allowed: bool
    bound: float | None
    largest: LargestBlock | None

    @property
    def fragmenting(self) -> bool:
        """The largest free block shrinks while the free total does not fall."""
        return self.largest is not None and self.largest.shrinks_alone and not (self.trend and self.trend.falling)

    @property
    def falls_alone(self) -> bool:
        """The readings by themselves prove a fall that goes on."""
        return (
            self.trend is not None
            and self.trend.falling
            and self.allowed
            and self.trend.points >= MIN_POINTS_ALONE
            and self.series.unit != "reading"
            # More in use within a cycle also lowers its highest reading a little; a loss must exceed that.
            and self.trend.estimate * self.trend.span > self.series.swing
        )


def view_heap(series: HeapSeries, settings: JudgeSettings) -> HeapView:
    """Judge the readings of one heap."""
    pieces = [piece for curve in series.curves if (piece := _after_warmup(curve, series, settings)) is not None]
    after = float(sum(piece.x[-1] - piece.x[0] for piece in pieces))
    look = after if series.unit == "cycle" else float(sum(len(piece.x) for piece in pieces))
    alpha = spent_alpha(look, settings.confidence)
    whole: list[Piece] = []
    if series.unit == "cycle":
        early = replace(settings, warmup_cycles=0)
        whole = [piece for curve in series.curves if (piece := _after_warmup(curve, series, early)) is not None]
    settled = float(settings.warmup_cycles) if series.unit == "cycle" else 0.0
    trend = _with_lasting(
        fit_trend(pieces, alpha, whole, settled), lasting_losses(pieces, whole, settled, series.swing, alpha)
    )
    bound = None
    if trend is not None and series.unit != "reading":
        bound = max(trend.recent_high, 0.0) + unseen_loss(after, settings.largest_single_loss_bytes, alpha / 2)
    return HeapView(
        series=series,
        trend=trend,
        after=after,
        alpha=alpha,
        looks=look,
        tolerance=_tolerance(series, settings),
        allowed=cycles_after_bound(series, settings) + 1 >= settings.warmup_cycles,  # cycles count from 0
        bound=bound,
        largest=largest_block(series.curves, pieces, alpha),
    )


def _tolerance(series: HeapSeries, settings: JudgeSettings) -> float:
    """Bytes per unit: the user's, else what lets the heap outlive the built-in number of cycles or hours."""
    in_hours = series.unit == "hour"
    given = settings.tolerate_bytes_per_hour if in_hours else settings.tolerate_bytes_per_cycle
    return (
        given if given is not None else max(series.idle_free, 0.0) / (BUILT_IN_HOURS if in_hours else BUILT_IN_CYCLES)
    )


def _with_lasting(trend: Trend | None, lasting: Lasting | None) -> Trend | None:
    """The trend, corrected by what never came back: it may prove a loss that wanders, or excuse one that fades."""
    if trend is None or lasting is None:
        return trend
    if trend.falling:
        fades = lasting.fades and not trend.recent and not trend.speeding
        return changed(trend, falling=False, slowing=True) if fades else trend
    if not lasting.goes_on:
        return trend
    high = max(lasting.high, trend.high)
    return changed(
        trend,
        low=lasting.low,
        estimate=lasting.estimate,
        high=high,
        recent_high=max(high, trend.recent_high),
        falling=True,
        slowing=False,
        steps=lasting.steps,
    )


def cycles_after_bound(series: HeapSeries, settings: JudgeSettings) -> float:
    """Cycles past the declared warm-up, over all boots; without cycles it cannot be applied and never forbids."""
    if series.unit != "cycle":
        return float("inf")
    return sum(max(float(curve.x[-1]) - settings.warmup_cycles, 0.0) for curve in series.curves)


def _after_warmup(curve: Curve, series: HeapSeries, settings: JudgeSettings) -> Piece | None:
    """Leave out the declared warm-up of the boot, and always its first few readings."""
    x = curve.x
    first, span = float(x[0]), float(x[-1] - x[0])
    begin = first + max(0.08 * span, min(6.0, 0.1 * span))
    if series.unit == "cycle":
        begin = max(begin, float(settings.warmup_cycles))
    keep = x >= begin
    if int(keep.sum()) < 2:
        return None
    step = 1.0 if series.unit == "cycle" else max(span / max(len(x) - 1, 1), 1e-12)
    start = 0.0 if series.unit == "cycle" else first
    return Piece(curve.boot, x[keep], curve.free[keep], (x[keep] - start) / step)


def ran_out(evidence: Evidence, settings: JudgeSettings) -> bool:
    """Allocations failed after the warm-up, so that what leaks may have had nothing left to take."""
    failed = (problem.cycle for problem in evidence.problems if problem.what == "alloc_failed")
    return any(cycle is None or cycle >= settings.warmup_cycles for cycle in failed)
