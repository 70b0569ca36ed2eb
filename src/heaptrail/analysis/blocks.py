"""All sites of a run judged together: survivors, repetition, agreement with the heap's own fall, class, rate."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from heaptrail.analysis.bounds import spent_alpha, unseen_loss
from heaptrail.analysis.classes import Classified, Repetition, classify, repetition_of
from heaptrail.analysis.cohorts import Cohort, Window, cohort_of, window_of
from heaptrail.analysis.counters import counted_histories
from heaptrail.analysis.declared import Use, by_declaration, uses_of
from heaptrail.analysis.replay import dumps_from_events
from heaptrail.analysis.sites import SiteHistory, histories
from heaptrail.model.verdict import SiteVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from heaptrail.analysis.heaps import HeapView
    from heaptrail.analysis.sites import DumpAxis, Histories
    from heaptrail.model.evidence import Evidence
    from heaptrail.model.observations import RawFrame
    from heaptrail.model.verdict import Capacity, JudgeSettings, SiteClass

GROWING: tuple[SiteClass, ...] = ("leak", "held_until_teardown")
_ADDRESSES_KEPT = 256  # enough to look a block up; the capture holds them all
_ORDER: tuple[SiteClass, ...] = ("leak", "held_until_teardown", "undecided", "bounded", "one_time", "in_flight")


@dataclass(frozen=True, slots=True)
class Rate:
    """Footprint bytes per unit of the listings' axis: by now, with limits, and the mean over the window.

    `speeding` says that the two differ, because a site clearly speeds up; `steady` that every site adds the same from
    dump to dump.
    """

    low: float
    estimate: float
    high: float
    mean: float
    speeding: bool
    steady: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one site did, the class that it was put in for that, and the declared capacity that it keeps within."""

    site: SiteHistory
    cohort: Cohort
    repetition: Repetition | None
    result: Classified
    within: Use | None = None

    @property
    def grows(self) -> bool:
        return self.result.site_class in GROWING

    @property
    def bytes(self) -> int:
        """Live at the end, as printed."""
        counted = self.site.counted
        return counted.live_bytes if counted is not None else sum(block.size_bytes for block in self.site.blocks)

    @property
    def per_unit_bytes(self) -> float:
        return (self.result.per_unit or 0.0) * _mean_size(self.site)


@dataclass(frozen=True, slots=True)
class _Judged:
    """All that one kind of listing shows."""

    found: Histories
    window: Window
    alpha: float
    entries: list[_Entry]
    informative: bool


@dataclass(frozen=True, slots=True)
class BlockView:
    """What the listings say.

    Args:
        found: The blocks by site.
        window: Where births count.
        alpha: The error probability of this look.
        sites: All sites, growing ones first, then by bytes.
        growing: The rate of all growing sites together, None where there are none or the axis is mere order.
        bound: Greatest loss per cycle of traced blocks that the listings leave possible, None where they cannot tell.
        declared: What the user declared of sites that were seen.
        filling: Footprint bytes per unit that sites within their declared capacity still add.
        informative: Enough listings over enough of the run to say that nothing grows.
    """

    found: Histories
    window: Window
    alpha: float
    sites: tuple[SiteVerdict, ...]
    growing: Rate | None
    bound: float | None
    declared: tuple[Use, ...]
    filling: float
    informative: bool

    def of_class(self, *classes: SiteClass) -> tuple[SiteVerdict, ...]:
        """The sites of these classes."""
        return tuple(site for site in self.sites if site.site_class in classes)


