"""What reachability says: findings, verdict and sentences. See docs/decisions for why it decides as it does.

A block that nothing points to is lost, whatever it was. Yet a single one may be held by a pointer that does not look
like one (XOR-ed, packed, kept as an index), so that a leak takes `LEAST_LOST` unreachable blocks of one size. An image
that lacks memory which the program may write accuses no block.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from heaptrail.model.evidence import CaptureInfo, Evidence, LiveDump, TaskHistory
from heaptrail.model.observations import Block, Dump, HeapSample, Mark, Problem, Task
from heaptrail.model.report import Finding, Point, Provenance, Report, ReportProblem, Series, Site, TaskRow
from heaptrail.ram.places import held_by, preview
from heaptrail.ram.reach import MASKED, UNREACHABLE
from heaptrail.units import format_address, format_bytes, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heaptrail.model.verdict import SiteClass
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.kernels import TaskStack
    from heaptrail.ram.survey import Survey

LEAST_LOST = 3
"""Unreachable blocks of one size that make a leak."""
_ADDRESSES_KEPT = 256
_RANK: dict[SiteClass, int] = {"leak": 0, "held_until_teardown": 1, "undecided": 2, "bounded": 3, "one_time": 4}
_DROPPED = {"no_stack", "no_dump"}
"""Warnings that are about tracers; an image has no backtraces to begin with."""


class SizeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """All live blocks of one size: indexes into the survey's blocks, by state."""

    size_bytes: int
    unreachable: tuple[int, ...]
    masked: tuple[int, ...]
    reachable: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.unreachable) + len(self.masked) + len(self.reachable)


def size_groups(found: Survey) -> list[SizeGroup]:
    """The live blocks by size, the most lost bytes first."""
    by_size: dict[int, tuple[list[int], list[int], list[int]]] = {}
    for index, block in enumerate(found.heap.live):
        by_size.setdefault(block.size_bytes, ([], [], []))[found.reach.states[index]].append(index)
    groups = [
        SizeGroup(size_bytes=size, unreachable=tuple(lost), masked=tuple(masked), reachable=tuple(held))
        for size, (lost, held, masked) in by_size.items()
    ]
    return sorted(groups, key=lambda g: (-len(g.unreachable) * g.size_bytes, -g.count * g.size_bytes, g.size_bytes))


def evidence_of(surveys: Sequence[Survey], cycles: Sequence[int] | None) -> Evidence:
    """Images as evidence: a heap reading and a dump for each.

    Args:
        surveys: In the order in which the images were taken.
        cycles: Rounds of the workload completed at each image, None where they are unknown.
    """
    samples, dumps, problems, marks = [], [], [], []
    for number, found in enumerate(surveys, 1):
        cycle = cycles[number - 1] if cycles is not None else None
        samples.append(_sample(found, number, cycle))
        if found.heap.blocks_known:
            dumps.append(_dump(found, number, cycle))
        problems += [Problem(line=number, cycle=cycle, what=what, text=text) for what, text in found.problems]
    if cycles is not None:
        marks = [Mark(line=1, cycle=cycle, what="cycle") for cycle in range(1, max(cycles, default=0) + 1)]
    last = surveys[-1]
    return Evidence(
        captures=tuple(capture_of(found) for found in surveys),
        samples=tuple(samples),
        dumps=tuple(dumps),
        tasks=tuple(TaskHistory(last=_task(task, len(surveys)), rows=len(surveys)) for task in last.tasks),
        marks=tuple(marks),
        problems=tuple(problems),
        cycles_from="marks" if cycles is not None else None,
    )


def capture_of(found: Survey) -> CaptureInfo:
    """The image as the report's provenance names it."""
    kernel = (found.kernel,) if found.kernel is not None and found.tasks else ()
    return CaptureInfo(
        name=found.image.name,
        format="image",
        bytes_read=found.image.bytes_read,
        lines=0,
        dialects=(found.heap.layout, *kernel),
    )


