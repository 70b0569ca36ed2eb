"""The verdict: `judge(evidence, settings)`, a pure function of what was observed.

Method ("combo"): sites are judged by the survivors of their births (`cohorts`) or by their counts repeating from dump
to dump (`classes`), the heap by a trend that survives every plausible innocent shape (`trend`); a site's word counts
only where the heap does not contradict it, and growth within the declared warm-up, or before the run has lasted as
long again, proves nothing. `no_leak` is stated only with the bound that it rests on (`bounds`).
docs/reading-a-verdict.md explains the words and gives the measured error rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from heaptrail.analysis import reasons
from heaptrail.analysis.blocks import GROWING, view_blocks
from heaptrail.analysis.bounds import cycles_needed, seen_rate, upper_bound
from heaptrail.analysis.classes import ONE_EVENT
from heaptrail.analysis.heaps import MIN_POINTS_ALONE, HeapView, ran_out, view_heap
from heaptrail.analysis.outlook import Loss, exhaustion, loss_of, per_hour
from heaptrail.analysis.reconcile import books_of
from heaptrail.analysis.running import readings_while_running
from heaptrail.analysis.series import heap_series
from heaptrail.model.verdict import Fit, Interval, UpperBound, Verdict
from heaptrail.units import format_rate, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heaptrail.analysis.blocks import BlockView
    from heaptrail.model.evidence import Evidence
    from heaptrail.model.observations import RawFrame
    from heaptrail.model.verdict import Books, Capacity, JudgeSettings, VerdictWord

_NOTHING_DECLARED: Mapping[tuple[RawFrame, ...], Capacity] = {}
_MOSTLY = 0.75  # of a fall, that sites within their declared capacity explain
_SEVERITY: dict[VerdictWord, int] = {"leak": 2, "inconclusive": 1, "no_leak": 0}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The verdict on one heap; `loss` is its proven loss per unit of its axis."""

    word: VerdictWord
    reasons: tuple[str, ...]
    loss: Loss | None = None
    bound: UpperBound | None = None
    books: Books | None = None


def judge(
    evidence: Evidence, settings: JudgeSettings, declared: Mapping[tuple[RawFrame, ...], Capacity] = _NOTHING_DECLARED
) -> Verdict:
    """Judge a run.

    Args:
        evidence: Heap readings, dumps of live blocks, or both. Boots are kept apart; readings taken with the tracer on
            are never compared with those taken with it off.
        settings: The user's terms. Without a tolerance of the user's own a proven leak of any size is `leak`.
        declared: The backtraces that fit one of the settings' capacities. Patterns are of names, which analysis does
            not know; `heaptrail.diagnose` looks them up.

    Returns:
        The verdict on the worst heap, with reasons that name it, and a class for every site. Never raises for any
        evidence that its types allow.
    """
    samples = readings_while_running(evidence.samples, evidence.marks)
    views = [view_heap(series, settings) for series in heap_series(samples)]
    main = _main_heap(views)
    blocks = view_blocks(evidence, settings, main, declared)
    if main is None:
        outcome = _without_readings(blocks, evidence, settings)
        return _verdict(outcome, None, views, blocks, settings=settings)
    outcomes = [
        (view, _on_heap(view, blocks if view is main else None, evidence, settings, sites_elsewhere=view is not main))
        for view in views
    ]
    worst_view, worst = max(outcomes, key=lambda pair: (_SEVERITY[pair[1].word], pair[0] is main))
    more = [line for view, outcome in outcomes if view is not worst_view for line in outcome.reasons[:1]]
    more += [reasons.fragmentation(view) for view in views if view.fragmenting]
    more += _first_failures(views, evidence, settings)
    told = _Outcome(worst.word, tuple(dict.fromkeys((*worst.reasons, *more))), worst.loss, worst.bound, worst.books)
    return _verdict(told, worst_view, views, blocks, settings=settings)


def _first_failures(views: Sequence[HeapView], evidence: Evidence, settings: JudgeSettings) -> list[str]:
    """When a request first finds no block that is large enough, for each heap where that comes nearer."""
    request = settings.largest_request_bytes
    sizes = (block.size_bytes for dump in evidence.dumps for block in dump.blocks if not block.freed)
    asked = request if request is not None else max(sizes, default=0)
    if not asked:
        return []
    told = (reasons.first_failure(view, asked, declared=request is not None) for view in views)
    return [sentence for sentence in told if sentence is not None]


def _main_heap(views: Sequence[HeapView]) -> HeapView | None:
    """The heap that the listings are about: the one that falls, the soonest used up first."""

    def urgency(view: HeapView) -> tuple[bool, float]:
        if view.trend is None:
            return False, (view.series.first_free - view.series.last_free) / max(view.series.idle_free, 1.0)
        return view.trend.falling, view.trend.estimate * view.trend.span / max(view.series.idle_free, 1.0)

    return max(views, key=urgency, default=None)


