"""Verdicts in sentences: what was seen, what is missing, and what would settle it. No decision is taken here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.analysis.reconcile import LITTLE_EXPLAINED, MUCH_EXPLAINED
from heaptrail.units import format_bytes, format_hours, format_rate, plural

if TYPE_CHECKING:
    from heaptrail.analysis.heaps import HeapView
    from heaptrail.analysis.series import HeapSeries
    from heaptrail.model.verdict import Books, Interval, JudgeSettings, SiteVerdict, UpperBound

_FAR_LONGER = 100.0  # times the run so far: no advice that anybody can follow
_UNITS = {"cycle": "cycle", "hour": "hour", "reading": "reading"}


def heap_name(series: HeapSeries) -> str:
    """How a sentence names the heap."""
    return "The heap" if series.heap is None else f"Heap {series.heap}"


def percent(confidence: float) -> str:
    """`99 %`, `99.9 %`."""
    return f"{confidence * 100:.4g} %"


def end_to_end(series: HeapSeries) -> str:
    """The difference between the first and the last comparable reading, as read."""
    fell = series.first_free - series.last_free
    free = "Free memory" if series.heap is None else f"Free memory of heap {series.heap}"
    if series.readings == 1:
        return f"{free} was read only once: {format_bytes(series.last_free)}."
    boots = f", over {plural(len(series.curves), 'boot')}" if len(series.curves) > 1 else ""
    between = f"between the first and the last of {plural(series.readings, 'reading')}{boots}"
    ends = f"({format_bytes(series.first_free)} to {format_bytes(series.last_free)})"
    if fell > 0:
        return f"{free} fell by {format_bytes(fell)} {between} {ends}."
    if fell < 0:
        return f"{free} rose by {format_bytes(-fell)} {between} {ends}."
    return f"{free} is {format_bytes(series.last_free)} at both ends of {plural(series.readings, 'reading')}."


def falls(view: HeapView) -> str:
    """The fall that the readings prove."""
    trend = view.trend
    assert trend is not None, "the caller asks only for a heap that falls"
    unit = _UNITS[view.series.unit]
    onset = "; only the second half of the run shows it" if trend.recent else ""
    most = format_rate(trend.high)
    limits = f"{format_rate(trend.low)} to {most}" if trend.low > 0 else f"at most {most}"
    how = "" if trend.steps == 0 else f" in {plural(trend.steps, 'step')} from which it never came back"
    return (
        f"{heap_name(view.series)} loses {format_rate(trend.estimate)} B per {unit} ({limits}){how} over "
        f"{_length(trend.span, unit)} after the warm-up, and neither a filling cache nor one-off losses explain "
        f"it{onset}."
    )


def ran_out() -> str:
    """What failed allocations do to the listings."""
    return (
        "Allocations failed meanwhile: where memory has run out, a site that leaks stops growing and looks bounded. "
        "Give the device more memory, or measure and trace fewer cycles after a reset."
    )


def starved() -> str:
    """What failed allocations do to a heap that does not fall."""
    return (
        "Allocations failed meanwhile: what cannot be allocated cannot be lost, so a heap that does not fall proves "
        "nothing. Reset the device, and run again with memory left."
    )


NOTHING_READ = (
    "Record `free` once per cycle; if the log has readings, name its system with --dialect, or describe heap lines of "
    "your firmware's own with --pattern or --columns."
)


def _length(span: float, unit: str) -> str:
    """`16 cycles`, `0.8 hours`, `12 minutes`, `38 seconds`: hours are seldom whole, all else is counted."""
    if unit != "hour":
        return plural(round(span), unit)
    if span >= 1 / 2:
        return f"{span:,.1f} hours"
    seconds = round(span * 3600)
    return plural(seconds, "second") if seconds < 120 else plural(round(seconds / 60), "minute")


def growing_sites(sites: tuple[SiteVerdict, ...]) -> list[str]:
    """One sentence per growing site, the largest first, at most five."""
    lines: list[str] = []
    for site in sites[:5]:
        if site.sizes_bytes:
            what = f"{site.sizes_bytes[0]:,} B" if len(site.sizes_bytes) == 1 else f"{len(site.sizes_bytes)} sizes"
        else:
            what = f"{site.live_bytes:,} B in {plural(site.live_blocks, 'block')}"
        where = f"task {site.tasks[0]}" if len(site.tasks) == 1 else f"{len(site.tasks)} tasks"
        who = f"Site of {what} ({where})" if site.tasks else f"Site of {what}"
        lines.append(f"{who}: {' '.join(site.evidence)}")
    if len(sites) > 5:
        lines.append(f"{plural(len(sites) - 5, 'further site')} grow as well.")
    return lines


def held(sites: tuple[SiteVerdict, ...], total: int) -> str:
    """What a growth that teardown frees means."""
    which = "All growing sites are" if len(sites) == total else f"{len(sites)} of {plural(total, 'growing site')} are"
    return (
        f"{which} freed at the workload's teardown and not before: a run without an end still uses up the heap, "
        f"and a check after the stop would not show it."
    )


def books(balance: Books) -> str:
    """What share of the loss the sites account for, with a warning when it is too little or too much."""
    share = f"{balance.share_explained * 100:.0f} %"
    text = (
        f"The growing sites explain {format_bytes(balance.explained_bytes)} of {format_bytes(balance.lost_bytes)} "
        f"lost over {plural(balance.window_cycles, 'cycle')} ({share})"
    )
    if balance.share_explained < LITTLE_EXPLAINED:
        rest = format_bytes(balance.unexplained_bytes)
        return f"{text}; something that the listings do not show takes the other {rest}."
    if balance.share_explained > MUCH_EXPLAINED:
        return f"{text}: more than was lost, so something else shrank meanwhile or the leak comes in bursts."
    return f"{text}."


def no_leak(bound: UpperBound, cycles: float, tolerance: float, *, traced: bool) -> str:
    """The sentence that may be quoted, with all that it assumes."""
    scope = " in what the tracer sees" if traced else ""
    return (
        f"The loss{scope} is below {format_rate(bound.value)} bytes per {bound.unit} with "
        f"{percent(bound.confidence)} confidence, for leaks whose single loss is at most "
        f"{format_bytes(bound.largest_single_loss_bytes)}, over {_length(cycles, bound.unit)} of this workload; "
        f"tolerated are {format_rate(tolerance)}."
    )


def not_low_enough(bound: UpperBound, tolerance: float, needed: int | None, cycles: float) -> str:
    """Why the bound does not settle it, and how many more cycles would."""
    text = (
        f"Too few {bound.unit}s: the loss may be up to {format_rate(bound.value)} bytes per {bound.unit} "
        f"({percent(bound.confidence)} confidence, single losses up to "
        f"{format_bytes(bound.largest_single_loss_bytes)}), and {format_rate(tolerance)} are tolerated"
    )
    if needed is None:
        return (
            f"{text}; more {bound.unit}s alone would not settle it. Raise the tolerance, or add dumps of live blocks."
        )
    more = max(round(needed - cycles), 1)
    if more > _FAR_LONGER * max(cycles, 1.0):
        return (
            f"{text}; as the readings scatter that would take {more:,} more: raise the tolerance, or test less at once."
        )
    return f"{text}; about {plural(more, f'more {bound.unit}')} would settle it."


def inside_warmup(settings: JudgeSettings, last: float) -> str:
    """The run is not yet twice as long as its warm-up."""
    wanted = 2 * settings.warmup_cycles
    more = max(round(wanted - last), 1)
    return (
        f"Still inside the warm-up: caches may fill for {plural(settings.warmup_cycles, 'cycle')} here (declared), and "
        f"growth counts only once the run has lasted as long again: about {plural(more, 'more cycle')}."
    )


def no_cycles(series: HeapSeries) -> str:
    """What is missing when the log does not tell cycles."""
    base = "The log does not tell the workload's cycles; give --cycle-mark with the line that ends one"
    if series.unit == "reading":
        return f"{base} (nor does it tell the time), so that no rate and no bound can be computed."
    return f"{base}: without them a warm-up declared in cycles cannot be left out, and all is counted per hour."


def fragmentation(view: HeapView) -> str:
    """Free memory is there, but in smaller pieces."""
    assert view.largest is not None, "the caller asks only for a heap that fragments"
    return (
        f"{heap_name(view.series)} fragments: its largest free block shrank from "
        f"{format_bytes(view.largest.first)} to {format_bytes(view.largest.last)} while the free total did not "
        f"fall as much. That is no leak, but an allocation larger than the largest block will fail."
    )


def first_failure(view: HeapView, request_bytes: int, *, declared: bool) -> str | None:
    """When a request of that size fails for want of a block so large; None where that is not in sight."""
    largest = view.largest
    after = None if largest is None else largest.fails_after(request_bytes)
    if largest is None or after is None or after.estimate is None or view.series.unit == "reading":
        return None
    what = f"A request of {format_bytes(request_bytes)}"
    if not declared:
        what += " (the largest that is live)"
    now = f"the largest free block is {format_bytes(largest.last)}"
    if after.estimate == 0:
        return f"{what} fails already: {now}."
    trend = largest.trend
    assert trend is not None, "without a trend nothing fails later"
    unit = view.series.unit
    soonest = f"{after.low or 0:,.0f}"
    latest = f" to {after.high:,.0f}" if after.high is not None else " or more"
    span = "" if latest == f" to {soonest}" else f" ({soonest}{latest})"
    return (
        f"{what} first fails in about {after.estimate:,.0f} {unit}s{span}: {now} and shrinks by "
        f"{format_rate(trend.estimate)} B per {unit}."
    )


def exhausted(cycles: Interval, hours: Interval | None) -> str | None:
    """When the heap is used up at this rate."""
    if cycles.estimate is None:
        return None
    clock = f" ({format_hours(hours.estimate)})" if hours is not None and hours.estimate is not None else ""
    return f"At this rate the heap is used up in about {cycles.estimate:,.0f} cycles{clock}."
