"""Two reports in, what changed out. Pure; the builds may differ.

Sites are matched by their call chain, named by functions and file base names (`model/identity`). What counts is growth:
a site that leaks, or piles up until teardown, in one of the reports. A site that holds memory and does not grow is no
reason for anything, whatever it holds.

Nothing is called new where the first run could not have seen it, and nothing gone where the second could not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heaptrail.model.comparison import Change, Comparison, Outcome, Side, SiteChange, SiteState
from heaptrail.model.identity import SiteKey, base_name, has_names, site_key
from heaptrail.units import format_rate, plural

if TYPE_CHECKING:
    from heaptrail.model.report import Finding, Report, Site
    from heaptrail.model.verdict import Interval, SiteClass

_GROWING: Final[tuple[SiteClass, ...]] = ("leak", "held_until_teardown")
_WEIGHT: Final[tuple[SiteClass, ...]] = (*_GROWING, "undecided", "bounded", "one_time", "in_flight")
_ORDER: Final[tuple[Change, ...]] = ("new", "grown", "not_shown", "same", "shrunk", "gone")
_SAME_WITHIN: Final = 0.1
"""A rate that differs by less than a tenth is the same: one block in ten cycles may be in flight at a dump."""


class _Seen:
    """One call chain in one report."""

    def __init__(self, finding: Finding, site: Site, *, in_heap_bytes: bool) -> None:
        self._in_heap_bytes = in_heap_bytes
        self.name = site.name
        self.named = has_names(site)
        self.suppressed_by = finding.suppressed_by
        self.state = _state(finding, site, in_heap_bytes=in_heap_bytes)

    def add(self, finding: Finding, site: Site) -> None:
        other = _state(finding, site, in_heap_bytes=self._in_heap_bytes)
        worse, better = sorted((self.state, other), key=lambda state: _WEIGHT.index(state.site_class))
        self.state = SiteState(
            site_class=worse.site_class,
            file=worse.file,
            line=worse.line,
            live_blocks=worse.live_blocks + better.live_blocks,
            live_bytes=worse.live_bytes + better.live_bytes,
            per_cycle_blocks=_sum(worse.per_cycle_blocks, better.per_cycle_blocks),
            per_cycle_bytes=_sum(worse.per_cycle_bytes, better.per_cycle_bytes),
        )
        if other.site_class in _GROWING and finding.suppressed_by is None:
            self.suppressed_by = None

    @property
    def leaks(self) -> bool:
        return self.state.site_class in _GROWING


def compare(before: Report, after: Report) -> Comparison:
    """What became of the leaks of `before` in `after`."""
    in_heap_bytes = _knows_headers(before) and _knows_headers(after)
    old, new = _sites(before, in_heap_bytes=in_heap_bytes), _sites(after, in_heap_bytes=in_heap_bytes)
    keys = [key for key in dict.fromkeys((*new, *old)) if _leaks(old.get(key)) or _leaks(new.get(key))]
    changes = sorted((_change(key, old.get(key), new.get(key), after) for key in keys), key=_rank)
    outcome, reasons = _judge(before, after, changes, _unmatchable(before, after, old, new))
    return Comparison(
        outcome=outcome,
        headline=_headline(outcome, reasons),
        reasons=reasons,
        before=_side(before),
        after=_side(after),
        changes=tuple(changes),
        other_sites=len(old.keys() | new.keys()) - len(keys),
    )


def _knows_headers(report: Report) -> bool:
    """Whether every leak is told in heap bytes. Rates with the allocator's header do not compare to those without."""
    growing = (site for finding in report.findings if finding.finding_class in _GROWING for site in finding.sites)
    return all(site.per_cycle_footprint_bytes is not None for site in growing)


def _sites(report: Report, *, in_heap_bytes: bool) -> dict[SiteKey, _Seen]:
    found: dict[SiteKey, _Seen] = {}
    for finding in report.findings:
        for site in finding.sites:
            key = site_key(site)
            if key in found:
                found[key].add(finding, site)
            else:
                found[key] = _Seen(finding, site, in_heap_bytes=in_heap_bytes)
    return found