def view_blocks(
    evidence: Evidence,
    settings: JudgeSettings,
    heap: HeapView | None,
    declared: Mapping[tuple[RawFrame, ...], Capacity],
) -> BlockView | None:
    """Judge every site, with the heap's own fall as a witness; None without a listing of blocks or of counters.

    Where there are no listings of blocks, a stream of allocations and frees takes their place. Counters speak for the
    stacks that no block was listed of, and where they show growth that the listings had no room for.
    """
    listed = histories(evidence.dumps or dumps_from_events(evidence.events), evidence.footprint)
    counted = counted_histories(evidence.sites, evidence.marks, evidence.footprint)
    views = [_judged(found, settings, heap, evidence) for found in (listed, counted) if found is not None]
    if not views:
        return None
    # Which of the two says of the run as a whole that nothing else grows, and on whose axis it is counted.
    chosen = next((view for view in views if view.informative), views[0])
    entries = _merged(chosen, [view for view in views if view is not chosen])
    uses = uses_of([(entry.site, entry.bytes) for entry in entries], declared)
    entries = _ranked(_under(entry, uses, declared) for entry in entries)
    filling = [entry for entry in entries if entry.within is not None]
    return BlockView(
        found=chosen.found,
        window=chosen.window,
        alpha=chosen.alpha,
        sites=tuple(_site_verdict(entry, chosen.found.unit, evidence) for entry in entries),
        growing=_growing_rate(entries, chosen.found.unit),
        bound=_bound(chosen, [entry for entry in entries if entry.within is None], settings),
        declared=tuple(uses),
        filling=sum(entry.cohort.mean for entry in filling),
        informative=chosen.informative,
    )


def _judged(found: Histories, settings: JudgeSettings, heap: HeapView | None, evidence: Evidence) -> _Judged:
    warmup = float(settings.warmup_cycles) if found.unit == "cycle" else 0.0
    window = window_of(found, warmup)
    alpha = spent_alpha(window.now if found.unit == "cycle" else float(found.listings), settings.confidence)
    cohorts = [cohort_of(site, window, alpha) for site in found.sites]
    repetitions = [repetition_of(site, found, warmup) for site in found.sites]
    agreed = _agreed(found, repetitions, heap)
    allowed = _allowed(found, settings, heap)
    enough = _enough(found, window)
    entries = [
        _Entry(
            site,
            cohort,
            repetition,
            classify(site, found, cohort if enough else _muted(cohort), repetition, allowed=allowed, agreed=agreed),
        )
        for site, cohort, repetition in zip(found.sites, cohorts, repetitions, strict=True)
    ]
    return _Judged(found, window, alpha, entries, _informative(found, window, heap, evidence))


def _merged(chosen: _Judged, others: Sequence[_Judged]) -> list[_Entry]:
    """One entry for each stack; what lies on another axis is left out."""
    entries = {entry.site.key: entry for entry in chosen.entries}
    for other in (entry for view in others if view.found.unit == chosen.found.unit for entry in view.entries):
        known = entries.get(other.site.key)
        if known is None or (other.grows and not known.grows):
            entries[other.site.key] = other
    return list(entries.values())


def _under(entry: _Entry, uses: Sequence[Use], declared: Mapping[tuple[RawFrame, ...], Capacity]) -> _Entry:
    """The entry as the user's declaration, where there is one for it, makes it."""
    capacity = declared.get(entry.site.key[0])
    use = next((use for use in uses if use.capacity == capacity), None)
    if use is None:
        return entry
    return replace(entry, result=by_declaration(entry.result, use), within=None if use.over else use)


def _ranked(entries: Iterable[_Entry]) -> list[_Entry]:
    """Growing ones first, then by bytes."""
    return sorted(
        entries, key=lambda entry: (_ORDER.index(entry.result.site_class), -entry.per_unit_bytes, -entry.bytes)
    )


def _muted(cohort: Cohort) -> Cohort:
    """The same survivors over a window too short to judge them by."""
    return replace(cohort, leaks=False, why_not="short") if cohort.leaks else cohort


def _enough(found: Histories, window: Window) -> bool:
    """Whether survivors by birth may be judged: a dozen cycles, or six listings where nothing dates the births."""
    if found.unit == "cycle":
        return window.width >= 12 and (found.exact or found.listings >= 4)
    return found.listings >= 6


def _allowed(found: Histories, settings: JudgeSettings, heap: HeapView | None) -> bool:
    if found.unit != "cycle":
        return heap.allowed if heap is not None else True
    after = sum(max(span.end - settings.warmup_cycles, 0.0) for span in found.spans)
    return after + 1 >= settings.warmup_cycles or (heap is not None and heap.series.unit == "cycle" and heap.allowed)