def _sample(found: Survey, number: int, cycle: int | None) -> HeapSample:
    heap = found.heap
    return HeapSample(
        line=number,
        cycle=cycle,
        heap=heap.place.name,
        total_bytes=sum(end - first for first, end in heap.place.arenas),
        free_bytes=heap.free_bytes,
        min_free_bytes=heap.min_free_bytes,
        largest_free_bytes=heap.largest_free_bytes,
        free_blocks=len(heap.free),
        used_blocks=len(heap.live),
        allocations=heap.allocations,
        frees=heap.frees,
    )


def _dump(found: Survey, number: int, cycle: int | None) -> LiveDump:
    dump = Dump(
        line=number, cycle=cycle, dump=number, declared_blocks=len(found.heap.live), complete=not found.heap.untrusted
    )
    return LiveDump(
        dump=dump,
        blocks=tuple(
            Block(
                line=number,
                cycle=cycle,
                dump=number,
                address=block.address,
                size_bytes=block.size_bytes,
                size_kind="block",
            )
            for block in found.heap.live
        ),
    )


def _task(task: TaskStack, number: int) -> Task:
    return Task(line=number, name=task.name, state=task.state, priority=task.priority, id=task.number)


def report_of_one(
    found: Survey, firmware: Firmware, *, versions: Mapping[str, str], options: Mapping[str, str]
) -> Report:
    """The report on a single image: reachability alone, since one moment shows no growth."""
    sample = _sample(found, 1, None)
    assert sample.free_bytes is not None
    point = Point(
        boot=1,
        line=1,
        free_bytes=sample.free_bytes,
        min_free_bytes=sample.min_free_bytes,
        largest_free_bytes=sample.largest_free_bytes,
    )
    plain = Report(
        verdict="inconclusive",
        headline="",
        reasons=(),
        rate_bytes_per_cycle=None,
        rate_bytes_per_hour=None,
        upper_bound=None,
        exhaustion_hours=None,
        exhaustion_cycles=None,
        books=None,
        findings=tuple(_plain_finding(group, found) for group in size_groups(found)),
        series=(Series(heap=sample.heap, total_bytes=sample.total_bytes, readings=1, points=(point,)),),
        tasks=tuple(
            TaskRow(name=task.name, state=task.state, priority=task.priority, id=task.number) for task in found.tasks
        ),
        problems=tuple(ReportProblem(what=what, text=text) for what, text in found.problems),
        boots=1,
        cycles=None,
        provenance=Provenance(
            captures=(capture_of(found),), elf=firmware.image.info, versions=dict(versions), options=dict(options)
        ),
    )
    return confirmed(plain, found, firmware, images=1)


def _plain_finding(group: SizeGroup, found: Survey) -> Finding:
    live = group.count * group.size_bytes
    indexes = (*group.unreachable, *group.masked, *group.reachable)[:_ADDRESSES_KEPT]
    site = Site(
        name=None,
        file=None,
        line=None,
        frames=(),
        live_blocks=group.count,
        live_bytes=live,
        size_kind="block",
        sizes_bytes=(group.size_bytes,),
        addresses=tuple(found.heap.live[index].address for index in indexes),
    )
    site_class: SiteClass = "in_flight" if not group.unreachable and not group.masked else "undecided"
    return Finding(
        finding_class=site_class, summary="", sites=(site,), live_blocks=group.count, live_bytes=live, evidence=()
    )


