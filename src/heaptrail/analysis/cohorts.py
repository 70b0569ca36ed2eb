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
from scipy import special

from heaptrail.analysis.bounds import rate_limits
from heaptrail.analysis.slowing import CLEARLY_SLOWING, favours_slowing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heaptrail.analysis.series import FloatArray
    from heaptrail.analysis.sites import Histories, SiteHistory

_EPOCHS = 7
_MIN_EVENTS = 5
_MIN_EVENTS_MIXED = 6  # of several sizes: features used for the first time may share a site, but not a size
_MIN_EVENTS_LATE = 6  # when the first survivor comes late, the window is chosen by the data and must show more
_LATE_SHARE = 3 / 7
_MIN_LATE_SHARE = 0.22
_OLDER_THAN_DEATH = 1.5
_MIN_OLD_SHARE = 0.34
_SLOWING_UNDATED = 0.2  # births that are only known to lie between two listings are placed evenly, which hides it
_GAP_BY_CHANCE = 0.005
_GRAINS = 240
_CLUSTER_GAP = 0.06  # of the window
_YOUNG = 1 / 8
_PROBABLY, _CLEARLY = 2.0, 2.6  # standard errors
_SHORTEST_PART = 4.0
_RECENT_SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)  # of the run: the parts whose worst is the stop bound


@dataclass(frozen=True, slots=True)
class Window:
    """The part of each span in which births count, laid end to end.

    Args:
        pieces: `(span index, from, to, last listing, offset)`; a birth at x in that span lies at `offset + x - from`.
        record: From where to where births of each piece's span are on record, counted from its boot's start.
        counted: Where the listings of each piece lie that count after the warm-up, and at which place they begin
            among all listings of its span.
        width: Sum of the pieces' lengths.
        now: The last listing's place on the same axis (`width` plus the young tail).
        settled: The declared warm-up.
        dated: Births are known to the cycle.
        grain: What counts as one event: a cycle, or, where time takes its place, a 240th of the run.
    """

    pieces: tuple[tuple[int, float, float, float, float], ...]
    record: tuple[tuple[float, float], ...]
    counted: tuple[tuple[int, tuple[float, ...]], ...]
    width: float
    now: float
    settled: float
    dated: bool
    grain: float


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """One site's survivors.

    Args:
        births, sizes: Those in the window.
        reached: How old each of them was seen to be. A boot's listings say nothing of what came after that boot.
        young: Births after the window.
        ages: All births, each from its boot's start.
        oldest_death: Age of the oldest block that the site freed.
        rise: By how much the count rose at most between the first half of the listings and the second.
        dated: How many of the births lie between listings, so that the rise must show them.
        borrowed: How many blocks more than those that stayed were usually live.
    """

    births: FloatArray
    sizes: FloatArray
    reached: FloatArray
    young: FloatArray
    ages: FloatArray
    oldest_death: float
    rise: int
    dated: int
    borrowed: float


@dataclass(frozen=True, slots=True)
class Cohort:
    """What the survivors of one site show.

    Args:
        leaks: All conditions hold.
        why_not: The first condition that does not, as a word; empty when it leaks.
        events: Distinct cycles in which survivors were born, in the window.
        survivors: How many blocks those are.
        mean: Footprint bytes per unit of the axis over the window.
        low, estimate, high: The rate by now, with limits: the mean unless the site clearly speeds up.
        speeding: It does.
        blocks_per_unit: Survivors per unit of the axis.
        oldest: Age of the oldest survivor in the last listing of its boot, in units of the axis.
        stop_high: The greatest upper limit of the rate over the window, its last half and its last quarter.
        watched: How much of the window can show a loss at this site.
        births: Births in the window, on its axis.
        amounts: Footprint bytes of each event.
        begins: Where the window was moved to for a late onset, else 0.
    """

    leaks: bool
    why_not: str
    events: int
    survivors: int
    mean: float
    low: float
    estimate: float
    high: float
    speeding: bool
    blocks_per_unit: float
    oldest: float
    stop_high: float
    watched: float
    births: FloatArray
    amounts: FloatArray
    begins: float


def window_of(found: Histories, warmup: float) -> Window:
    """From the end of the warm-up (or the arming) of each span to an eighth of its length before its last listing."""
    pieces: list[tuple[int, float, float, float, float]] = []
    record: list[tuple[float, float]] = []
    counted: list[tuple[int, tuple[float, ...]]] = []
    offset = tail = 0.0
    whole = sum(max(span.end - span.start, 0.0) for span in found.spans)
    grain = max(whole / _GRAINS, 1e-9) if found.unit == "hour" else 1.0
    for index, span in enumerate(found.spans):
        begin = max(span.start, warmup)
        if span.end <= begin:
            continue
        end = span.end - (span.end - begin) * _YOUNG
        pieces.append((index, begin, end, span.end, offset))
        record.append((max(span.start, 0.0), end))
        skip = sum(1 for at in span.running if at < begin)
        counted.append((skip, span.running[skip:]))
        offset += end - begin
        tail = span.end - end
    return Window(tuple(pieces), tuple(record), tuple(counted), offset, offset + tail, warmup, found.exact, grain)