def _agreed(found: Histories, repetitions: list[Repetition | None], heap: HeapView | None) -> bool:
    """Whether the heap's own fall matches the sites whose counts match the cycles, to a quarter."""
    if heap is None or heap.trend is None or not heap.trend.falling or heap.series.unit != found.unit:
        return False
    claimed = 0.0
    for site, repetition in zip(found.sites, repetitions, strict=True):
        if repetition is not None and (repetition.suggestive or repetition.decisive):
            claimed += repetition.per_unit * _mean_size(site)
    return claimed > 0 and 0.75 <= claimed / heap.trend.estimate <= 1.25


def _mean_size(site: SiteHistory) -> float:
    sizes = site.spans[max(site.spans)].sizes
    return float(sizes.mean()) if len(sizes) else 0.0


def _growing_rate(entries: Sequence[_Entry], unit: DumpAxis) -> Rate | None:
    """The sum over the growing sites; limits add as independent errors, below and above."""
    growing = [entry for entry in entries if entry.grows]
    if not growing or unit == "dump":
        return None
    total = mean = below = above = 0.0
    speeding = False
    steady = True
    for entry in growing:
        cohort, repetition = entry.cohort, entry.repetition
        if repetition is not None and repetition.steady:
            size = _mean_size(entry.site)
            total += repetition.per_unit * size
            mean += repetition.per_unit * size
            slack = size / max(repetition.span, 1.0)  # one block more or less at either end
            below, above = below + slack**2, above + slack**2
            continue
        steady = False
        total += cohort.estimate
        mean += cohort.mean
        speeding = speeding or cohort.speeding
        below += (cohort.estimate - cohort.low) ** 2
        above += (cohort.high - cohort.estimate) ** 2
    return Rate(max(total - math.sqrt(below), 0.0), total, total + math.sqrt(above), mean, speeding, steady)


def _bound(judged: _Judged, entries: Sequence[_Entry], settings: JudgeSettings) -> float | None:
    found, window = judged.found, judged.window
    if found.unit == "dump" or window.width <= 0 or (found.listings < 3 and not found.exact):
        return None
    seen = sum(entry.cohort.stop_high for entry in entries)
    watched = min((entry.cohort.watched for entry in entries), default=window.now)
    return seen + unseen_loss(watched, settings.largest_single_loss_bytes, judged.alpha / 2)


def _informative(found: Histories, window: Window, heap: HeapView | None, evidence: Evidence) -> bool:
    """Three listings of a tracer that saw everything, over at least half of what the readings cover."""
    counters = any(site.counted is not None for site in found.sites)  # they go on where a listing is full
    blinding = {"filter_active"} if counters else {"filter_active", "overflow"}
    if found.listings < 3 or any(problem.what in blinding for problem in evidence.problems):
        return False
    return heap is None or heap.series.unit != found.unit or window.now >= heap.after / 2


def _site_verdict(entry: _Entry, unit: DumpAxis, evidence: Evidence) -> SiteVerdict:
    site, result = entry.site, entry.result
    live, counted = site.blocks, site.counted
    span = site.spans[max(site.spans)]
    rule = evidence.footprint
    sizes = Counter(block.size_bytes for block in live)
    tasks = Counter(block.task for block in live if block.task is not None)
    per_cycle = result.per_unit if unit == "cycle" else None
    blocks = counted.live_blocks if counted is not None else len(live)
    kind = live[0].size_kind if live else "requested"
    known = rule is not None or kind == "block"
    told = () if counted is None else (f"Its stack allocated {counted.allocations:,} and freed {counted.frees:,}.",)
    return SiteVerdict(
        frames=site.key[0],
        site_class=result.site_class,
        live_blocks=blocks,
        live_bytes=entry.bytes,
        size_kind=kind,
        sizes_bytes=tuple(sorted(sizes)),
        footprint_bytes=round(float(span.sizes.sum())) if known else None,
        per_cycle_blocks=per_cycle,
        per_cycle_bytes=None if per_cycle is None else per_cycle * (entry.bytes / blocks if blocks else 0.0),
        per_cycle_footprint_bytes=None if per_cycle is None or not known else per_cycle * _mean_size(site),
        counts=tuple(site.counts),
        tasks=tuple(task for task, _ in tasks.most_common()),
        addresses=tuple(block.address for block in live[:_ADDRESSES_KEPT]),
        freed_at_teardown=span.freed_at_stop,
        evidence=(*result.evidence, *told),
    )
