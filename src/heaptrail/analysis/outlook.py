"""From a proven loss to the clock: per hour, and when the heap is used up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heaptrail.model.verdict import Interval

if TYPE_CHECKING:
    from heaptrail.analysis.blocks import BlockView
    from heaptrail.analysis.heaps import HeapView
    from heaptrail.model.verdict import UpperBound, VerdictWord


@dataclass(frozen=True, slots=True)
class Loss:
    """Bytes of `free` lost per unit (`cycle`, `hour`, or mere order), with limits; `speeding` when it clearly grows."""

    low: float
    estimate: float
    high: float
    unit: str
    speeding: bool = False


def loss_of(view: HeapView, blocks: BlockView | None) -> Loss | None:
    """The rate that a leak verdict reports.

    The sites' rate where they explain the heap's fall, the heap's own where they do not, and the hull of both limits
    where both speak and agree.
    """
    trend = view.trend
    rate = blocks.growing if blocks is not None else None
    unit = view.series.unit
    if rate is None or blocks is None or blocks.found.unit != unit:
        if trend is not None and unit != "reading" and (trend.falling or blocks is None):
            return Loss(max(trend.low, 0.0), trend.estimate, trend.high, unit, trend.speeding)
        return (
            None
            if rate is None or blocks is None
            else Loss(rate.low, rate.estimate, rate.high, blocks.found.unit, rate.speeding)
        )
    if trend is None or not trend.falling:
        return Loss(rate.low, rate.estimate, rate.high, unit, rate.speeding)
    if rate.steady and trend.low <= rate.estimate <= trend.high and trend.high - trend.low < rate.high - rate.low:
        return Loss(
            max(trend.low, 0.0), rate.estimate, trend.high, unit, rate.speeding
        )  # the sharper of two that agree
    if rate.high < trend.low:  # something that no listing shows takes part of the loss
        return Loss(max(trend.low, 0.0), trend.estimate, trend.high, unit, trend.speeding)
    return Loss(rate.low, rate.estimate, rate.high, unit, rate.speeding)


def per_hour(loss: Loss | None, view: HeapView | None) -> Interval | None:
    """The loss per hour, None where the times are unknown."""
    if loss is None:
        return None
    if loss.unit == "hour":
        return Interval(low=loss.low, estimate=loss.estimate, high=loss.high)
    hours = view.series.hours_per_cycle if view is not None else None
    if loss.unit != "cycle" or not hours:
        return None
    return Interval(low=loss.low / hours, estimate=loss.estimate / hours, high=loss.high / hours)


def exhaustion(
    word: VerdictWord,
    loss: Loss | None,
    view: HeapView | None,
    blocks: BlockView | None,
    bound: UpperBound | None,
) -> tuple[Interval | None, Interval | None]:
    """Cycles and hours until the heap is used up; the optimistic end by the lower rate, the other by the stop bound.

    The stop bound takes the worst of the whole run and its recent parts, so that a leak that speeds up is not
    promised the time that its mean rate would leave.
    """
    if word != "leak" or loss is None or view is None or loss.estimate <= 0:
        return None, None
    left = max(view.series.idle_free, 0.0)
    worst = loss.high
    if loss.unit == "cycle":
        worst = max(worst, bound.value if bound is not None else 0.0)
        even = blocks is not None and blocks.growing is not None and blocks.growing.steady
        if blocks is not None and blocks.bound is not None and not even:
            worst = max(worst, blocks.bound)
    soonest = left / worst if worst > 0 else None
    if loss.speeding and soonest is not None:
        # A rate that grew from nothing to `worst` over the run and goes on growing: worst * t + worst / run * t^2 / 2.
        run = max(view.series.last_x, 1e-9)
        soonest = run * (math.sqrt(1 + 2 * left / (worst * run)) - 1)
    span = Interval(
        low=soonest,
        estimate=left / loss.estimate,
        high=left / loss.low if loss.low > 0 else None,
    )
    if loss.unit == "hour":
        return None, span
    hours = view.series.hours_per_cycle
    if not hours:
        return span, None
    scaled = Interval(
        low=None if span.low is None else span.low * hours,
        estimate=None if span.estimate is None else span.estimate * hours,
        high=None if span.high is None else span.high * hours,
    )
    return span, scaled