def confirmed(report: Report, found: Survey, firmware: Firmware, *, images: int) -> Report:
    """The same report with what the last image's reachability adds to every finding, and the verdict that follows."""
    groups = {group.size_bytes: group for group in size_groups(found)}
    findings = [_with_reach(finding, groups, found, firmware, images=images) for finding in report.findings]
    findings.sort(key=lambda finding: _order(finding, groups))
    lost = [group for group in groups.values() if len(group.unreachable) >= LEAST_LOST]
    lost_bytes = sum(len(group.unreachable) * group.size_bytes for group in lost)
    reasons = _reasons(found, list(groups.values()), images)
    problems = tuple(problem for problem in report.problems if problem.what not in _DROPPED)
    if images == 1:
        problems = tuple(problem for problem in problems if problem.what != "cycles_unknown")
    kept = msgspec.structs.replace(report, findings=tuple(findings), problems=problems)
    new_leak = any(finding.finding_class == "leak" for finding in findings) and found.conclusive and bool(lost)
    if report.verdict == "leak":
        return msgspec.structs.replace(kept, reasons=(*report.reasons, *reasons))
    if report.verdict == "inconclusive" and new_leak:
        what = _lost_words(lost)
        headline = f"Leak: nothing points to {what}, {format_bytes(lost_bytes)} lost so far."
        return msgspec.structs.replace(
            kept, verdict="leak", headline=headline, reasons=(headline, *reasons, *report.reasons)
        )
    if report.verdict == "no_leak" and lost and found.conclusive:
        headline = (
            f"Inconclusive: nothing grows over these images, but nothing points to {_lost_words(lost)}, lost once or "
            f"before the first image."
        )
        return msgspec.structs.replace(
            kept, verdict="inconclusive", headline=headline, reasons=(headline, *reasons, *report.reasons)
        )
    first = reasons[0] if images == 1 else (report.reasons[0] if report.reasons else reasons[0])
    headline = report.headline or f"Inconclusive: {first[:1].lower()}{first[1:]}"
    return msgspec.structs.replace(kept, headline=headline, reasons=(*report.reasons, *reasons))


def _order(finding: Finding, groups: Mapping[int, SizeGroup]) -> tuple[int, float, int, int]:
    group = _group_of(finding, groups)
    lost = len(group.unreachable) * group.size_bytes if group is not None else 0
    growth = finding.per_cycle_footprint_bytes or finding.per_cycle_bytes or 0.0
    return _RANK.get(finding.finding_class, 9), -growth, -lost, -finding.live_bytes


def _group_of(finding: Finding, groups: Mapping[int, SizeGroup]) -> SizeGroup | None:
    sizes = {size for site in finding.sites for size in site.sizes_bytes}
    return groups.get(next(iter(sizes))) if len(sizes) == 1 else None


def _with_reach(
    finding: Finding, groups: Mapping[int, SizeGroup], found: Survey, firmware: Firmware, *, images: int
) -> Finding:
    group = _group_of(finding, groups)
    if group is None:
        return finding
    site_class = finding.finding_class
    if found.conclusive and len(group.unreachable) >= LEAST_LOST and site_class in ("undecided", "in_flight"):
        site_class = "leak"
    lost = found.conclusive and bool(group.unreachable)
    addresses = [found.heap.live[index].address for index in group.unreachable[:_ADDRESSES_KEPT]]
    site = msgspec.structs.replace(
        finding.sites[0],
        unreachable_blocks=len(group.unreachable) if found.conclusive else None,
        addresses=tuple(addresses) or finding.sites[0].addresses,
    )
    return msgspec.structs.replace(
        finding,
        finding_class=site_class,
        summary=_summary(group, found, finding, site_class, images),
        sites=(site, *finding.sites[1:]),
        evidence=(*_sentences(group, found, firmware, site_class), *finding.evidence),
        advice=_advice(site_class, lost=lost),
    )


def _summary(group: SizeGroup, found: Survey, finding: Finding, site_class: SiteClass, images: int) -> str:
    size = f"{format_bytes(group.size_bytes)} (0x{group.size_bytes:x}, header included)"
    growth = finding.per_cycle_blocks
    rate = f", {growth:+.3g} per cycle" if growth is not None else ""
    if group.unreachable and found.conclusive:
        return f"{len(group.unreachable)} of {plural(group.count, 'block')} of {size} are unreachable{rate}"
    if growth is not None:
        return f"{plural(group.count, 'block')} of {size}{rate}, all still reachable"
    if group.masked:
        return f"{len(group.masked)} of {plural(group.count, 'block')} of {size} are possibly masked"
    if not found.conclusive:
        return f"{plural(group.count, 'block')} of {size}; whether anything points to them cannot be said"
    ending = "in use" if images == 1 or site_class == "in_flight" else "reachable"
    return f"{plural(group.count, 'block')} of {size}, {ending}"