def _on_heap(
    view: HeapView, blocks: BlockView | None, evidence: Evidence, settings: JudgeSettings, *, sites_elsewhere: bool
) -> _Outcome:
    growing = blocks.of_class(*GROWING) if blocks is not None else ()
    if blocks is not None and growing:
        return _by_sites(view, blocks, evidence, settings)
    unseen = blocks is not None and blocks.informative
    if view.falls_alone and not unseen:
        return _by_series(view, blocks, settings, sites_elsewhere=sites_elsewhere)
    bound, traced, cycles = _bound(view, blocks, settings)
    falling = view.trend is not None and view.trend.falling and not _only_fills(view, blocks)
    starved = ran_out(evidence, settings)
    if bound is not None and not falling and not starved and bound.value < view.tolerance:
        text = reasons.no_leak(bound, cycles, view.tolerance, traced=traced)
        return _Outcome("no_leak", (text,), bound=bound)
    lines = _why(view, blocks, bound, cycles, settings)
    if starved:
        lines = [*lines, reasons.ran_out()] if falling else [reasons.starved()]
    return _Outcome("inconclusive", tuple(lines), bound=None if starved else bound)


def _only_fills(view: HeapView, blocks: BlockView | None) -> bool:
    """The heap falls because sites that are declared bounded still fill."""
    trend = view.trend
    if trend is None or blocks is None or blocks.found.unit != view.series.unit:
        return False
    return blocks.filling > 0 and blocks.filling >= _MOSTLY * trend.estimate


def _by_sites(view: HeapView, blocks: BlockView, evidence: Evidence, settings: JudgeSettings) -> _Outcome:
    growing = blocks.of_class(*GROWING)
    rate = blocks.growing
    same_axis = view.series.unit == blocks.found.unit
    said = reasons.growing_sites(growing)
    comparable = same_axis and view.trend is not None and view.trend.points >= MIN_POINTS_ALONE
    if rate is not None and comparable and view.trend is not None and rate.low > max(view.trend.high, 0.0):
        text = (
            f"The sites would lose {format_rate(rate.low)} B per {view.series.unit} or more, but free memory falls "
            f"by {format_rate(max(view.trend.high, 0.0))} at most: the listings and the heap contradict each other, so "
            f"check that both are of the same heap and the same run."
        )
        return _Outcome("inconclusive", (text, *said))
    loss = loss_of(view, blocks)
    balance = None
    lines = list(said)
    if same_axis and view.trend is not None and rate is not None and view.series.unit == "cycle":
        balance = books_of(view.trend.estimate, rate.mean, view.trend.span, evidence.footprint)
    if view.trend is not None and view.trend.falling:
        lines.append(reasons.falls(view))
    if balance is not None:
        lines.append(reasons.books(balance))
    held = blocks.of_class("held_until_teardown")
    if held:
        lines.append(reasons.held(held, len(growing)))
    bound, _, _ = _bound(view, blocks, settings)
    return _tolerated(_Outcome("leak", tuple(lines), loss, bound, balance), view, settings)


def _tolerated(outcome: _Outcome, view: HeapView, settings: JudgeSettings) -> _Outcome:
    """A loss that the user tolerates by name is no leak; the built-in tolerance excuses nothing that is proven."""
    unit, loss = view.series.unit, outcome.loss
    allowed = settings.tolerate_bytes_per_hour if unit == "hour" else settings.tolerate_bytes_per_cycle
    if allowed is None or loss is None or unit == "reading" or loss.unit != unit or loss.high >= allowed:
        return outcome
    text = (
        f"Memory is lost, at most {format_rate(loss.high)} bytes per {unit}, which is below the tolerated "
        f"{format_rate(allowed)}."
    )
    bound = outcome.bound
    word: VerdictWord = "no_leak" if bound is not None and bound.value < allowed else "inconclusive"
    return _Outcome(word, (text, *outcome.reasons), loss, bound, outcome.books)


def _by_series(view: HeapView, blocks: BlockView | None, settings: JudgeSettings, *, sites_elsewhere: bool) -> _Outcome:
    lines = [reasons.falls(view)]
    if blocks is None and not sites_elsewhere:
        lines.append(
            "There is no dump of live blocks: the site is unknown, and the curve alone decided. Arm the tracer and "
            "take three dumps or more."
        )
    elif blocks is not None:
        lines.append("The dumps do not yet show which site it is: take three or more while the workload runs.")
    bound, _, _ = _bound(view, blocks, settings)
    return _tolerated(_Outcome("leak", tuple(lines), loss_of(view, None), bound), view, settings)


