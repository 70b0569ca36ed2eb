"""What a RAM image says of the findings of a traced run, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.model.report import ReportProblem
from heaptrail.ram.evidence import capture_of
from heaptrail.ram.places import block_at, held_by
from heaptrail.ram.reach import MASKED, UNREACHABLE
from heaptrail.ram.sentences import LEAST_LOST
from heaptrail.units import format_address, format_bytes, plural

if TYPE_CHECKING:
    from heaptrail.model.report import Finding, Report, Site
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.survey import Survey

_OF_THE_RUN = {"excluded", "tracer"}
"""What is said of the tracer's tables; the run's own listings have told it."""
_LONGEST_CALL_BYTES = 8
_BY = "by a RAM image taken when the run was over"


def confirm(report: Report, found: Survey, firmware: Firmware) -> Report:
    """The report with the image's evidence in each finding whose blocks are still live, and what follows.

    An undecided finding of which `LEAST_LOST` blocks are unreachable becomes a leak, and an inconclusive run with it.
    Nothing is made milder.
    """
    findings = tuple(_finding(finding, found, firmware) for finding in report.findings)
    problems = [
        ReportProblem(what=f"ram_{what}", text=text) for what, text in found.problems if what not in _OF_THE_RUN
    ]
    provenance = msgspec.structs.replace(report.provenance, captures=(*report.provenance.captures, capture_of(found)))
    kept = msgspec.structs.replace(
        report, findings=findings, problems=(*report.problems, *problems), provenance=provenance
    )
    raised = [
        new
        for old, new in zip(report.findings, findings, strict=True)
        if new.finding_class == "leak" and old.finding_class != "leak"
    ]
    if report.verdict != "inconclusive" or not raised:
        return kept
    lost = sum(site.unreachable_blocks or 0 for finding in raised for site in finding.sites)
    headline = (
        f"Leak: nothing on the target points to {plural(lost, 'block')} of {plural(len(raised), 'finding')} any more."
    )
    return msgspec.structs.replace(kept, verdict="leak", headline=headline, reasons=(headline, *report.reasons))


def _finding(finding: Finding, found: Survey, firmware: Firmware) -> Finding:
    members = sorted({index for site in finding.sites for index in _members(site, found)})
    if not members or not found.conclusive:
        return finding
    states = found.reach.states
    lost = [index for index in members if states[index] == UNREACHABLE]
    held = [index for index in members if states[index] not in (UNREACHABLE, MASKED)]
    lines = [f"Unreachable, {_BY}: nothing points to {len(lost)} of {plural(len(members), 'block')} looked at."]
    if not lost:
        lines = [f"Reachable, {_BY}: something points to each of {plural(len(members), 'block')} looked at."]
    if held:
        block = found.heap.live[held[0]]
        lines.append(
            f"The block at {format_address(block.address)} is reached from {held_by(found, firmware, held[0])}."
        )
    raised = finding.finding_class == "undecided" and len(lost) >= LEAST_LOST
    size = sum(found.heap.live[index].size_bytes for index in lost)
    if raised:
        lines.append(f"{format_bytes(size)} are lost with them, whatever the counts say.")
    return msgspec.structs.replace(
        finding,
        finding_class="leak" if raised else finding.finding_class,
        sites=tuple(_site(site, found) for site in finding.sites),
        evidence=(*finding.evidence, *lines),
    )


def _site(site: Site, found: Survey) -> Site:
    indexes = _members(site, found)
    if not indexes:
        return site
    lost = sum(found.reach.states[index] == UNREACHABLE for index in indexes)
    return msgspec.structs.replace(site, unreachable_blocks=lost)


def _members(site: Site, found: Survey) -> list[int]:
    """The live blocks of a site: those that the run listed, else those of its backtrace in the agent's tables."""
    if site.addresses:
        return [index for address in site.addresses if (index := _block(found, address)) is not None]
    calls = {frame.pc for frame in site.frames}
    return [index for index, origin in enumerate(found.origins) if origin.frames and _same_stack(origin.frames, calls)]


def _same_stack(returns: tuple[int, ...], calls: set[int]) -> bool:
    """Whether each return address is just behind a call of the site, which may name more: put back, or inlined."""
    return all(any(0 <= pc - call <= _LONGEST_CALL_BYTES for call in calls) for pc in returns)


def _block(found: Survey, address: int) -> int | None:
    """The live block that begins where the tracer said one does; None where it was freed since."""
    index = block_at(found, address)
    return index if index is not None and found.heap.live[index].address == address else None