def _sentences(group: SizeGroup, found: Survey, firmware: Firmware, site_class: SiteClass) -> list[str]:
    lines: list[str] = []
    if group.unreachable and found.conclusive:
        lines.append(
            f"Unreachable: no register, no writable variable, no live stack and no block in use points into "
            f"{len(group.unreachable)} of the {plural(group.count, 'block')}."
        )
        first = group.unreachable[0]
        payload = found.heap.live[first].end - found.heap.live[first].address
        lines.append(
            f"Each holds up to {payload:,} (0x{payload:x}) bytes; that at "
            f"{format_address(found.heap.live[first].address)} begins {preview(found, first)}"
        )
        if len(group.unreachable) < LEAST_LOST:
            lines.append("So few may be held by a pointer that does not look like one: --keep 0xADDRESS if that is so.")
    elif group.unreachable:
        lines.append(f"Nothing in the image points into {len(group.unreachable)} of them, but the image is not whole.")
    if group.masked:
        lines.append(
            f"Possibly masked: {len(group.masked)} reached only from a stack whose live part is unknown "
            f"({held_by(found, firmware, group.masked[0])})."
        )
    if group.reachable and site_class in ("leak", "held_until_teardown", "undecided"):
        held = held_by(found, firmware, group.reachable[0])
        address = format_address(found.heap.live[group.reachable[0]].address)
        lines.append(f"Reachable: {len(group.reachable)}, the first ({address}) from {held}.")
    return lines


def _advice(site_class: SiteClass, *, lost: bool) -> tuple[str, ...]:
    if site_class in ("leak", "undecided") and lost:
        text = (
            "Find who allocates blocks of this size: their contents (--list unreachable), or a tracer armed for one "
            "round of the workload; the last pointer to each was overwritten or went out of scope."
        )
        return (text,)
    if site_class in ("leak", "held_until_teardown"):
        return ("Something in use still holds these blocks: --why 0xADDRESS shows the list or the cache that grows.",)
    if site_class == "undecided":
        return ("Take more images, one per round of the workload: heaptrail ram IMAGE IMAGE IMAGE IMAGE.",)
    return ()


def _reasons(found: Survey, groups: list[SizeGroup], images: int) -> list[str]:
    states = Counter(found.reach.states)
    live = plural(len(found.heap.live), "live block")
    lines: list[str] = []
    if not found.heap.blocks_known:
        lines += [f"{note[:1].upper()}{note[1:]}." for note in found.heap.notes]
        if images == 1:
            lines.append("Several images show whether what is handed out still grows: all of that is lost for good.")
        return lines
    if not found.conclusive:
        what = "part of the heap" if found.missing_heap else format_bytes(found.roots_missing_bytes) + " of memory"
        lines.append(f"The image lacks {what}, so that no block can be called unreachable.")
    elif states[UNREACHABLE]:
        few = [g for g in groups if 0 < len(g.unreachable) < LEAST_LOST]
        lines.append(f"Of {live} {states[UNREACHABLE]} are unreachable.")
        if few:
            lines.append(
                f"{plural(sum(len(g.unreachable) for g in few), 'unreachable block')} of {plural(len(few), 'size')} "
                f"with fewer than {LEAST_LOST} each are not counted as a leak: a hidden pointer may hold one block."
            )
    else:
        lines.append(f"Something points to each of {live}: nothing is unreachable.")
    if states[MASKED]:
        lines.append(
            f"{plural(states[MASKED], 'block')} may be masked: only a stack of unknown live part reaches them."
        )
    if images == 1:
        lines.append(
            "One image shows no growth: what is lost per cycle, or grows while it stays reachable, needs more."
        )
    return lines


def _lost_words(lost: Sequence[SizeGroup]) -> str:
    shown = [
        f"{plural(len(group.unreachable), 'block')} of {format_bytes(group.size_bytes)} (0x{group.size_bytes:x})"
        for group in sorted(lost, key=lambda g: -len(g.unreachable) * g.size_bytes)[:3]
    ]
    more = len(lost) - len(shown)
    return ", ".join(shown) + (f" and of {plural(more, 'more size')}" if more else "")
