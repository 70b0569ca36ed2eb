"""A class for every site, with the sentences that a firmware engineer can check against the listings.

The ladder of evidence: it repeats per cycle, it still arrives over several listings, it outlived the workload's stop.
A block that was merely live at the stop is no leak, and one event never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.analysis.cohorts import Cohort
    from heaptrail.analysis.sites import Histories, SiteHistory, Span, SpanBlocks
    from heaptrail.model.verdict import SiteClass

ONE_EVENT = "one event is never a leak verdict"
_MIN_REPEATS = 6
_FEW_DUMPS = 2  # what came between two dumps may have come once or a hundred times
_FREED_SHARE = 0.9  # the last block of a growing site is often freed at the stop; nearly all of them is a teardown


@dataclass(frozen=True, slots=True)
class Repetition:
    """How a site's count moves from listing to listing in its last span.

    Args:
        per_unit: Blocks that stay per unit of the axis.
        steady: Every listing fits that rate to within one block, or a seventh.
        listings: How many listings of the running workload it rests on; 1 means count against traced cycles.
        grown: Blocks added in all.
        span: Units of the axis over which they were.
    """

    per_unit: float
    steady: bool
    listings: int
    grown: int
    span: float

    @property
    def decisive(self) -> bool:
        """Three listings or more, the same growth each time, enough of it."""
        return self.steady and self.listings >= 3 and self.grown >= _MIN_REPEATS

    @property
    def suggestive(self) -> bool:
        """One listing whose count matches the traced cycles, or two; decisive only if the series agrees."""
        return self.steady and self.listings <= 2 and self.grown >= _MIN_REPEATS


@dataclass(frozen=True, slots=True)
class Classified:
    """A site's class and why; `per_unit` blocks stay per unit of the axis, None when none repeat."""

    site_class: SiteClass
    evidence: tuple[str, ...]
    per_unit: float | None


def repetition_of(site: SiteHistory, found: Histories, warmup: float) -> Repetition | None:
    """The site's growth over the listings of its last span, None when nothing can be said."""
    index = max(site.spans)
    span, mine = found.spans[index], site.spans[index]
    if index != len(found.spans) - 1:
        return None
    points = [(at, count) for at, count in zip(span.running, mine.counts, strict=True) if at >= warmup]
    distinct = dict(points)
    if len(distinct) >= 2:
        return _between_listings(sorted(distinct.items()), mine)
    if span.armed and points and span.end > span.start:
        width = span.end - max(span.start, 0.0)
        count = points[-1][1]
        # The last one is often still in use, or freed at the stop: one more or less does not change the rhythm.
        whole = round(count / width)
        fits = whole >= 1 and abs(count - whole * width) <= 1.5
        return Repetition(float(whole) if fits else count / width, fits, 1, count, width)
    return None


def _between_listings(points: list[tuple[float, int]], mine: SpanBlocks) -> Repetition:
    width = points[-1][0] - points[0][0]
    grown = points[-1][1] - points[0][1]
    rate = grown / width
    steady = grown > 0 and mine.deaths <= 0.1 * max(mine.early_seen, 1)
    for (before, less), (after, more) in pairwise(points):
        expected = rate * (after - before)
        steady = steady and more > less and abs(more - less - expected) <= max(1.0, expected / 7)
    return Repetition(rate, steady, len(points), grown, width)


def unit_word(found: Histories) -> str:
    """What one unit of the listings' axis is called."""
    return {"cycle": "cycle", "hour": "hour", "dump": "dump"}[found.unit]


def classify(
    site: SiteHistory, found: Histories, cohort: Cohort, repetition: Repetition | None, *, allowed: bool, agreed: bool
) -> Classified:
    """Judge one site.

    Args:
        site: The site.
        found: The spans that it refers to.
        cohort: Its survivors.
        repetition: Its counts.
        allowed: The run has gone on past the warm-up bound for as long again.
        agreed: The heap's own fall matches the sites whose counts match the cycles.
    """
    last = max(site.spans)
    mine, span = site.spans[last], found.spans[last]
    by_count = repetition is not None and (repetition.decisive or (agreed and repetition.suggestive))
    evidence: list[str] = []
    if cohort.leaks:
        evidence.append(_survivors(cohort, found, mine))
    if repetition is not None and by_count:
        evidence.append(_counts(repetition, found, site))
    if not evidence:
        return _innocent(site, found, cohort, repetition, mine)
    rate = repetition.per_unit if repetition is not None and by_count else cohort.blocks_per_unit
    live = mine.kept_at_stop + mine.freed_at_stop
    torn_down = span.stopped and live > 0 and mine.freed_at_stop >= _FREED_SHARE * live
    if live:
        evidence.append(_after_stop(mine, live))
    if not allowed:
        evidence.append("The run has not yet lasted twice the declared warm-up: this may be a cache that still fills.")
        return Classified("undecided", tuple(evidence), rate)
    if torn_down:
        evidence.append("It grows for as long as the workload runs, and only its teardown frees it.")
        return Classified("held_until_teardown", tuple(evidence), rate)
    return Classified("leak", tuple(evidence), rate)


