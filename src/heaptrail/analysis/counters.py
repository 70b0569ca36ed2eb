"""A tracer's counters of each call stack, printed at several moments, as histories of sites.

Counters name no block. But a count that never again falls below a level has that many blocks, or as many in their
place, that stayed: the lowest count of all later listings is what survives, and where it rises blocks were born
that nothing has outweighed since. A cache that replaces its entries has no such births. What the tracer has no room
to record it still counts, so that a listing that overflowed is no obstacle here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from heaptrail.analysis.running import readings_while_running
from heaptrail.analysis.sites import Histories, SiteHistory, Span, SpanBlocks, evenly, position_of, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.sites import SiteKey
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import Mark, SiteCount

_BORROWED_SHARE = 0.9
_Listing = dict["SiteKey", "SiteCount"]


def counted_histories(
    counts: Sequence[SiteCount], marks: Sequence[Mark], rule: FootprintRule | None
) -> Histories | None:
    """Follow every stack through the listings of counters, None without one.

    A listing ends where a stack is printed again, and a record where a counter of allocations goes back: then the
    tracer was switched on anew, or the device restarted.
    """
    listings = _listings(readings_while_running(counts, marks))
    if not listings:
        return None
    moments = [next(iter(listing.values())) for listing in listings]
    unit = unit_of(moments)
    spans: list[Span] = []
    found: dict[SiteKey, SiteHistory] = {}
    for group in _records(listings):
        at = tuple(position_of(moments[index], unit, index) for index in group)
        spans.append(
            Span(
                boot=moments[group[0]].boot,
                start=at[0],
                end=at[-1],
                running=at,
                stopped=False,
                running_known=False,
                armed=False,
            )
        )
        _follow([listings[index] for index in group], at, len(spans) - 1, found, rule)
    for site in found.values():
        site.counts = [
            (moment.cycle, _live(listing, site.key)) for moment, listing in zip(moments, listings, strict=True)
        ]
    return Histories(unit, tuple(spans), tuple(found.values()), exact=False, listings=len(listings))


def _listings(counts: Sequence[SiteCount]) -> list[_Listing]:
    listings: list[_Listing] = []
    numbers: set[int] = set()
    before: SiteCount | None = None
    for count in counts:
        apart = before is None or (count.boot, count.cycle) != (before.boot, before.cycle)
        if apart or count.site in numbers:
            listings.append({})
            numbers = set()
        numbers.add(count.site)
        key: SiteKey = (count.frames, 0 if count.frames else -count.site)
        listings[-1][key] = count
        before = count
    return listings


def _records(listings: Sequence[_Listing]) -> list[list[int]]:
    """The numbers of the listings that belong to one record without a break."""
    groups: list[list[int]] = []
    for index, listing in enumerate(listings):
        if groups and _continues(listings[index - 1], listing):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _continues(before: _Listing, after: _Listing) -> bool:
    return all(
        after[key].boot == count.boot and after[key].allocations >= count.allocations
        for key, count in before.items()
        if key in after
    ) and any(key in after for key in before)


def _live(listing: _Listing, key: SiteKey) -> int:
    count = listing.get(key)
    return 0 if count is None else count.live_blocks


def _follow(
    listings: Sequence[_Listing],
    at: tuple[float, ...],
    span: int,
    found: dict[SiteKey, SiteHistory],
    rule: FootprintRule | None,
) -> None:
    pace = _allocations_per_unit(listings, at)
    for key in dict.fromkeys(key for listing in listings for key in listing):
        last = next(listing[key] for listing in reversed(listings) if key in listing)
        site = found.setdefault(key, SiteHistory(key, {}, [], [], counted=last))
        site.counted = last
        live = [_live(listing, key) for listing in listings]
        site.spans[span] = _span_blocks(live, at, last, pace, rule)


def _span_blocks(
    live: list[int], at: tuple[float, ...], last: SiteCount, pace: float, rule: FootprintRule | None
) -> SpanBlocks:
    staying = np.minimum.accumulate(np.array(live)[::-1])[::-1]
    born = np.diff(staying, prepend=0)
    births = [np.full(int(born[0]), -math.inf)]
    births += [
        evenly(before, after, int(count)) for before, after, count in zip(at[:-1], at[1:], born[1:], strict=True)
    ]
    mean = last.live_bytes / last.live_blocks if last.live_blocks else 0.0
    size = mean if rule is None else float(rule.footprint_bytes(round(mean)))
    # Ages are counted in allocations; by the pace of the whole tracer they become units of the axis.
    age = last.oldest_death_allocations
    oldest = 0.0 if not last.frees else (at[-1] - at[0] if age is None or pace <= 0 else age / pace)
    return SpanBlocks(
        births=np.concatenate(births),
        first_seen=np.repeat(np.arange(len(live), dtype=np.float64), born),
        sizes=np.full(live[-1], size),
        counts=live,
        oldest_death=oldest,
        deaths=last.frees,
        early_seen=live[0],
        borrowed=float(np.quantile(np.array(live) - staying, _BORROWED_SHARE)),
    )


def _allocations_per_unit(listings: Sequence[_Listing], at: tuple[float, ...]) -> float:
    """Of all stacks together, from the running number of the latest allocation."""
    numbers = [max((count.last_sequence or 0 for count in listing.values()), default=0) for listing in listings]
    width = at[-1] - at[0]
    return (numbers[-1] - numbers[0]) / width if width > 0 else 0.0