def _bound(view: HeapView, blocks: BlockView | None, settings: JudgeSettings) -> tuple[UpperBound | None, bool, float]:
    """The lower of what the readings and the listings leave possible, whether it is the listings', and its cycles."""
    candidates: list[tuple[float, bool, float]] = []
    if view.bound is not None:
        candidates.append((view.bound, False, view.after))
    no_fall = view.trend is None or not view.trend.falling or _only_fills(view, blocks)
    if blocks is not None and blocks.bound is not None and no_fall and blocks.found.unit == view.series.unit:
        candidates.append((blocks.bound, True, blocks.window.now))
    if not candidates:
        return None, False, view.after
    value, traced, cycles = min(candidates)
    return upper_bound(value, view.series.unit, settings), traced, cycles


def _why(
    view: HeapView, blocks: BlockView | None, bound: UpperBound | None, cycles: float, settings: JudgeSettings
) -> list[str]:
    """Why the run settles nothing, the most telling first, each with what would settle it."""
    lines: list[str] = [reasons.end_to_end(view.series)]
    series, trend = view.series, view.trend
    if series.unit != "cycle":
        lines.append(reasons.no_cycles(series))
    if trend is None:
        lines.append("Too few readings for a trend: read the heap once in each of 24 cycles or more after the warm-up.")
    elif not view.allowed:
        lines.append(reasons.inside_warmup(settings, series.last_x))
    if trend is not None:
        lines += _about_trend(view, blocks)
    if blocks is not None:
        lines += _about_sites(blocks)
    if bound is not None and trend is not None and not trend.falling:
        looks = max(cycles, 1.0) if series.unit == "cycle" else view.looks
        lines.append(_not_low_enough(bound, view.tolerance, cycles, looks))
    return lines


def _not_low_enough(bound: UpperBound, tolerance: float, length: float, looks: float) -> str:
    """What the bound lacks; `looks` is the run's length in what looks are counted by, `length` in the bound's unit."""
    unit = max(length, 1e-9) / max(looks, 1.0)
    scaled = replace(bound, bytes_per_cycle=bound.value * unit)
    seen = seen_rate(scaled, looks)
    needed = cycles_needed(tolerance * unit, bound.largest_single_loss_bytes, bound.confidence, seen, looks)
    return reasons.not_low_enough(bound, tolerance, None if needed is None else math.ceil(needed * unit), length)


def _about_trend(view: HeapView, blocks: BlockView | None) -> list[str]:
    trend = view.trend
    assert trend is not None, "the caller looked"
    unit = view.series.unit
    rate = f"{format_rate(trend.estimate)} B per {unit}"
    if trend.falling and blocks is not None and _only_fills(view, blocks):
        text = (
            f"The heap loses {rate}, of which {format_rate(blocks.filling)} go to sites that are declared bounded and "
            f"still fill."
        )
        return [text]
    if trend.falling and blocks is not None and any(site.per_cycle_blocks for site in blocks.of_class("undecided")):
        return [f"The heap loses {rate}, and sites that cannot be judged yet grow."]
    if trend.falling and blocks is not None and blocks.informative:
        name = "the heap" if view.series.heap is None else f"heap {view.series.heap}"
        text = (
            f"Unattributed growth: {name} loses {rate}, and no traced site grows. Look for an allocator that the "
            f"tracer does not see, a pool, or another heap."
        )
        return [text]
    if trend.falling and trend.points < MIN_POINTS_ALONE:
        more = plural(MIN_POINTS_ALONE - trend.points, f"more {unit}")
        text = (
            f"It falls by {rate}, but {trend.points} points after the warm-up cannot tell a leak from a cache that "
            f"fills: {more} would, or dumps that show the same site growing."
        )
        return [text]
    if trend.slowing:
        text = "The fall is slowing down or came in few steps, as of a cache that fills. A longer run would tell."
        return [text]
    return []


def _about_sites(blocks: BlockView) -> list[str]:
    lines: list[str] = []
    for site in blocks.of_class("one_time"):
        lines += [f"One event, {site.live_bytes:,} B live: {told}" for told in site.evidence[:1] if ONE_EVENT in told]
    undecided = blocks.of_class("undecided")
    for site in undecided[:3]:
        lines += [f"Undecided site, {site.live_bytes:,} B live: {sentence}" for sentence in site.evidence[:1]]
    if blocks.found.listings < 3 and not blocks.found.exact:
        lines.append(
            f"{plural(blocks.found.listings, 'dump')} of live blocks only: take three or more while the workload runs, "
            f"some cycles apart, so that what stays can be told from what is in use."
        )
    return lines