def _state(finding: Finding, site: Site, *, in_heap_bytes: bool) -> SiteState:
    footprint = site.per_cycle_footprint_bytes if in_heap_bytes else None
    return SiteState(
        site_class=finding.finding_class,
        file=site.file,
        line=site.line,
        live_blocks=site.live_blocks,
        live_bytes=site.live_bytes,
        per_cycle_blocks=site.per_cycle_blocks,
        per_cycle_bytes=footprint if footprint is not None else site.per_cycle_bytes,
    )


def _sum(a: float | None, b: float | None) -> float | None:
    return a if b is None else b if a is None else a + b


def _leaks(seen: _Seen | None) -> bool:
    return seen is not None and seen.leaks


def _change(key: SiteKey, old: _Seen | None, new: _Seen | None, after: Report) -> SiteChange:
    known = new or old
    assert known is not None
    return SiteChange(
        name=known.name,
        chain=key,
        change=_word(old, new, after),
        before=old.state if old else None,
        after=new.state if new else None,
        suppressed_by=new.suppressed_by if new else None,
    )


def _word(old: _Seen | None, new: _Seen | None, after: Report) -> Change:
    if new is not None and new.leaks:
        if old is None or not old.leaks:
            return "new"
        rate_before, rate_after = old.state.per_cycle_bytes, new.state.per_cycle_bytes
        if rate_before is None or rate_after is None:
            return "same"
        margin = _SAME_WITHIN * max(abs(rate_before), abs(rate_after))
        return (
            "grown" if rate_after > rate_before + margin else "shrunk" if rate_after < rate_before - margin else "same"
        )
    undecided = new is not None and new.state.site_class == "undecided"
    blind = after.verdict == "inconclusive" or (after.verdict == "leak" and not after.findings)
    return "not_shown" if undecided or blind else "gone"


def _rank(change: SiteChange) -> tuple[object, ...]:
    state = change.after or change.before
    rate = (state.per_cycle_bytes if state else None) or 0.0
    return (change.suppressed_by is not None, _ORDER.index(change.change), -rate, change.chain)


def _unmatchable(before: Report, after: Report, old: dict[SiteKey, _Seen], new: dict[SiteKey, _Seen]) -> str | None:
    """Why sites cannot be matched at all: without names they are addresses, which hold for one build."""
    if all(seen.named for seen in (*old.values(), *new.values()) if seen.leaks):
        return None
    builds = [_build(before), _build(after)]
    if None not in builds and builds[0] == builds[1]:
        return None
    return "sites have no names and the builds are not known to be the same, so sites cannot be matched; give both ELFs"


def _build(report: Report) -> str | None:
    if report.provenance.elf is not None and report.provenance.elf.build_id:
        return report.provenance.elf.build_id
    return next((capture.build_id for capture in report.provenance.captures if capture.build_id), None)


def _judge(
    before: Report, after: Report, changes: list[SiteChange], unmatchable: str | None
) -> tuple[Outcome, tuple[str, ...]]:
    counted = [change for change in changes if change.suppressed_by is None]
    if after.verdict == "inconclusive":
        known = after.headline.removeprefix("Inconclusive: ")
        return "inconclusive", (f"the second run settles nothing: {known}", *_sentences(counted))
    if after.verdict == "leak":
        if unmatchable is not None:
            return "inconclusive", (unmatchable,)
        found = _worse(before, after, counted)
        if found is not None:
            return found
    improved = any(change.change in ("gone", "shrunk") for change in counted)
    if improved or (before.verdict == "leak" and after.verdict == "no_leak"):
        return "better", _sentences(counted) or ("the leak of the first run is not there any more",)
    return "same", _sentences(counted) or ("no leak that was not there before",)


