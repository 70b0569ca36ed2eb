"""Collapsed stacks, one line a stack: what Brendan Gregg's `flamegraph.pl`, inferno, speedscope and others read.

A line is the frames, outermost first, between semicolons, then a blank and a count. The count here is live bytes. The
first frame is the finding's class, so that a flame graph shows leaks apart from what is innocent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.reports import wording
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.model.report import Frame, Report


class CollapsedRenderer:
    """Stacks with live bytes, a line each, for flame graph programs."""

    name: ClassVar[str] = "collapsed"
    suffixes: ClassVar[tuple[str, ...]] = (".collapsed", ".folded")

    def render(self, report: Report) -> bytes:
        """The lines in the order of the findings; equal stacks are one line. Empty where nothing is live."""
        totals: dict[str, int] = {}
        for finding in report.findings:
            for site in finding.sites:
                if site.live_bytes > 0:
                    frames = [_label(frame) for frame in reversed(site.frames)] or ["no backtrace"]
                    stack = ";".join((f"[{wording.CLASSES[finding.finding_class][0]}]", *frames))
                    totals[stack] = totals.get(stack, 0) + site.live_bytes
        return "".join(f"{stack} {count}\n" for stack, count in totals.items()).encode()


def _label(frame: Frame) -> str:
    """The function, or its address; `_[i]` marks an inlined one, as async-profiler writes it."""
    label = frame.function and wording.frame_label(frame).replace(";", ":")
    return (label or format_address(frame.pc)) + ("_[i]" if frame.inlined else "")
