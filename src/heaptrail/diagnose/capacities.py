"""Which backtraces a declared capacity is about: patterns of names, looked up for every stack of the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.report import ReportProblem
from heaptrail.symbols.patterns import matches
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from heaptrail.model.evidence import Evidence
    from heaptrail.model.observations import RawFrame
    from heaptrail.model.verdict import Capacity
    from heaptrail.symbols import Symbolizer


class Declarations:
    """The user's capacities, and whether anything in the run is what they are about."""

    def __init__(self, capacities: Sequence[Capacity], symbolizer: Symbolizer) -> None:
        self._capacities = capacities
        self._symbolizer = symbolizer
        self._used: set[Capacity] = set()
        self._stacks_seen = False

    def of(self, evidence: Evidence) -> dict[tuple[RawFrame, ...], Capacity]:
        """The first capacity that fits, for each backtrace that one fits."""
        found: dict[tuple[RawFrame, ...], Capacity] = {}
        if not self._capacities:
            return found
        for frames in dict.fromkeys(_stacks(evidence)):
            self._stacks_seen = True
            names = {name for name in self._names(frames) if name}
            fitting = (each for each in self._capacities if any(matches(each.site, name) for name in names))
            capacity = next(fitting, None)
            if capacity is not None:
                found[frames] = capacity
                self._used.add(capacity)
        return found

    def problems(self) -> tuple[ReportProblem, ...]:
        """A declaration that fits no site is a slip of the pen, or its site is gone; where there are sites at all."""
        if not self._stacks_seen:
            return ()
        return tuple(
            ReportProblem(
                what="capacity_unused", text=f"the capacity declared for {each.site!r} fits no site of this run"
            )
            for each in self._capacities
            if each not in self._used
        )

    def _names(self, frames: tuple[RawFrame, ...]) -> Iterator[str | None]:
        for frame in self._symbolizer.resolve_stack(frames):
            yield from (frame.function, frame.file, frame.module)
        for raw in frames:
            yield from (format_address(raw.pc), f"0x{raw.pc:08X}")  # as reports and as consoles write it


def _stacks(evidence: Evidence) -> Iterator[tuple[RawFrame, ...]]:
    for dump in evidence.dumps:
        yield from (block.frames for block in dump.blocks if block.frames)
    yield from (count.frames for count in evidence.sites if count.frames)
    yield from (event.frames for event in evidence.events if event.op != "free" and event.frames)