def _survivors(cohort: Cohort, found: Histories, mine: SpanBlocks) -> str:
    unit = unit_word(found)
    born = f"{plural(cohort.survivors, 'block')} born in {cohort.events} different {unit}s"
    if mine.deaths == 0:
        freed = "none freed while the workload ran" if mine.freed_at_stop else "none ever freed"
        return f"{born}, {freed}, the oldest {cohort.oldest:,.0f} {unit}s old, and still arriving."
    return (
        f"{born} are still there, the oldest {cohort.oldest:,.0f} {unit}s old; the oldest block that this site ever "
        f"freed was {mine.oldest_death:,.1f} {unit}s old."
    )


def _counts(repetition: Repetition, found: Histories, site: SiteHistory) -> str:
    unit = unit_word(found)
    if repetition.listings == 1:
        return (
            f"{plural(repetition.grown, 'block')} of one stack after {repetition.span:,.0f} traced {unit}s, and the "
            f"heap fell by as much per {unit}."
        )
    counts = [count for _, count in site.counts][: repetition.listings]
    shown = ", ".join(str(count) for count in counts[:8]) + (", …" if len(counts) > 8 else "")
    return (
        f"{repetition.per_unit:,.3g} more each {unit}: {shown} blocks live at {plural(repetition.listings, 'dump')}, "
        f"over {repetition.span:,.0f} {unit}s, without a break."
    )


def _after_stop(mine: SpanBlocks, live: int) -> str:
    if mine.kept_at_stop:
        return f"{mine.kept_at_stop} of {plural(live, 'block')} were still there after the workload had stopped."
    if live == 1:
        return "The block was gone after the workload had stopped."
    return f"All {plural(live, 'block')} were gone after the workload had stopped."


def _innocent(
    site: SiteHistory, found: Histories, cohort: Cohort, repetition: Repetition | None, mine: SpanBlocks
) -> Classified:
    span = found.spans[max(site.spans)]
    unit = unit_word(found)
    live = len(mine.births)
    dumps = plural(len(span.running), "dump")
    # One listing, and no cycles or times to count by: an order of births alone says nothing of an end of growth.
    if len(span.running) < 2 and (not found.exact or found.unit == "dump"):
        return _single_listing(site, found, repetition, span, live)
    if live == 0:
        return _emptied(mine, span, unit)
    if cohort.watched <= 0 and mine.counts[-1] > mine.counts[0]:
        text = (
            f"From {mine.counts[0]} to {plural(mine.counts[-1], 'block')} within the warm-up, which proves nothing yet."
        )
        return Classified("undecided", (text,), None)
    fresh = int((mine.first_seen > 0).sum())
    at_stop = mine.kept_at_stop + mine.freed_at_stop
    stop = [_after_stop(mine, at_stop)] if at_stop else []
    # Births before the first listing can be told apart by the cycle only.
    if fresh == 0 and mine.deaths == 0 and (not found.exact or found.unit != "cycle"):
        text = f"The same {plural(live, 'block')} in all of {dumps}: set up once, none added since."
        return Classified("one_time", (text, *stop), None)
    if mine.deaths and fresh == live and mine.oldest_death <= 2 * _widest_gap(span):
        text = (
            f"{plural(mine.deaths, 'block')} came and went between dumps, and {plural(live, 'younger one')} live now: "
            f"in use, not kept."
        )
        return Classified("in_flight", (text, *stop), None)
    if unit == "dump" and len(span.running) > _FEW_DUMPS and cohort.why_not == "few" and cohort.events == 1:
        site_class, text = _once_between_dumps(fresh, mine)
    else:
        site_class, text = _by_cohort(cohort, mine, unit, live, fresh)
    rate = cohort.blocks_per_unit or None
    return Classified(site_class, (text, *stop), rate if site_class == "undecided" else None)