def _without_readings(blocks: BlockView | None, evidence: Evidence, settings: JudgeSettings) -> _Outcome:
    if blocks is None:
        text = "No reading of free memory and no dump of live blocks was found: there is nothing to judge."
        return _Outcome("inconclusive", (text, reasons.NOTHING_READ))
    growing = blocks.of_class(*GROWING)
    if growing:
        rate = blocks.growing
        loss = Loss(rate.low, rate.estimate, rate.high, blocks.found.unit, rate.speeding) if rate is not None else None
        lines = [
            *reasons.growing_sites(growing),
            "No reading of free memory was found, so that the books cannot be balanced.",
        ]
        held = blocks.of_class("held_until_teardown")
        if held:
            lines.append(reasons.held(held, len(growing)))
        return _Outcome("leak", tuple(lines), loss)
    if ran_out(evidence, settings):
        return _Outcome("inconclusive", (reasons.starved(),))
    bound = None
    if blocks.bound is not None:
        bound = upper_bound(blocks.bound, blocks.found.unit, settings)
    in_hours = blocks.found.unit == "hour"
    tolerance = settings.tolerate_bytes_per_hour if in_hours else settings.tolerate_bytes_per_cycle
    if bound is not None and tolerance is not None and bound.value < tolerance:
        text = reasons.no_leak(bound, blocks.window.now, tolerance, traced=True)
        return _Outcome("no_leak", (text,), bound=bound)
    lines = ["No reading of free memory was found: the loss of the heap as a whole is unknown.", *_about_sites(blocks)]
    if bound is not None and tolerance is not None:
        looks = float(blocks.found.listings) if in_hours else blocks.window.now
        lines.append(_not_low_enough(bound, tolerance, blocks.window.now, looks))
    elif bound is not None:
        lines.append(
            f"What the tracer sees loses less than {format_rate(bound.value)} bytes per {bound.unit}: set "
            f"tolerate_bytes_per_{bound.unit} to say whether that is little enough."
        )
    return _Outcome("inconclusive", tuple(lines), bound=bound)


def _verdict(
    outcome: _Outcome,
    view: HeapView | None,
    views: Sequence[HeapView],
    blocks: BlockView | None,
    *,
    settings: JudgeSettings,
) -> Verdict:
    loss = outcome.loss
    rate = Interval(low=loss.low, estimate=loss.estimate, high=loss.high) if loss is not None else None
    in_cycles = rate if loss is not None and loss.unit == "cycle" else None
    hourly = per_hour(loss, view)
    cycles_left, hours_left = exhaustion(outcome.word, loss, view, blocks, outcome.bound)
    lines = list(outcome.reasons)
    if blocks is not None:
        lines += [use.sentence for use in blocks.declared]
    if cycles_left is not None:
        lines += [line for line in (reasons.exhausted(cycles_left, hours_left),) if line is not None]
    if view is not None:
        lines += _cautions(view, settings)
    return Verdict(
        verdict=outcome.word,
        reasons=tuple(dict.fromkeys(lines)),
        rate_bytes_per_cycle=in_cycles,
        rate_bytes_per_hour=hourly,
        upper_bound=outcome.bound,
        exhaustion_hours=hours_left,
        exhaustion_cycles=cycles_left,
        books=outcome.books,
        fits=tuple(fit for each in views for fit in _fits(each)),
        sites=blocks.sites if blocks is not None else (),
    )


def _cautions(view: HeapView, settings: JudgeSettings) -> list[str]:
    series = view.series
    lines: list[str] = []
    if settings.warmup_cycles and series.unit != "cycle":
        lines.append(
            f"The declared warm-up of {plural(settings.warmup_cycles, 'cycle')} could not be applied: the log does not "
            f"tell cycles, and only the first readings were left out."
        )
    if series.left_out:
        lines.append(
            f"{plural(series.left_out, 'reading')} taken with the tracer {'off' if series.tracer else 'on'} "
            f"were left out: the tracer's own memory makes them incomparable."
        )
    elif series.tracer:
        lines.append("All readings were taken with the tracer on; its own records may take part of what is lost.")
    if series.uneven_cycles:
        lines.append("The cycles' lengths vary by more than a fifth, so that hours are less certain than cycles.")
    return lines


def _fits(view: HeapView) -> list[Fit]:
    if view.trend is None or view.series.unit == "reading":
        return []
    unit: Literal["cycle", "hour"] = "cycle" if view.series.unit == "cycle" else "hour"
    return [
        Fit(
            boot=boot,
            heap=view.series.heap,
            x_unit=unit,
            x_from=begin,
            x_to=end,
            intercept_bytes=intercept,
            slope_bytes=-view.trend.estimate,
        )
        for boot, begin, end, intercept in view.trend.levels
    ]
