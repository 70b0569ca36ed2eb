"""What listings of live blocks have in common on all RTOSes: numbers, totals, limits, and whether they are whole."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from heaptrail.dialects.text import HEX, problem
from heaptrail.model.observations import Block, Dump, RawFrame

if TYPE_CHECKING:
    from heaptrail.dialects.text import Place
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation, SizeKind

_ADDRESS = re.compile(HEX)
LONGEST_LINE = 2_048
"""No table or record of these systems has a longer line; patterns are not tried on one, whatever made it."""

_LARGEST_HEADER_BYTES = 64
_MOST_GAP_SIZES = 256
_FEWEST_GAPS = 3
"""A header is measured when so many distances agree."""


def return_frames(text: str, limits: Limits) -> tuple[RawFrame, ...]:
    """The addresses in a piece of a line as return addresses, innermost first; 0 stands for no frame."""
    found = [int(digits, 16) for digits in _ADDRESS.findall(text)]
    return tuple(RawFrame(pc=pc, kind="return") for pc in found[: limits.frames_per_block] if pc)


class Dumps:
    """Numbers the listings of a log and keeps the books of the one that is open.

    Attributes:
        blocks, size_bytes: What the open listing (or the last one) has shown so far.
    """

    def __init__(self, dialect: str, limits: Limits) -> None:
        self._dialect = dialect
        self._limits = limits
        self._number = 0
        self._where: Place | None = None
        self.blocks = 0
        self.size_bytes = 0

    @property
    def where(self) -> Place | None:
        """Where the open listing began; None when none is open."""
        return self._where

    def open(self, where: Place) -> None:
        """A listing begins; one that is open must be closed before."""
        assert self._where is None
        self._number += 1
        self._where = where
        self.blocks = 0
        self.size_bytes = 0

    def add(
        self,
        where: Place,
        *,
        address: int,
        size_bytes: int,
        size_kind: SizeKind,
        task: str | None = None,
        task_id: int | None = None,
        sequence: int | None = None,
        freed: bool = False,
        frames: tuple[RawFrame, ...] = (),
    ) -> list[AnyObservation]:
        """A live block of the open listing. Beyond the limit it is counted, and the first such one is a problem."""
        assert self._where is not None
        self.blocks += 1
        self.size_bytes += size_bytes
        limit = self._limits.records_per_dump
        if self.blocks > limit:
            if self.blocks > limit + 1:
                return []
            text = f"the listing has more than {limit:,} records; the rest is left out"
            return [problem(where, "too_many", text)]
        return [
            Block(
                dump=self._number,
                address=address,
                size_bytes=size_bytes,
                size_kind=size_kind,
                task=task,
                task_id=task_id,
                sequence=sequence,
                freed=freed,
                frames=frames,
                **where,
            )
        ]

    def close(
        self, *, complete: bool | None, declared_blocks: int | None = None, declared_bytes: int | None = None
    ) -> list[AnyObservation]:
        """The listing is over: its own record, which stands behind those of its blocks. Nothing when none is open."""
        where, self._where = self._where, None
        if where is None:
            return []
        if self.blocks > self._limits.records_per_dump:
            complete = False
        return [
            Dump(
                dump=self._number,
                declared_blocks=declared_blocks,
                declared_bytes=declared_bytes,
                complete=complete,
                **where,
            )
        ]


class Chain:
    """Follows a listing of all chunks of a heap, which are printed in the order of their addresses.

    Each chunk ends where the next begins, so the listing itself shows how large the header between them is, and
    whether a line is missing. A size may have been rounded down by up to `slack_bytes`.

    Args:
        header_bytes: The distance between a chunk's end and the next chunk where it is known, else it is measured.
    """

    def __init__(self, header_bytes: int | None = None) -> None:
        self._known = header_bytes
        self._next: int | None = None
        self._slack_bytes = 0
        self._gaps: Counter[int] = Counter()
        self._misfits = 0

    def start(self, address: int) -> None:
        """The first chunk must stand here: the heap's own start."""
        self._next = address
        self._slack_bytes = -1

    def add(self, address: int, size_bytes: int, slack_bytes: int = 0) -> None:
        """The next chunk; `address` and `size_bytes` as printed."""
        self._reach(address)
        self._next = address + size_bytes
        self._slack_bytes = slack_bytes

    def end(self, address: int) -> None:
        """The end of the heap, which the last chunk must reach."""
        self._reach(address)
        self._next = None

    def _reach(self, address: int) -> None:
        if self._next is None:
            return
        gap = address - self._next
        if self._slack_bytes < 0:
            self._misfits += gap != 0
        elif self._slack_bytes == 0 and (gap in self._gaps or len(self._gaps) < _MOST_GAP_SIZES):
            self._gaps[gap] += 1
        else:
            self._misfits += not 0 <= gap <= _LARGEST_HEADER_BYTES + self._slack_bytes

    def _usual(self) -> tuple[int, int]:
        """The usual distance between chunks and how often it was met; (-1, 0) when no distance can be a header."""
        if self._known is not None:
            return self._known, self._gaps[self._known]
        likely = [(times, gap) for gap, times in self._gaps.items() if 0 <= gap <= _LARGEST_HEADER_BYTES]
        times, gap = max(likely, default=(0, -1))
        return gap, times

    @property
    def header_bytes(self) -> int | None:
        """The bookkeeping of one chunk, as most chunks show it; None when too few do."""
        gap, times = self._usual()
        return gap if times >= _FEWEST_GAPS and gap > 0 else None

    @property
    def misfits(self) -> int:
        """How often a chunk does not begin where the one before it ends: so often at least a line is missing."""
        _, times = self._usual()
        return self._misfits + self._gaps.total() - times