def cohort_of(site: SiteHistory, window: Window, alpha: float) -> Cohort:
    """Judge one site's survivors within the window."""
    arrivals = _arrivals(site, window)
    births = arrivals.births
    watched, stop_high = _stop_high(site, window, arrivals.oldest_death, alpha)
    places, first = _events(births, window.grain)
    amounts = np.add.reduceat(arrivals.sizes, first) if len(first) else np.empty(0)
    begins, why_not = _conditions(places, arrivals, window)
    kept = places >= math.floor(begins / window.grain) * window.grain
    width = window.width - begins
    low, mean, high = rate_limits(amounts[kept], width, alpha)
    late = places >= window.width - width / 2
    high = max(high, rate_limits(amounts[late], width / 2, alpha)[2])  # a loss that speeds up, not yet clearly
    faster, at_most = _speed_up((places[kept] - begins) / width if width > 0 else places[kept], amounts[kept])
    ahead = 2 * (window.now - begins) / width - 1 if width > 0 else 1.0  # the rate now, beyond the window's end
    return Cohort(
        leaks=not why_not,
        why_not=why_not,
        events=len(places),
        survivors=len(births),
        low=low,
        mean=mean,
        estimate=mean * (1 + faster * ahead),
        high=high * (1 + at_most * ahead),
        speeding=faster > 0,
        blocks_per_unit=int((births >= begins).sum()) / width if width > 0 else 0.0,
        oldest=float(arrivals.reached.max()) if len(births) else 0.0,
        stop_high=stop_high,
        watched=watched,
        births=births,
        amounts=amounts,
        begins=begins,
    )


def _events(births: FloatArray, grain: float) -> tuple[FloatArray, NDArray[np.int64]]:
    """The different moments of births, to the grain, and where each is first in `births`."""
    places, first = np.unique(np.floor(births / grain), return_index=True)
    return places * grain, first


def _arrivals(site: SiteHistory, window: Window) -> _Arrivals:
    none = np.empty(0)
    births, sizes, reached, ages = [none], [none], [none], [none]
    oldest_death, rise, dated, borrowed = 0.0, 0, 0, 0.0
    parts = zip(window.pieces, window.record, window.counted, strict=True)
    for (index, begin, end, listed, offset), (since, _), (skip, at) in parts:
        mine = site.spans.get(index)
        if mine is None:
            continue
        last = index == window.pieces[-1][0]
        keep = (mine.births >= begin) & ((mine.births < end) | last)
        births.append(mine.births[keep] - begin + offset)
        sizes.append(mine.sizes[keep])
        reached.append(listed - mine.births[keep])
        ages.append(_events(mine.births[(mine.births >= since) & (mine.births < end)], window.grain)[0])
        oldest_death = max(oldest_death, mine.oldest_death)
        borrowed = max(borrowed, mine.borrowed)
        if len(at) > 1:
            counts, half = mine.counts[skip:], len(at) // 2
            rise += max(max(counts[half:]) - min(counts[:half]), 0)
            dated += int(((mine.births > at[0]) & (mine.births < end)).sum())
    joined = np.concatenate(births)
    order = np.argsort(joined, kind="stable")
    joined, weights, seen = joined[order], np.concatenate(sizes)[order], np.concatenate(reached)[order]
    old = joined < window.width
    return _Arrivals(
        joined[old], weights[old], seen[old], joined[~old], np.concatenate(ages), oldest_death, rise, dated, borrowed
    )


def _conditions(places: FloatArray, arrivals: _Arrivals, window: Window) -> tuple[float, str]:
    """Where the counting begins, and the first condition that fails (empty when none does)."""
    begins = 0.0
    one_size = len(arrivals.sizes) == 0 or float(np.ptp(arrivals.sizes)) == 0.0
    wanted = _MIN_EVENTS if one_size else _MIN_EVENTS_MIXED
    if len(places) and places[0] > window.width * 2 / _EPOCHS:  # a late onset: count from there
        begins, wanted = float(places[0]), _MIN_EVENTS_LATE
    if len(places) < wanted or window.width <= begins:
        return begins, "few"
    width = window.width - begins
    where = (places - begins) / width
    if _level(arrivals):
        return begins, "level"
    if _is_over(where) or _ended(places, arrivals, window, begins):
        return begins, "over"
    if _in_bursts(where):
        return begins, "bursts"
    oldest_death = arrivals.oldest_death
    old = int((arrivals.reached > _OLDER_THAN_DEATH * oldest_death).sum())
    if oldest_death > 0 and old < _MIN_OLD_SHARE * len(arrivals.births):
        return begins, "churn"
    bearable = CLEARLY_SLOWING if window.dated else _SLOWING_UNDATED
    grain = window.grain
    record = [(begin / grain, end / grain) for begin, end in window.record]
    slows = favours_slowing(arrivals.ages / grain, record, window.settled / grain) > bearable
    return begins, "slowing" if slows else ""


