"""Survivors by birth: a site leaks when blocks keep arriving that never go.

Growth of a total is weak evidence; births that still arrive, spread over the run, older than any block that ever died
at that site, and not slowing down, are strong. Each condition answers one innocent explanation: a one-off set-up, a
staircase of lazy initialisations, churn of sessions, a garbage collector, a cache that fills.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from heaptrail.analysis.bounds import rate_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import FloatArray
    from heaptrail.analysis.sites import Histories, SiteHistory

_EPOCHS = 7
_MIN_EVENTS = 4
_MIN_EVENTS_LATE = 6  # when the first survivor comes late, the window is chosen by the data and must show more
_LATE_SHARE = 3 / 7
_MIN_LATE_SHARE = 0.22
_OLDER_THAN_DEATH = 1.5
_MIN_OLD_SHARE = 0.34
_SLOWING_LOG_LIKELIHOOD = 1.5
_YOUNG = 1 / 8


@dataclass(frozen=True, slots=True)
class Window:
    """The part of each span in which births count, laid end to end.

    Args:
        pieces: `(span index, from, to, offset)`; a birth at x in that span lies at `offset + x - from`.
        width: Sum of the pieces' lengths.
        now: The last listing's place on the same axis (`width` plus the young tail).
    """

    pieces: tuple[tuple[int, float, float, float], ...]
    width: float
    now: float


@dataclass(frozen=True, slots=True)
class Cohort:
    """What the survivors of one site show.

    Args:
        leaks: All conditions hold.
        why_not: The first condition that does not, as a word; empty when it leaks.
        events: Distinct cycles in which survivors were born, in the window.
        survivors: How many blocks those are.
        low, estimate, high: Footprint bytes per unit of the axis over the window.
        blocks_per_unit: Survivors per unit of the axis.
        oldest: Age of the oldest survivor, in units of the axis.
        stop_high: The greatest upper limit of the rate over the window, its last half and its last quarter.
        births: Births in the window, on its axis.
        amounts: Footprint bytes of each event.
        begins: Where the window was moved to for a late onset, else 0.
    """

    leaks: bool
    why_not: str
    events: int
    survivors: int
    low: float
    estimate: float
    high: float
    blocks_per_unit: float
    oldest: float
    stop_high: float
    births: FloatArray
    amounts: FloatArray
    begins: float


def window_of(found: Histories, warmup: float) -> Window:
    """From the end of the warm-up (or the arming) of each span to an eighth of its length before its last listing."""
    pieces: list[tuple[int, float, float, float]] = []
    offset = 0.0
    tail = 0.0
    for index, span in enumerate(found.spans):
        begin = max(span.start, warmup)
        if span.end <= begin:
            continue
        end = span.end - (span.end - begin) * _YOUNG
        pieces.append((index, begin, end, offset))
        offset += end - begin
        tail = span.end - end
    return Window(tuple(pieces), offset, offset + tail)


def cohort_of(site: SiteHistory, window: Window, alpha: float) -> Cohort:
    """Judge one site's survivors within the window."""
    births, sizes, oldest_death = _in_window(site, window)
    places, first = np.unique(np.floor(births), return_index=True)
    amounts = np.add.reduceat(sizes, first) if len(first) else np.empty(0)
    begins, why_not = _conditions(places, births, window, oldest_death)
    kept = places >= math.floor(begins)
    width = window.width - begins
    low, estimate, high = rate_limits(amounts[kept], width, alpha)
    return Cohort(
        leaks=not why_not,
        why_not=why_not,
        events=len(places),
        survivors=len(births),
        low=low,
        estimate=estimate,
        high=high,
        blocks_per_unit=int((births >= begins).sum()) / width if width > 0 else 0.0,
        oldest=window.now - float(births[0]) if len(births) else 0.0,
        stop_high=_stop_high(places, amounts, window.width, alpha),
        births=births,
        amounts=amounts,
        begins=begins,
    )


