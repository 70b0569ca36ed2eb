"""What reachability says: findings and verdict. See docs/decisions for why it decides as it does.

A block that nothing points to is lost, whatever it was. Yet a single one may be held by a pointer that does not look
like one (XOR-ed, packed, kept as an index), so that a leak takes `LEAST_LOST` unreachable blocks of one size, or of one
backtrace where that is known. An image that lacks memory which the program may write accuses no block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.model.report import Finding, Point, Provenance, Report, ReportProblem, Series, Site, TaskRow
from heaptrail.ram.clues import Clues
from heaptrail.ram.evidence import capture_of, sample_of
from heaptrail.ram.groups import Groups
from heaptrail.ram.sentences import LEAST_LOST, advice, evidence, lost_words, reasons, summary
from heaptrail.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.model.verdict import SiteClass
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.groups import BlockGroup
    from heaptrail.ram.survey import Survey

_ADDRESSES_KEPT = 256
_RANK: dict[SiteClass, int] = {"leak": 0, "held_until_teardown": 1, "undecided": 2, "bounded": 3, "one_time": 4}
_DROPPED = {"no_stack", "no_dump"}
"""Warnings that are about tracers; an image has no backtraces to begin with."""
_NO_GROWTH: Mapping[int, str] = {}


def report_of_one(
    found: Survey, firmware: Firmware, *, versions: Mapping[str, str], options: Mapping[str, str]
) -> Report:
    """The report on a single image: reachability alone, since one moment shows no growth."""
    sample = sample_of(found, 1, None)
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
        findings=tuple(_plain_finding(group, found) for group in Groups(found).all),
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


def _plain_finding(group: BlockGroup, found: Survey) -> Finding:
    live = group.total_bytes
    indexes = (*group.unreachable, *group.masked, *group.reachable)[:_ADDRESSES_KEPT]
    site = Site(
        name=None,
        file=None,
        line=None,
        frames=(),
        live_blocks=group.count,
        live_bytes=live,
        size_kind="block",
        sizes_bytes=group.sizes_bytes,
        addresses=tuple(found.heap.live[index].address for index in indexes),
    )
    site_class: SiteClass = "in_flight" if not group.unreachable and not group.masked else "undecided"
    return Finding(
        finding_class=site_class, summary="", sites=(site,), live_blocks=group.count, live_bytes=live, evidence=()
    )


def confirmed(
    report: Report, found: Survey, firmware: Firmware, *, images: int, growth: Mapping[int, str] = _NO_GROWTH
) -> Report:
    """The same report with what the last image's reachability adds to every finding, and the verdict that follows.

    Args:
        report: On the same blocks: those of the last image.
        found: The last image.
        firmware: The ELF.
        images: How many images the report is on.
        growth: Sentences on growth by content, by block size.
    """
    groups = Groups(found)
    reached = _Reached(found, firmware, groups, Clues(found, firmware, growth), images)
    findings = [reached.finding(finding) for finding in report.findings]
    findings.sort(key=lambda finding: _order(finding, groups))
    lost = [group for group in groups.all if len(group.unreachable) >= LEAST_LOST]
    lost_bytes = sum(group.lost_bytes for group in lost)
    why = reasons(found, groups.all, images)
    problems = tuple(problem for problem in report.problems if problem.what not in _DROPPED)
    if images == 1:
        problems = tuple(problem for problem in problems if problem.what != "cycles_unknown")
    kept = msgspec.structs.replace(report, findings=tuple(findings), problems=problems)
    new_leak = any(finding.finding_class == "leak" for finding in findings) and found.conclusive and bool(lost)
    if report.verdict == "leak":
        return msgspec.structs.replace(kept, reasons=(*report.reasons, *why))
    if report.verdict == "inconclusive" and new_leak:
        what = lost_words(lost)
        headline = f"Leak: nothing points to {what}, {format_bytes(lost_bytes)} lost so far."
        return msgspec.structs.replace(
            kept, verdict="leak", headline=headline, reasons=(headline, *why, *report.reasons)
        )
    if report.verdict == "no_leak" and lost and found.conclusive:
        headline = (
            f"Inconclusive: nothing grows over these images, but nothing points to {lost_words(lost)}, lost once or "
            f"before the first image."
        )
        return msgspec.structs.replace(
            kept, verdict="inconclusive", headline=headline, reasons=(headline, *why, *report.reasons)
        )
    first = why[0] if images == 1 else (report.reasons[0] if report.reasons else why[0])
    headline = report.headline or f"Inconclusive: {first[:1].lower()}{first[1:]}"
    return msgspec.structs.replace(kept, headline=headline, reasons=(*report.reasons, *why))


def _order(finding: Finding, groups: Groups) -> tuple[int, float, int, int]:
    group = groups.of(finding)
    growth = finding.per_cycle_footprint_bytes or finding.per_cycle_bytes or 0.0
    lost = group.lost_bytes if group is not None else 0
    return _RANK.get(finding.finding_class, 9), -growth, -lost, -finding.live_bytes


class _Reached:
    """What is known of one image, put to findings."""

    def __init__(self, found: Survey, firmware: Firmware, groups: Groups, clues: Clues, images: int) -> None:
        self._found, self._firmware, self._groups, self._clues = found, firmware, groups, clues
        self._images = images

    def finding(self, finding: Finding) -> Finding:
        """The finding with its sites' unreachable blocks, what is said of them, and the class that follows."""
        group, found = self._groups.of(finding), self._found
        if group is None:
            return finding
        site_class = finding.finding_class
        if found.conclusive and len(group.unreachable) >= LEAST_LOST and site_class in ("undecided", "in_flight"):
            site_class = "leak"
        lost = found.conclusive and bool(group.unreachable)
        # Of one listing the judge can only say that it proves nothing, which no longer holds.
        before = () if lost and site_class == "leak" and self._images == 1 else finding.evidence
        return msgspec.structs.replace(
            finding,
            finding_class=site_class,
            summary=summary(group, found, finding, site_class, self._images),
            sites=tuple(self._site(site, finding) for site in finding.sites),
            tasks=finding.tasks or self._tasks(group),
            evidence=(*evidence(group, found, self._firmware, site_class, self._clues), *before),
            advice=advice(site_class, lost=lost, traced=bool(group.frames)),
        )

    def _site(self, site: Site, finding: Finding) -> Site:
        group = self._groups.of(msgspec.structs.replace(finding, sites=(site,)))
        if group is None:
            return site
        addresses = [self._found.heap.live[index].address for index in group.unreachable[:_ADDRESSES_KEPT]]
        return msgspec.structs.replace(
            site,
            unreachable_blocks=len(group.unreachable) if self._found.conclusive else None,
            addresses=tuple(addresses) or site.addresses,
        )

    def _tasks(self, group: BlockGroup) -> tuple[str, ...]:
        """The tasks that allocated the blocks, as far as that is on record."""
        members = (*group.unreachable, *group.masked, *group.reachable)
        return tuple(sorted({task for index in members if (task := self._found.origins[index].task) is not None}))