def _level(arrivals: _Arrivals) -> bool:
    """The count does not rise by even half of what is said to have stayed: the blocks replace others.

    A leak's count rises by every survivor, so that half of them allows for what else the site does. It matters most
    where births are only known to lie between two listings, which makes a buffer that is renewed look like arrivals.
    Nor is it growth where no more stayed than comes and goes.
    """
    if 0 < len(arrivals.births) <= arrivals.borrowed:
        return True
    return arrivals.dated >= len(arrivals.births) / 2 and arrivals.rise < arrivals.dated / 2


def _is_over(where: FloatArray) -> bool:
    """Too few events in the last part of the window (places as shares of it) for arrivals that go on."""
    late = int((where >= 1 - _LATE_SHARE).sum())
    return late / len(where) < _MIN_LATE_SHARE or float(special.bdtr(late, len(where), _LATE_SHARE)) < 0.01


def _ended(places: FloatArray, arrivals: _Arrivals, window: Window, begins: float) -> bool:
    """No block for longer than the rhythm until then allows, young ones counted: a cache that is full does that.

    Bursts make long gaps likelier; their surplus over even arrivals takes that into account.
    """
    last = float(arrivals.young[-1]) if len(arrivals.young) else float(places[-1])
    active, whole = last - begins, window.now - begins
    if active <= 0:
        return True
    counts = np.histogram(places, bins=_EPOCHS, range=(begins, begins + active))[0]
    surplus = max(float(counts.var(ddof=1) / counts.mean()), 1.0)
    return float((active / whole) ** (len(places) / surplus)) < _GAP_BY_CHANCE


def _in_bursts(where: FloatArray) -> bool:
    """The events lie in fewer parts of the window than even arrivals would.

    Three separate clusters are enough where each is more than one event: an error path that an outage now and then
    takes several times, which nothing that is set up once or grows by a step does.
    """
    occupied = len(np.unique(np.minimum(np.floor(where * _EPOCHS), _EPOCHS - 1)))
    expected = _EPOCHS * (1 - (1 - 1 / _EPOCHS) ** len(where))
    if occupied >= 4 and occupied >= expected - 2:
        return False
    clusters = 1 + int((np.diff(where) > _CLUSTER_GAP).sum())
    return clusters < 3 or occupied < 3 or len(where) < 2 * clusters or len(where) < _MIN_EVENTS_LATE


def _shown(site: SiteHistory, window: Window, death: float) -> tuple[float, FloatArray, FloatArray]:
    """Over how much of the run blocks can be told to have outlived `death`; births there, end to end, and sizes."""
    births, sizes = [np.empty(0)], [np.empty(0)]
    watched = 0.0
    for index, begin, end, listed, _ in window.pieces:
        stop = listed if index == window.pieces[-1][0] else end
        until = min(stop, listed - _OLDER_THAN_DEATH * death)
        if until <= begin:
            continue
        mine = site.spans.get(index)
        if mine is not None:
            keep = (mine.births >= begin) & (mine.births < until)
            births.append(mine.births[keep] - begin + watched)
            sizes.append(mine.sizes[keep])
        watched += until - begin
    return watched, np.concatenate(births), np.concatenate(sizes)


def _stop_high(site: SiteHistory, window: Window, oldest_death: float, alpha: float) -> tuple[float, float]:
    """How much of the window can show a loss here, and the worst of that and its recent parts.

    The second is what the site may lose per unit at most by now. The young count here as if they were lost, save those
    younger than what the site has freed before: they tell nothing. Where its blocks live for too long to leave
    anything else, all of them are taken as lost instead, over the whole window.
    """
    watched, births, sizes = _shown(site, window, oldest_death)
    shortest = _SHORTEST_PART * window.grain
    if watched < shortest:
        watched, births, sizes = _shown(site, window, 0.0)
    worst = 0.0
    part = alpha / len(_RECENT_SHARES)
    for width in (watched * share for share in _RECENT_SHARES if watched * share >= shortest):
        worst = max(worst, rate_limits(sizes[births >= watched - width], width, 2 * part)[2])
    return watched, worst


def _speed_up(where: FloatArray, amounts: FloatArray) -> tuple[float, float]:
    """How much faster than its mean the site loses at the window's end, as a share of the mean, with an upper limit.

    The first moment of the places (shares of the window) tells a rate that grows evenly with time from a steady one,
    which lies at the middle. Both are 0 where the difference may be chance.
    """
    total = float(amounts.sum())
    if len(where) < _MIN_EVENTS_LATE or total <= 0:
        return 0.0, 0.0
    effective = total**2 / float(amounts @ amounts)
    error = 1 / math.sqrt(12 * effective)
    lead = float(amounts @ where) / total - 0.5
    if lead < _PROBABLY * error:
        return 0.0, 0.0
    return min(6 * lead, 1.0), min(6 * (lead + _CLEARLY * error), 1.0)
