"""From judged sites to findings: names for addresses, and sites that are one cause put together.

**Naming.** A site is named by its first frame outside allocators and wrappers, and only where the log can show it: a
block without a stack has no name, and neither has a single frame that every block of the listing shares, whatever its
size and task (that frame is the tracer's own, or a wrapper's; naming it would accuse the messenger).

**One cause.** Sites belong to one finding when they are of one class, repeat equally often per cycle, and share the
outer part of their stacks: the last frames are the same functions, at least two of them and at least half of the
shorter stack. So two plug-ins that one start routine calls are one finding with two sites, and two leaks that only
share the task's entry are two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.diagnose.sentences import finding_advice, finding_summary
from heaptrail.model.report import Finding, Frame, Site
from heaptrail.model.verdict import SiteVerdict
from heaptrail.symbols.wrappers import name_site

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from heaptrail.model.observations import RawFrame
    from heaptrail.model.verdict import SiteClass, Verdict
    from heaptrail.symbols import Symbolizer

_RANK: dict[SiteClass, int] = {
    "leak": 0,
    "held_until_teardown": 1,
    "undecided": 2,
    "bounded": 3,
    "one_time": 4,
    "in_flight": 5,
}
_EXCERPT_SITES = 20
"""Sites whose source is shown; what ranks lower is not read from top to bottom."""
_COUNTS_EQUAL_WITHIN = 0.05
"""Blocks per cycle that count as equal: one block in twenty cycles may be in flight at a dump."""


class _Named(msgspec.Struct, frozen=True):
    judged: SiteVerdict
    site: Site
    caller_keys: tuple[object, ...]
    """Outside the naming frame, innermost first: function names where known, else raw addresses."""


def findings_of(
    verdict: Verdict, symbolizer: Symbolizer, stale: Mapping[tuple[RawFrame, ...], tuple[int, ...]] | None = None
) -> tuple[Finding, ...]:
    """All findings, ranked: what leaks first, then by bytes per cycle, then by live bytes.

    Args:
        verdict: The judged sites.
        symbolizer: Names for their addresses.
        stale: For backtraces that were checked, the addresses left out of them (`heaptrail.diagnose.callers`).
    """
    nameless = _frame_shared_by_all(verdict)
    ranked = sorted(verdict.sites, key=_rank)
    named = [
        _named(judged, symbolizer, stale or {}, nameless=nameless, with_source=index < _EXCERPT_SITES)
        for index, judged in enumerate(ranked)
    ]
    groups: list[list[_Named]] = []
    for item in named:
        group = next((g for g in groups if _one_cause(g[0], item)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return tuple(_finding(group) for group in groups)


def _rank(judged: SiteVerdict) -> tuple[float, ...]:
    """What ranks before what; the addresses at the end make the order the same in every run."""
    growth = judged.per_cycle_footprint_bytes or judged.per_cycle_bytes or 0.0
    return (_RANK[judged.site_class], -growth, -judged.live_bytes, *(frame.pc for frame in judged.frames))


def _frame_shared_by_all(verdict: Verdict) -> int | None:
    """The PC that is the only frame of every block, though blocks differ in size or task; else None."""
    stacks = {site.frames for site in verdict.sites}
    if len(stacks) != 1:
        return None
    (frames,) = stacks
    sizes = {size for site in verdict.sites for size in site.sizes_bytes}
    tasks = {task for site in verdict.sites for task in site.tasks}
    if len(frames) == 1 and (len(sizes) > 1 or len(tasks) > 1):
        return frames[0].pc
    return None


def _named(
    judged: SiteVerdict,
    symbolizer: Symbolizer,
    stale: Mapping[tuple[RawFrame, ...], tuple[int, ...]],
    *,
    nameless: int | None,
    with_source: bool,
) -> _Named:
    frames = symbolizer.resolve_stack(judged.frames)
    naming = name_site(frames)
    if naming is not None and (frames[naming].function is None or frames[naming].pc == nameless):
        naming = None
    if with_source:
        frames = tuple(_with_excerpt(frame, symbolizer) for frame in frames)
    name = frames[naming] if naming is not None else None
    outer = frames[naming + 1 :] if naming is not None else frames[1:]
    return _Named(
        judged=judged,
        site=Site(
            name=name.function if name else None,
            file=name.file if name else None,
            line=name.line if name else None,
            frames=frames,
            live_blocks=judged.live_blocks,
            live_bytes=judged.live_bytes,
            size_kind=judged.size_kind,
            sizes_bytes=judged.sizes_bytes,
            per_cycle_blocks=judged.per_cycle_blocks,
            per_cycle_bytes=judged.per_cycle_bytes,
            per_cycle_footprint_bytes=judged.per_cycle_footprint_bytes,
            counts=judged.counts,
            tasks=judged.tasks,
            addresses=judged.addresses,
            stale_pcs=stale.get(judged.frames, ()),
        ),
        caller_keys=tuple(frame.function or frame.pc for frame in outer),
    )


def _with_excerpt(frame: Frame, symbolizer: Symbolizer) -> Frame:
    if frame.wrapper or frame.file is None or frame.line is None:
        return frame
    excerpt = symbolizer.excerpt(frame.file, frame.line)
    return frame if excerpt is None else msgspec.structs.replace(frame, excerpt=excerpt)


def _one_cause(first: _Named, other: _Named) -> bool:
    a, b = first.judged, other.judged
    if a.site_class != b.site_class or a.per_cycle_blocks is None or b.per_cycle_blocks is None:
        return False
    if abs(a.per_cycle_blocks - b.per_cycle_blocks) > _COUNTS_EQUAL_WITHIN * max(
        a.per_cycle_blocks, b.per_cycle_blocks
    ):
        return False
    shared = 0
    for key_a, key_b in zip(reversed(first.caller_keys), reversed(other.caller_keys), strict=False):
        if key_a != key_b:
            break
        shared += 1
    return shared >= max(2, -(-min(len(first.caller_keys), len(other.caller_keys)) // 2))


def _finding(group: list[_Named]) -> Finding:
    sites = tuple(item.site for item in group)
    judged = [item.judged for item in group]
    site_class = judged[0].site_class
    tasks = dict.fromkeys(task for site in sites for task in site.tasks)
    common_caller = _common_caller(group)
    return Finding(
        finding_class=site_class,
        summary=finding_summary(site_class, sites, common_caller),
        sites=sites,
        live_blocks=sum(site.live_blocks for site in sites),
        live_bytes=sum(site.live_bytes for site in sites),
        per_cycle_blocks=_total(site.per_cycle_blocks for site in sites),
        per_cycle_bytes=_total(site.per_cycle_bytes for site in sites),
        per_cycle_footprint_bytes=_total(site.per_cycle_footprint_bytes for site in sites),
        tasks=tuple(tasks),
        evidence=_evidence(group),
        advice=finding_advice(site_class, sites, freed_at_teardown=any(j.freed_at_teardown for j in judged)),
    )


def _evidence(group: list[_Named]) -> tuple[str, ...]:
    """The sites' sentences; where there are several sites each sentence says whose it is, and is said once."""
    if len(group) == 1:
        return group[0].judged.evidence
    owners: dict[str, list[str]] = {}
    for item in group:
        for sentence in item.judged.evidence:
            owners.setdefault(sentence, []).append(item.site.name or "unnamed site")
    return tuple(
        f"{'each site' if len(names) == len(group) else ', '.join(names)}: {sentence}"
        for sentence, names in owners.items()
    )


def _common_caller(group: list[_Named]) -> Frame | None:
    """The innermost named frame that all sites of the group were reached through, None where none is known."""
    first = group[0]
    for key in first.caller_keys:
        if isinstance(key, str) and all(key in item.caller_keys for item in group):
            return next(frame for frame in first.site.frames if frame.function == key)
    return None


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None