def _once_between_dumps(fresh: int, mine: SpanBlocks) -> tuple[SiteClass, str]:
    """Blocks that came between two of three dumps or more, and in no other space between them."""
    counts = mine.counts
    shown = ", ".join(str(count) for count in counts[:8]) + (", …" if len(counts) > 8 else "")
    if counts[-1] > max(counts[:-1]):
        text = f"{plural(fresh, 'block')} added before the last dump ({shown} live at {len(counts)} dumps): "
        return "undecided", f"{text}another one shows whether more keep arriving."
    if mine.deaths == 0 and counts[-1] == counts[-2]:
        return "one_time", f"Added once between two dumps, and none since: {shown} live at {len(counts)} dumps."
    return "bounded", f"Blocks come and go: {shown} live at {len(counts)} dumps, no more at the last than before."


def _widest_gap(span: Span) -> float:
    return max((after - before for before, after in pairwise(span.running)), default=0.0)


def _by_cohort(cohort: Cohort, mine: SpanBlocks, unit: str, live: int, fresh: int) -> tuple[SiteClass, str]:
    """What the survivors' first failing condition says of the site."""
    added = plural(cohort.survivors, "block")
    if cohort.why_not == "level":
        text = f"{added} are newer than earlier dumps, but no more are live than then: they replace others."
        return "bounded", text
    if cohort.why_not == "few" and cohort.events == 0:
        text = f"No block of the {live} was added after the warm-up and before the last eighth of the run."
        return ("bounded" if live > 1 else "one_time"), text
    if cohort.why_not == "few" and cohort.events == 1 and unit == "dump":
        # Dumps have no rhythm of their own: what came between two of them may have come once or a hundred times.
        text = plural(fresh, "block")
        return "undecided", f"{text} added between two dumps: a third one shows whether more keep arriving."
    if cohort.why_not == "few" and cohort.events == 1:
        return "one_time", f"{added} added in one single {unit}: {ONE_EVENT}."
    if cohort.why_not == "churn":
        text = (
            f"Blocks of this site live up to {mine.oldest_death:,.1f} {unit}s and are then freed; those there now are "
            f"not older than that."
        )
        return "bounded", text
    texts: dict[str, tuple[SiteClass, str]] = {
        "few": ("undecided", f"{added} added in {cohort.events} different {unit}s: too few to tell."),
        "over": ("bounded", f"{added} added, hardly any of them lately: the growth is over."),
        "slowing": ("undecided", f"{added} added, ever more rarely: a cache that fills looks like this."),
        "bursts": ("undecided", f"{added} added in few bursts: not yet a rhythm."),
    }
    short = f"{added} added in {cohort.events} different {unit}s, over too short a time to tell."
    return texts.get(cohort.why_not, ("undecided", short))


def _emptied(mine: SpanBlocks, span: Span, unit: str) -> Classified:
    if mine.oldest_death > 2 and len(span.running) > 2:
        text = f"Blocks lived up to {mine.oldest_death:,.1f} {unit}s; none is live now."
        return Classified("bounded", (text,), None)
    return Classified("in_flight", ("Its blocks were freed again; none is live now.",), None)


def _single_listing(
    site: SiteHistory, found: Histories, repetition: Repetition | None, span: Span, live: int
) -> Classified:
    unit = unit_word(found)
    tasks = {block.task for block in site.blocks}
    rate = None
    note = "Only one dump: what it lists was live at that moment, which alone is no leak."
    if repetition is not None and repetition.suggestive:
        rate = repetition.per_unit
        note = (
            f"{plural(live, 'block')} after {repetition.span:,.0f} traced {unit}s, about {repetition.per_unit:,.3g} "
            f"per {unit}; one dump cannot show that they keep arriving."
        )
    elif live <= max(len(tasks), 1):
        each = "" if live == 1 else ", one for each task that allocated here"
        note = f"{plural(live, 'block')} in a single dump{each}: one event is never a leak verdict."
        if span.running_known:
            return Classified("in_flight", (f"{plural(live, 'block')}, one for each task: a buffer in use.",), None)
    return Classified("undecided", (note,), rate)