def _worse(before: Report, after: Report, counted: list[SiteChange]) -> tuple[Outcome, tuple[str, ...]] | None:
    """What the second run, which leaks, has that the first had not; None where there is nothing of the kind."""
    worse = [change for change in counted if change.change in ("new", "grown")]
    blind = before.verdict == "inconclusive"
    certain = [change for change in worse if not (blind and _could_have_leaked(change))]
    rest = _sentences([change for change in counted if change not in certain])
    risen = None if after.all_suppressed else _risen(before, after)
    unexplained = not counted and before.verdict != "leak" and not after.all_suppressed
    if certain:
        return "worse", (*_sentences(certain), *rest)
    if worse or (unexplained and blind):
        return "inconclusive", ("the first report is inconclusive, so it cannot tell whether this leak is new", *rest)
    if risen is not None:
        return "worse", (risen, *rest)
    if unexplained:
        return "worse", ("there is a leak where there was none, and no site that explains it",)
    return None


def _could_have_leaked(change: SiteChange) -> bool:
    """Whether the first, inconclusive run leaves open that this site leaked then, too."""
    return change.change == "new" and (change.before is None or change.before.site_class == "undecided")


def _risen(before: Report, after: Report) -> str | None:
    """That the loss rose beyond what both intervals allow though no site did, or None."""
    for old, new, unit in (
        (before.rate_bytes_per_cycle, after.rate_bytes_per_cycle, "cycle"),
        (before.rate_bytes_per_hour, after.rate_bytes_per_hour, "hour"),
    ):
        if old is None or new is None:
            continue
        if old == new:
            return None
        if old.high is not None and new.low is not None and new.low > old.high * (1 + _SAME_WITHIN) and new.low > 0:
            return (
                f"the loss rose from {_rate(old)} to {_rate(new)} B per {unit}, beyond both intervals, "
                "and no known site explains it"
            )
        return None
    return None


def _rate(interval: Interval) -> str:
    return format_rate(interval.estimate) if interval.estimate is not None else "an unknown number of"


def _sentences(changes: list[SiteChange]) -> tuple[str, ...]:
    return tuple(_sentence(change) for change in changes)


def _sentence(change: SiteChange) -> str:
    before, after = _per_cycle(change.before), _per_cycle(change.after)
    words = {
        "new": f"new leak in {_place(change)}: {after}",
        "grown": f"the leak in {_place(change)} grew from {before} to {after}",
        "same": f"the leak in {_place(change)} is still there: {after}",
        "shrunk": f"the leak in {_place(change)} shrank from {before} to {after}",
        "gone": f"the leak in {_place(change)} is gone: {before} before",
        "not_shown": f"whether the leak in {_place(change)} is gone is not shown: {before} before",
    }
    return words[change.change]


def _per_cycle(state: SiteState | None) -> str:
    if state is None or state.per_cycle_bytes is None:
        return "an unknown rate"
    return f"{format_rate(state.per_cycle_bytes)} B per cycle"


def _place(change: SiteChange) -> str:
    state = change.after or change.before
    name = change.name or " < ".join(change.chain[:3])
    if state is None or state.file is None:
        return name
    line = f":{state.line}" if state.line is not None else ""
    return f"{name} ({base_name(state.file)}{line})"


def _headline(outcome: Outcome, reasons: tuple[str, ...]) -> str:
    word = {"worse": "Worse", "same": "No worse", "better": "Better", "inconclusive": "Inconclusive"}[outcome]
    more = f"; {plural(len(reasons) - 1, 'more change')}" if len(reasons) > 1 and outcome != "inconclusive" else ""
    return f"{word}: {reasons[0].rstrip('.')}{more}."


def _side(report: Report) -> Side:
    return Side(
        verdict=report.verdict,
        headline=report.headline,
        captures=tuple(capture.name for capture in report.provenance.captures),
        build_id=_build(report),
        rate_bytes_per_cycle=report.rate_bytes_per_cycle,
        rate_bytes_per_hour=report.rate_bytes_per_hour,
        books=report.books,
        cycles=report.cycles,
    )