def _in_window(site: SiteHistory, window: Window) -> tuple[FloatArray, FloatArray, float]:
    births: list[FloatArray] = []
    sizes: list[FloatArray] = []
    oldest_death = 0.0
    for index, begin, end, offset in window.pieces:
        mine = site.spans.get(index)
        if mine is None:
            continue
        keep = (mine.births >= begin) & (mine.births < end)
        births.append(mine.births[keep] - begin + offset)
        sizes.append(mine.sizes[keep])
        oldest_death = max(oldest_death, mine.oldest_death)
    if not births:
        return np.empty(0), np.empty(0), oldest_death
    joined, weights = np.concatenate(births), np.concatenate(sizes)
    order = np.argsort(joined, kind="stable")
    return joined[order], weights[order], oldest_death


def _conditions(places: FloatArray, births: FloatArray, window: Window, oldest_death: float) -> tuple[float, str]:
    """Where the counting begins, and the first condition that fails (empty when none does)."""
    begins = 0.0
    wanted = _MIN_EVENTS
    if len(places) and places[0] > window.width * 2 / _EPOCHS:  # a late onset: count from there
        begins, wanted = float(places[0]), _MIN_EVENTS_LATE
    if len(places) < wanted or window.width <= begins:
        return begins, "few"
    width = window.width - begins
    where = (places - begins) / width
    if _is_over(where):
        return begins, "over"
    if _in_bursts(where):
        return begins, "bursts"
    old = int((window.now - births > _OLDER_THAN_DEATH * oldest_death).sum())
    if oldest_death > 0 and old < _MIN_OLD_SHARE * len(births):
        return begins, "churn"
    if _slowing(where * width, width, begins) > _SLOWING_LOG_LIKELIHOOD:
        return begins, "slowing"
    return begins, ""


def _is_over(where: FloatArray) -> bool:
    """Too few events in the last part of the window (places as shares of it) for arrivals that go on."""
    late = int((where >= 1 - _LATE_SHARE).sum())
    return late / len(where) < _MIN_LATE_SHARE or float(stats.binom.cdf(late, len(where), _LATE_SHARE)) < 0.01


def _in_bursts(where: FloatArray) -> bool:
    """The events lie in fewer parts of the window than even arrivals would."""
    occupied = len(np.unique(np.minimum(np.floor(where * _EPOCHS), _EPOCHS - 1)))
    expected = _EPOCHS * (1 - (1 - 1 / _EPOCHS) ** len(where))
    return occupied < 4 or occupied < expected - 2


def _slowing(places: FloatArray, width: float, begins: float) -> float:
    """How much better births that become rarer explain the places than an even rate, in log likelihood.

    Tried are 1 / (c + c0), a table whose keys become rarer, and exp(-c / tau), a cache that nears its size.
    """
    at = np.clip(places + 0.5, 0.0, width)
    even = -len(at) * math.log(width)
    best = -math.inf
    for origin in (1.0, 5.0, 20.0, 60.0, 20.0 + begins):
        density = math.log(math.log1p(width / origin))
        best = max(best, float(-np.log(at + origin).sum()) - len(at) * density)
    for tau in (width / 6, width / 4, width / 2.5, width / 1.5):
        density = math.log(tau * -math.expm1(-width / tau))
        best = max(best, float(-(at / tau).sum()) - len(at) * density)
    return best - even


def _stop_high(places: FloatArray, amounts: FloatArray, width: float, alpha: float) -> float:
    """The worst of the window, its last half and its last quarter: what the loss may be at most by now."""
    worst = 0.0
    for share, part in ((1.0, alpha), (0.5, alpha / 3), (0.25, alpha / 3)):
        recent = amounts[places >= width * (1 - share)]
        worst = max(worst, rate_limits(recent, width * share, 2 * part)[2])
    return worst


def total_rate(cohorts: Sequence[Cohort], alpha: float) -> tuple[float, float, float]:
    """The sum of several sites' rates; limits add as independent errors on either side."""
    estimate = sum(cohort.estimate for cohort in cohorts)
    below = math.sqrt(sum((cohort.estimate - cohort.low) ** 2 for cohort in cohorts))
    above = math.sqrt(sum((cohort.high - cohort.estimate) ** 2 for cohort in cohorts))
    del alpha  # the limits were made with it
    return max(estimate - below, 0.0), estimate, estimate + above
